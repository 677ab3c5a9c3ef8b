"""The numbers of a version: snapshots and their parameters, to and from ``delc.parameters``.

May predict and may read weights are two rights, so predictions read parameters as the extension's owner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch

from delc.server import interrupts, queries

CHUNK_BYTES = 64 * 1024 * 1024
"""Largest part of a parameter that is stored as one datum."""


def save(
    version_id: int, state: Mapping[str, torch.Tensor], learnable: frozenset[str], *, epoch: int | None, is_latest: bool
) -> int:
    """Stores a snapshot of all parameters; returns its id. ``learnable`` names those that training changes by
    gradients.
    """
    with queries.as_owner():
        snapshot_id: int = queries.value(_CREATE_SNAPSHOT, version_id, queries.typed(epoch, "integer"), is_latest)
        for name, tensor in state.items():
            for number, chunk in enumerate(_chunks(tensor)):
                interrupts.check()
                queries.execute(
                    _INSERT_PARAMETER,
                    snapshot_id,
                    name,
                    queries.typed(number, "integer"),
                    queries.typed(list(tensor.shape), "bigint[]"),
                    name in learnable,
                    queries.typed(chunk, "delc.tensor"),
                )
    return snapshot_id


def use_checkpoint(version_id: int, epoch: int) -> bool:
    """Makes the snapshot that was taken after an epoch the one to predict with; False when there is none."""
    with queries.as_owner():
        return queries.execute(_USE_CHECKPOINT, version_id, queries.typed(epoch, "integer")) > 0


def load(version_id: int) -> dict[str, torch.Tensor]:
    """The parameters that a version predicts with, by name, on memory of their own."""
    state: dict[str, list[torch.Tensor]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    with queries.as_owner():
        names = queries.rows(_PARAMETER_NAMES, version_id)
        for each in names:
            interrupts.check()
            value = queries.value(
                _PARAMETER_VALUE, each["snapshot_id"], each["name"], queries.typed(each["chunk"], "integer")
            )
            state.setdefault(each["name"], []).append(torch.as_tensor(value))
            shapes[each["name"]] = tuple(each["shape"])
    return {name: _joined(chunks, shapes[name]) for name, chunks in state.items()}


def _chunks(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    size = tensor.numel() * tensor.element_size()
    if size <= CHUNK_BYTES:
        yield tensor
        return
    flat = tensor.detach().reshape(-1)
    yield from torch.split(flat, CHUNK_BYTES // tensor.element_size())


def _joined(chunks: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    whole = chunks[0] if len(chunks) == 1 else torch.cat(chunks)
    assert whole.numel() == math.prod(shape)
    return whole.reshape(shape)


_CREATE_SNAPSHOT = """
    INSERT INTO delc.snapshots (version_id, number, epoch, is_latest)
    SELECT $1, coalesce(max(number), 0) + 1, $2, $3 FROM delc.snapshots WHERE version_id = $1
    RETURNING id
"""

_USE_CHECKPOINT = "UPDATE delc.snapshots SET is_latest = true WHERE version_id = $1 AND epoch = $2"

_INSERT_PARAMETER = """
    INSERT INTO delc.parameters (snapshot_id, name, chunk, shape, learnable, value) VALUES ($1, $2, $3, $4, $5, $6)
"""

_PARAMETER_NAMES = """
    SELECT parameter.snapshot_id, parameter.name, parameter.chunk, parameter.shape
    FROM delc.snapshots AS snapshot JOIN delc.parameters AS parameter ON parameter.snapshot_id = snapshot.id
    WHERE snapshot.version_id = $1 AND snapshot.is_latest
    ORDER BY parameter.name, parameter.chunk
"""

_PARAMETER_VALUE = "SELECT value FROM delc.parameters WHERE snapshot_id = $1 AND name = $2 AND chunk = $3"
