"""The numbers of a version: snapshots and their parameters, to and from ``delc.parameters``.

May predict and may read weights are two rights, so predictions read parameters as the extension's owner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from delc.server import interrupts, queries

Array = npt.NDArray[np.generic]

CHUNK_BYTES = 64 * 1024 * 1024
"""Largest part of a parameter that is stored as one datum."""


def save(
    version_id: int, state: Mapping[str, torch.Tensor], learnable: frozenset[str], *, epoch: int | None, is_latest: bool
) -> int:
    """Stores a snapshot of all parameters; returns its id. ``learnable`` names those that training changes by
    gradients.
    """
    snapshot_id = create_snapshot(version_id, epoch=epoch, is_latest=is_latest)
    for name, tensor in state.items():
        for number, chunk in enumerate(chunks(tensor)):
            interrupts.check()
            add_chunk(snapshot_id, name, number, tensor.shape, name in learnable, chunk)
    return snapshot_id


def create_snapshot(version_id: int, *, epoch: int | None, is_latest: bool) -> int:
    """Makes a snapshot without parameters, for ``add_chunk``; returns its id."""
    with queries.as_owner():
        snapshot_id: int = queries.value(_CREATE_SNAPSHOT, version_id, queries.typed(epoch, "integer"), is_latest)
    return snapshot_id


def add_chunk(
    snapshot_id: int, name: str, number: int, shape: Sequence[int], learnable: bool, chunk: torch.Tensor | Array
) -> None:
    """Stores a parameter (chunk 0) or one of its flat chunks, which must come as they are to be joined. ``shape``: that
    of the whole.
    """
    with queries.as_owner():
        queries.execute(
            _INSERT_PARAMETER,
            snapshot_id,
            name,
            queries.typed(number, "integer"),
            queries.typed(list(shape), "bigint[]"),
            learnable,
            queries.typed(chunk, "delc.tensor"),
        )


def use_checkpoint(version_id: int, epoch: int) -> bool:
    """Makes the snapshot that was taken after an epoch the one to predict with; False when there is none."""
    with queries.as_owner():
        return queries.execute(_USE_CHECKPOINT, version_id, queries.typed(epoch, "integer")) > 0


def load(snapshot_id: int) -> dict[str, torch.Tensor]:
    """The parameters of a snapshot, by name, on memory of their own."""
    state: dict[str, list[torch.Tensor]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    with queries.as_owner():
        for each in queries.rows(_PARAMETER_NAMES, snapshot_id):
            interrupts.check()
            value = queries.value(_PARAMETER_VALUE, snapshot_id, each["name"], queries.typed(each["chunk"], "integer"))
            state.setdefault(each["name"], []).append(torch.as_tensor(value))
            shapes[each["name"]] = tuple(each["shape"])
    return {name: joined(parts, shapes[name]) for name, parts in state.items()}


def names(snapshot_id: int) -> list[str]:
    """The names of a snapshot's parameters, in order."""
    with queries.as_owner():
        return list(dict.fromkeys(row["name"] for row in queries.rows(_PARAMETER_NAMES, snapshot_id)))


def learnable(snapshot_id: int) -> frozenset[str]:
    """The names of those that training changes by gradients."""
    with queries.as_owner():
        return frozenset(row["name"] for row in queries.rows(_LEARNABLE, snapshot_id))


def load_one(snapshot_id: int, name: str) -> torch.Tensor:
    """One parameter of a snapshot; it may lie on memory that must not be written."""
    with queries.as_owner():
        found = queries.rows(_ONE_PARAMETER, snapshot_id, name)
    return joined([torch.as_tensor(row["value"]) for row in found], tuple(found[0]["shape"]))


def copy(snapshot_id: int, version_id: int) -> int:
    """Stores a snapshot again, as that of another version, to the last bit; returns its id."""
    copied = create_snapshot(version_id, epoch=None, is_latest=True)
    with queries.as_owner():
        queries.execute(_COPY_PARAMETERS, snapshot_id, copied)
    return copied


def chunks(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensor itself where it fits into one datum, otherwise its numbers in flat pieces."""
    size = tensor.numel() * tensor.element_size()
    if size <= CHUNK_BYTES:
        yield tensor
        return
    flat = tensor.detach().reshape(-1)
    yield from torch.split(flat, CHUNK_BYTES // tensor.element_size())


def joined(parts: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    """The tensor of that shape that ``chunks`` cut."""
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
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
    SELECT name, chunk, shape FROM delc.parameters WHERE snapshot_id = $1 ORDER BY name, chunk
"""

_PARAMETER_VALUE = "SELECT value FROM delc.parameters WHERE snapshot_id = $1 AND name = $2 AND chunk = $3"

_ONE_PARAMETER = "SELECT value, shape FROM delc.parameters WHERE snapshot_id = $1 AND name = $2 ORDER BY chunk"

_COPY_PARAMETERS = """
    INSERT INTO delc.parameters (snapshot_id, name, chunk, shape, learnable, value)
    SELECT $2, name, chunk, shape, learnable, value FROM delc.parameters WHERE snapshot_id = $1
"""

_LEARNABLE = "SELECT name FROM delc.parameters WHERE snapshot_id = $1 AND learnable AND chunk = 0"
