"""Parameters on their way: whole or in flat pieces, from whatever file or rows they come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from delc.models.parameters import chunks
from delc.server.errors import InvalidData


@dataclass(frozen=True)
class Chunk:
    """A parameter (number 0, all of it) or a flat piece of one.

    ``shape`` is the whole parameter's, ``dtype`` and ``piece`` (a shape) those of the numbers that are here: ``value``,
    or None where they are stored already.
    """

    name: str
    number: int
    shape: tuple[int, ...]
    dtype: str
    piece: tuple[int, ...]
    value: Any = None

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.piece)


def cut(state: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> Iterator[Chunk]:
    """The chunks of tensors, in their order."""
    for name, tensor in state.items() if isinstance(state, Mapping) else state:
        for number, piece in enumerate(chunks(tensor)):
            yield _of_value(name, number, tuple(tensor.shape), piece)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Chunk]:
    """The chunks that rows (name, chunk, shape, value) tell of; chunk and shape may be missing for whole parameters."""
    for row in rows:
        name, number, value = row["name"], row.get("chunk"), row["value"]
        if name is None or value is None:
            raise InvalidData(f"parameter {name!r} has the {'name' if name is None else 'value'} NULL")
        shape = row.get("shape")
        yield _of_value(name, number or 0, tuple(value.shape) if shape is None else tuple(shape), value)


def stored(rows: Iterable[Mapping[str, Any]]) -> Iterator[Chunk]:
    """The chunks that are in ``delc.parameters`` already, of rows (name, chunk, shape, dtype, piece)."""
    for row in rows:
        yield Chunk(row["name"], row["chunk"], tuple(row["shape"]), row["dtype"], tuple(row["piece"]))


def _of_value(name: str, number: int, shape: tuple[int, ...], value: Any) -> Chunk:
    return Chunk(name, number, shape, str(value.dtype).removeprefix("torch."), tuple(value.shape), value)
