"""Models ready to predict, kept by the session.

A snapshot of a version never changes, unless it is rounded, and its id is never used twice, so what is kept here cannot
become stale; whether
the caller's transaction sees the version is asked of the relations each time. The least recently used ones go when
their parameters pass a quarter of ``delc.memory_limit`` together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from delc.features import FittedFeatures
from delc.features.fitted_target import FittedTarget, target_from_json
from delc.models import parameters
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, Network, restore
from delc.server import settings

_MEMORY_SHARE = 4


@dataclass(frozen=True)
class LoadedModel:
    """A version with everything that a prediction needs."""

    version: ModelVersion
    built: BuiltNetwork
    features: FittedFeatures
    target: FittedTarget
    forward_row: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    """The network for one row at a time."""


_kept: OrderedDict[tuple[int, str | None], LoadedModel] = OrderedDict()


def load(version: ModelVersion) -> LoadedModel:
    """The version with the parameters of its snapshot, from memory where the session has it."""
    if not held(version):
        return keep(version, parameters.load_shared(version.snapshot_id))
    _kept.move_to_end(_key(version))
    return _kept[_key(version)]


def held(version: ModelVersion) -> bool:
    """Whether the session has the version in memory."""
    return _key(version) in _kept


def keep(version: ModelVersion, state: Mapping[str, torch.Tensor]) -> LoadedModel:
    """The version with these parameters, which are all of its snapshot; the session has it from now on."""
    model = _made(version, state)
    _kept[_key(version)] = model
    _make_room()
    return model


def _key(version: ModelVersion) -> tuple[int, str | None]:
    return version.snapshot_id, version.scheme


def _made(version: ModelVersion, state: Mapping[str, torch.Tensor]) -> LoadedModel:
    features = FittedFeatures.from_json(version.features)
    built = restore(Network.parse(version.network), features.input_specs(), state)
    built.module.requires_grad_(False)  # without it, every prediction would record a graph
    return LoadedModel(version, built, features, target_from_json(version.target), built.module.without_hooks())


def _make_room() -> None:
    limit = settings.memory_limit_bytes() // _MEMORY_SHARE
    while len(_kept) > 1 and sum(model.built.parameter_bytes for model in _kept.values()) > limit:
        _kept.popitem(last=False)
