"""The numbers of a version: snapshots and their parameters, as ``delc.parameters`` shows them.

May predict and may read weights are two rights, so predictions read parameters as the extension's owner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import plpy
import torch

from delc.models import cache, reading
from delc.models.stored_tensors import StoredTensor
from delc.server import interrupts, queries
from delc.server.errors import Conflict, DamagedData

Array = npt.NDArray[np.generic]

CHUNK_BYTES = 64 * 1024 * 1024
"""Largest part of a parameter that is stored as one datum."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a snapshot, as it is stored."""

    snapshot_id: int
    name: str
    shape: tuple[int, ...]
    is_learnable: bool
    chunks: list[StoredTensor]


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


def load(snapshot_id: int, planes: int | None = None, *, together: bool = True) -> dict[str, torch.Tensor]:
    """The parameters of a snapshot, by name, on memory of their own; ``planes`` reads the leading ones alone.
    ``together``: several at a time, in several threads. ``DamagedData`` names the parameter that is not as it was
    stored.
    """
    return dict(_read(find(snapshot_id), planes, together=together))


def load_shared(snapshot_id: int, read_ids: set[int] | None = None) -> dict[str, torch.Tensor]:
    """The parameters of a snapshot, by name; larger ones on memory that all sessions share, so they are not for
    changing. Errors as of ``load``. ``read_ids`` takes the ids of the tensors that were read from the relations because
    that memory did not have them.
    """
    found = find(snapshot_id)
    state = {parameter.name: cache.find(parameter.chunks) for parameter in found}
    missing = [parameter for parameter in found if state[parameter.name] is None]
    if read_ids is not None:
        read_ids.update(chunk.id for parameter in missing for chunk in parameter.chunks)
    for parameter, (name, read) in zip(missing, _read(missing, together=True), strict=True):
        state[name] = cache.add(parameter.chunks, read)
    return {
        parameter.name: numbers.reshape(parameter.shape)
        for parameter in found
        if (numbers := state[parameter.name]) is not None
    }


def in_shared_memory(snapshot_id: int) -> bool:
    """Whether all larger parameters of a snapshot are on memory that all sessions share, and there are any."""
    large = [
        parameter.chunks
        for parameter in find(snapshot_id)
        if sum(chunk.bytes for chunk in parameter.chunks) >= cache.LEAST_BYTES
    ]
    return bool(large) and all(cache.holds(chunks) for chunks in large)


def load_one(snapshot_id: int, name: str) -> torch.Tensor:
    """One parameter of a snapshot. Errors as of ``load``."""
    ((_, numbers),) = _read(find(snapshot_id, name))
    return numbers


def read_chunks(
    found: Sequence[Parameter],
    planes: int | None = None,
    *,
    together: bool = False,
    places: Mapping[int, reading.Place] | None = None,
) -> Iterator[torch.Tensor]:
    """The chunks of parameters, one after the other. ``places``: memory to put some of them on, by their number here.
    Errors as of ``load``.
    """
    wanted = [chunk for parameter in found for chunk in parameter.chunks]
    read = reading.read_each(wanted, planes, together=together, places=places)
    try:
        for numbers in read:
            interrupts.check()
            yield numbers
    except reading.DamagedTensor as error:
        raise name_damage(found, error) from None


def find(snapshot_id: int, name: str | None = None) -> list[Parameter]:
    """All parameters of a snapshot, or one."""
    with queries.as_owner():
        rows = queries.rows(_STORED, snapshot_id, name)
    found = []
    for title, chunks in groupby(rows, key=itemgetter("name")):
        same = list(chunks)
        parts = [StoredTensor(*(row[column] for column in _STORED_TENSOR)) for row in same]
        found.append(Parameter(snapshot_id, title, tuple(same[0]["shape"]), same[0]["learnable"], parts))
    return found


def damaged(snapshot_id: int, name: str, problem: str | None) -> DamagedData:
    """The error for a parameter that is not as it was stored."""
    with queries.as_owner():
        title = queries.value(_TITLE, snapshot_id)
    return DamagedData(
        f'parameter "{name}" of "{title}" is damaged',
        detail=problem,
        hint="SELECT * FROM delc.verify_archive() finds all that are; restore them from a backup.",
    )


def name_damage(found: Sequence[Parameter], error: reading.DamagedTensor) -> DamagedData:
    """The same for the one, among these, whose tensor is damaged."""
    for parameter in found:
        if error.tensor_id in {chunk.id for chunk in parameter.chunks}:
            return damaged(parameter.snapshot_id, parameter.name, error.detail)
    return error


class _Whole:
    """The memory of a parameter that its chunks are decoded to."""

    def __init__(self, parameter: Parameter) -> None:
        self._ends = np.cumsum([chunk.bytes for chunk in parameter.chunks]).tolist()
        self._dtype = parameter.chunks[0].torch_dtype
        self._memory: reading.Memory | None = None

    def part(self, number: int) -> reading.Memory:
        """Where a chunk belongs."""
        if self._memory is None:
            self._memory = np.empty(self._ends[-1], dtype=np.uint8)
        start = self._ends[number - 1] if number else 0
        return self._memory[start : self._ends[number]]

    def take(self) -> torch.Tensor:
        """All numbers, which are not kept here any longer."""
        assert self._memory is not None
        numbers = torch.from_numpy(self._memory).view(self._dtype)
        self._memory = None
        return numbers


def _read(
    found: Sequence[Parameter], planes: int | None = None, *, together: bool = False
) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters by name."""
    wholes = {parameter.name: _Whole(parameter) for parameter in found if len(parameter.chunks) > 1}
    roles = [(parameter.name, number) for parameter in found for number in range(len(parameter.chunks))]
    places = {n: partial(wholes[name].part, part) for n, (name, part) in enumerate(roles) if name in wholes}
    chunks = read_chunks(found, planes, together=together, places=places)
    for parameter in found:
        for _ in parameter.chunks:
            numbers = next(chunks)
        if parameter.name in wholes:
            numbers = wholes[parameter.name].take()
        yield parameter.name, numbers.reshape(parameter.shape)


def names(snapshot_id: int) -> list[str]:
    """The names of a snapshot's parameters, in order."""
    with queries.as_owner():
        return list(dict.fromkeys(row["name"] for row in queries.rows(_PARAMETER_NAMES, snapshot_id)))


def learnable(snapshot_id: int) -> frozenset[str]:
    """The names of those that training changes by gradients."""
    with queries.as_owner():
        return frozenset(row["name"] for row in queries.rows(_LEARNABLE, snapshot_id))


def copy(snapshot_id: int, version_id: int) -> int:
    """Makes a snapshot of the same tensors for another version; returns its id. ``Conflict`` where one of them was
    dropped meanwhile because an equal one is kept instead.
    """
    copied = create_snapshot(version_id, epoch=None, is_latest=True)
    with queries.as_owner():
        try:
            queries.execute(_COPY_PARAMETERS, snapshot_id, copied)
        except plpy.SPIError as error:
            if queries.sqlstate_of(error) != queries.FOREIGN_KEY_VIOLATION:
                raise
            raise Conflict(
                "the parameters to be copied were stored in another way meanwhile",
                hint="Another transaction archived or dropped their version: try again.",
            ) from None
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
    WITH stored AS (
        INSERT INTO delc.stored_tensors (value, dtype, elements, checksum)
        VALUES ($6, delc.dtype($6), delc.elements($6), delc.checksum($6)) RETURNING id
    )
    INSERT INTO delc.snapshot_parameters (snapshot_id, name, chunk, shape, learnable, tensor_id)
    SELECT $1, $2, $3, $4, $5, stored.id FROM stored
"""

_PARAMETER_NAMES = """
    SELECT name, chunk, shape FROM delc.snapshot_parameters WHERE snapshot_id = $1 ORDER BY name, chunk
"""

_STORED_TENSOR = ("id", "dtype", "elements", "checksum", "hops")

_STORED = """
    SELECT parameter.name, parameter.chunk, parameter.shape, parameter.learnable,
           stored.id, stored.dtype, stored.elements, stored.checksum, stored.hops
    FROM delc.snapshot_parameters AS parameter JOIN delc.stored_tensors AS stored ON stored.id = parameter.tensor_id
    WHERE parameter.snapshot_id = $1 AND ($2 IS NULL OR parameter.name = $2)
    ORDER BY parameter.name, parameter.chunk
"""

_TITLE = """
    SELECT model.name || '@' || version.number || coalesce('#' || snapshot.epoch, '')
    FROM delc.snapshots AS snapshot
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE snapshot.id = $1
"""

_COPY_PARAMETERS = """
    INSERT INTO delc.snapshot_parameters (snapshot_id, name, chunk, shape, learnable, tensor_id)
    SELECT $2, name, chunk, shape, learnable, tensor_id FROM delc.snapshot_parameters WHERE snapshot_id = $1
"""

_LEARNABLE = "SELECT name FROM delc.snapshot_parameters WHERE snapshot_id = $1 AND learnable AND chunk = 0"
