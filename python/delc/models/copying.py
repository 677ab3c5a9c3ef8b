"""Copies: a new version from an old one, with the same parameters or with a changed network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from delc.features import FittedFeatures
from delc.features.fitted_target import target_from_json
from delc.log.runs import Run
from delc.models import deriving, parameters, versions
from delc.models.changes import change_network
from delc.models.parents import COPIED, parent
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, Network, build
from delc.server import progress
from delc.server.memory import MemoryWatch


def copy(
    run: Run, source: str | None, new_name: str | None, changes: Mapping[str, Any], seed: int, message: str | None
) -> str:
    """Makes the copy; its name. Layers that the changes give other shapes, or that are new, get random weights."""
    model = deriving.check_new_name(new_name, "copy_model")
    found = deriving.read_from(run, source)
    version_id = versions.reserve_id()
    network = None
    if changes:
        built = _changed(found, changes, seed, MemoryWatch.begin())
        network = built.network
        deriving.store_state(version_id, built, built.module.state_dict())
    else:
        parameters.copy(found.snapshot_id, version_id)
    return deriving.create(
        run,
        model,
        version_id,
        found,
        [parent(found, COPIED, message)],
        message,
        network=network,
        dataset_version_id=found.dataset_version_id,
    )


def _changed(source: ModelVersion, changes: Mapping[str, Any], seed: int, watch: MemoryWatch) -> BuiltNetwork:
    network = Network.parse(source.network)
    built = build(
        change_network(network, changes),
        FittedFeatures.from_json(source.features).input_specs(),
        target_from_json(source.target).outputs,
        seed,
        require=watch.require,
    )
    kinds = {layer.name: layer.kind for layer in network}
    fresh = _transfer(built, {layer.name: layer.kind for layer in built.network}, kinds, source.snapshot_id)
    if fresh:
        progress.notice(f"fresh weights, to be trained: {', '.join(fresh)}")
    return built


def _transfer(
    built: BuiltNetwork, kinds: Mapping[str, str], old_kinds: Mapping[str, str], snapshot_id: int
) -> list[str]:
    """Takes over the parameters of layers whose kind and shapes are as they were; the other layers with parameters."""
    stored = set(parameters.names(snapshot_id))
    fresh: dict[str, None] = {}
    with torch.no_grad():
        for name, own in built.module.state_dict().items():
            layer = name.partition(".")[0]
            value = parameters.load_one(snapshot_id, name) if name in stored else None
            if value is None or kinds[layer] != old_kinds[layer] or value.shape != own.shape:
                fresh[layer] = None
            else:
                own.copy_(value)
    return list(fresh)
