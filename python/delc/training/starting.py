"""Where a training begins: with fresh weights, with those of another model, or after a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from delc.datasets import versions as datasets
from delc.features import FittedFeatures
from delc.features.fitted_target import target_from_json
from delc.features.target_continuing import has_same_outputs
from delc.models import parameters, training_states
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, Network, build, layer_giving_outputs, network_from, restore
from delc.networks.resolution import SIZE_OF_OUTPUT
from delc.server import progress, queries
from delc.server.errors import InvalidParameter, WrongState
from delc.server.memory import MemoryWatch
from delc.training.job import OPTIMISER_STATES
from delc.training.rows import Prepared, Roles, RowsQuery, prepare, prepare_again, prepare_continued
from delc.training.selection import select_layers
from delc.training.state import TrainingState, from_store


@dataclass(frozen=True)
class Beginning:
    """The rows, and a network with the weights to begin with."""

    prepared: Prepared
    built: BuiltNetwork


@dataclass(frozen=True)
class Rows:
    """The training and the validation rows of a data set's version, and how they come in batches."""

    train: RowsQuery
    validation: RowsQuery | None
    batch_size: int
    seed: int

    @classmethod
    def of(cls, version: datasets.DatasetVersion, batch_size: int, seed: int) -> Rows:
        """The rows of a version."""
        counts = version.as_seen().split_counts()
        validation = counts.get("validation", 0)
        return cls(
            RowsQuery(version.query("train"), counts.get("train", 0)),
            RowsQuery(version.query("validation"), validation) if validation else None,
            batch_size,
            seed,
        )


def fresh(rows: Rows, roles: Roles, network: Any, watch: MemoryWatch) -> Beginning:
    """Features and target fitted on the rows, and a network with random weights."""
    prepared = prepare(rows.train, rows.validation, roles, batch_size=rows.batch_size, seed=rows.seed, watch=watch)
    specs = prepared.features.input_specs()
    return Beginning(prepared, _build(network_from(network, specs, prepared.target.outputs), prepared, rows, watch))


def warm(rows: Rows, roles: Roles, parent: ModelVersion, replaced: Sequence[str], watch: MemoryWatch) -> Beginning:
    """The features, network and weights of another version. Layers that ``replaced`` names get random weights, and so
    does the last one when the target has other labels or outputs.
    """
    prepared = continued(rows, roles, parent, watch)
    network = Network.parse(parent.network)
    fresh_layers = set(select_layers(replaced, network.names, 'in "replace"'))
    if not has_same_outputs(target_from_json(parent.target), prepared.target):
        network, head = without_head(network, parent)
        if head not in fresh_layers:
            progress.notice(
                f'the layer "{head}" begins with random weights: the rows have other labels or outputs than "{parent}"'
            )
        fresh_layers.add(head)
    built = _build(network, prepared, rows, watch)
    _transfer(built, parameters.load(parent.snapshot_id), fresh_layers)
    return Beginning(prepared, built)


def continued(rows: Rows, roles: Roles, parent: ModelVersion, watch: MemoryWatch) -> Prepared:
    """The rows, encoded as another version was fitted to read them."""
    return prepare_continued(
        rows.train,
        rows.validation,
        roles,
        FittedFeatures.from_json(parent.features),
        target_from_json(parent.target),
        batch_size=rows.batch_size,
        seed=rows.seed,
        watch=watch,
    )


def again(rows: Rows, version: ModelVersion, watch: MemoryWatch) -> tuple[Beginning, TrainingState]:
    """A training as it was after a checkpoint. ``WrongState`` when what it needs was not kept."""
    stored = training_states.load(version.snapshot_id)
    if stored is None:
        raise _not_kept(version)
    prepared = prepare_again(
        rows.train,
        rows.validation,
        FittedFeatures.from_json(version.features),
        target_from_json(version.target),
        batch_size=rows.batch_size,
        seed=rows.seed,
        watch=watch,
    )
    built = restore(
        Network.parse(version.network), prepared.features.input_specs(), parameters.load(version.snapshot_id), copy=True
    )
    return Beginning(prepared, built), from_store(*stored)


def _build(network: Network, prepared: Prepared, rows: Rows, watch: MemoryWatch) -> BuiltNetwork:
    return build(
        network,
        prepared.features.input_specs(),
        prepared.target.outputs,
        rows.seed,
        require=lambda size, what: watch.require(size * (1 + OPTIMISER_STATES), f"training {what}"),
    )


def without_head(network: Network, parent: ModelVersion) -> tuple[Network, str]:
    """The network with the size of its outputs left open, and the layer that gives them."""
    head = layer_giving_outputs(network)
    if head is None:
        raise InvalidParameter(
            f'the target has other labels or outputs than that of "{parent}", whose last layer cannot be replaced',
            detail=f"Its last {network.output} has no size of its own.",
            hint="Train a new network without from_model.",
        )
    arguments = {name: value for name, value in head.arguments.items() if name != SIZE_OF_OUTPUT}
    opened = replace(head, arguments=arguments)
    return Network(tuple(opened if layer is head else layer for layer in network)), head.name


def _transfer(built: BuiltNetwork, state: dict[str, torch.Tensor], fresh_layers: set[str]) -> None:
    kept = {name: tensor for name, tensor in state.items() if name.partition(".")[0] not in fresh_layers}
    own = built.module.state_dict()
    with torch.no_grad():
        for name, tensor in kept.items():
            own[name].copy_(tensor)


def _not_kept(version: ModelVersion) -> WrongState:
    with queries.as_owner():
        epochs = [str(row["epoch"]) for row in queries.rows(_RESUMABLE, version.id)]
    known = f"Kept are those of {', '.join(f'{version.title}#{epoch}' for epoch in epochs)}." if epochs else None
    return WrongState(
        f'"{version}" cannot be resumed: the state of its optimizer was not kept',
        detail=known,
        hint="Train with keep_optimizer => true, or begin a new training with its weights: "
        f"train(…, from_model => {queries.quote_literal(str(version))}).",
    )


_RESUMABLE = """
    SELECT snapshot.epoch FROM delc.snapshots AS snapshot
    JOIN delc.training_states AS state ON state.snapshot_id = snapshot.id
    WHERE snapshot.version_id = $1 ORDER BY snapshot.epoch
"""
