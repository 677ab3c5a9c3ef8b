"""Weights of a version for a changed network: layers that survive keep theirs, others get fresh ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from delc.features import FittedFeatures
from delc.models import parameters
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, Network, build
from delc.server import interrupts
from delc.server.memory import MemoryWatch


@dataclass(frozen=True)
class Carried:
    """A network with weights: ``kept`` layers have those of the version, ``fresh`` ones random numbers."""

    built: BuiltNetwork
    kept: tuple[str, ...]
    fresh: tuple[str, ...]


def _value(source: ModelVersion, name: str, weights: Mapping[str, torch.Tensor] | None) -> torch.Tensor:
    return parameters.load_one(source.snapshot_id, name) if weights is None else weights[name]


def carry(
    network: Network,
    source: ModelVersion,
    features: FittedFeatures,
    outputs: int | None,
    seed: int,
    watch: MemoryWatch,
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
    renewed: Collection[str] = (),
) -> Carried:
    """The changed network with the weights of ``source`` in every layer that has the kind and the sizes it had.

    A layer whose input has another size than before has other sizes too: it is among the ``fresh`` ones, and so are
    those that ``renewed`` names. ``weights``: those of the version where they are at hand.
    """
    built = build(network, features.input_specs(), outputs, seed, require=watch.require)
    old_kinds = {layer.name: layer.kind for layer in Network.parse(source.network)}
    kinds = {layer.name: layer.kind for layer in built.network}
    stored = set(parameters.names(source.snapshot_id) if weights is None else weights)
    fresh: dict[str, None] = {}
    with_parameters: dict[str, None] = {}
    state = built.module.state_dict()
    for name in state:
        with_parameters[name.partition(".")[0]] = None
    values: dict[str, torch.Tensor] = {}
    for name, own in state.items():
        interrupts.check()
        layer = name.partition(".")[0]
        value = _value(source, name, weights) if name in stored else None
        if value is None or layer in renewed or kinds[layer] != old_kinds.get(layer) or value.shape != own.shape:
            fresh[layer] = None
        else:
            values[name] = value
    with torch.no_grad():
        for name, value in values.items():
            if name.partition(".")[0] not in fresh:
                state[name].copy_(value)
    return Carried(built, tuple(name for name in with_parameters if name not in fresh), tuple(fresh))
