"""Snapshots of a version: the checkpoints of its training, each addressed by its epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from delc.models.names import BEST, LATEST
from delc.server import queries
from delc.server.errors import UndefinedObject, nearest

if TYPE_CHECKING:
    from delc.models.versions import ModelVersion


def choose(version: ModelVersion, snapshot: int | str) -> ModelVersion:
    """The version with the snapshot of that epoch, BEST or LATEST; ``UndefinedObject`` says which ones there are."""
    with queries.as_owner():
        found = queries.rows(_SNAPSHOTS, version.id)
    chosen = _chosen(found, snapshot)
    if chosen is None:
        raise _not_found(version, found, str(snapshot))
    named = replace(version, snapshot=f"#{snapshot}", scheme=chosen["scheme"])
    return replace(named, snapshot_id=chosen["id"], epoch=chosen["epoch"])


def _chosen(found: list[dict[str, Any]], snapshot: int | str) -> dict[str, Any] | None:
    """Rows come ordered from the first taken to the last; "is_best" marks one of them."""
    if snapshot == LATEST:
        return found[-1]
    if snapshot == BEST:
        return next(row for row in found if row["is_best"])
    return next((row for row in found if row["epoch"] == snapshot), None)


def _not_found(version: ModelVersion, found: list[dict[str, Any]], snapshot: str) -> UndefinedObject:
    epochs = [str(row["epoch"]) for row in found if row["epoch"] is not None]
    match = nearest(snapshot, epochs)
    return UndefinedObject(
        f'"{version.title}" has no snapshot of epoch {snapshot}',
        detail=f"It has snapshots of the epochs {', '.join(epochs)}." if epochs else "It was not made by training.",
        hint=f'Did you mean "{version.title}#{match}"?' if match else f'"{version.title}#latest" is the last one.',
    )


_SNAPSHOTS = """
    SELECT snapshot.id, snapshot.epoch, snapshot.scheme,
           row_number() OVER (
               ORDER BY validation.value IS NULL, validation.value, training.value IS NULL, training.value,
                        snapshot.is_latest DESC, snapshot.number DESC) = 1 AS is_best
    FROM delc.snapshots AS snapshot
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    LEFT JOIN delc.metrics AS validation ON validation.run_id = version.run_id AND validation.epoch = snapshot.epoch
        AND validation.metric = 'loss' AND validation.split = 'validation' AND validation.class IS NULL
    LEFT JOIN delc.metrics AS training ON training.run_id = version.run_id AND training.epoch = snapshot.epoch
        AND training.metric = 'loss' AND training.split = 'train' AND training.class IS NULL
    WHERE snapshot.version_id = $1
    ORDER BY snapshot.epoch NULLS FIRST, snapshot.number
"""
