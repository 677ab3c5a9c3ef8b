"""Parameters on their way: whole or in flat pieces, from whatever file or rows they come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from delc.server.errors import InvalidData

CHUNK_BYTES = 64 * 1024 * 1024
"""Larger parameters are cut into flat pieces of this size."""


@dataclass(frozen=True)
class Chunk:
    """A parameter (number 0, ``value`` of ``shape``) or a flat piece of one; ``shape`` is the whole parameter's."""

    name: str
    number: int
    shape: tuple[int, ...]
    value: Any

    @property
    def dtype(self) -> str:
        """The dtype's name, of a numpy array or torch tensor."""
        return str(self.value.dtype).removeprefix("torch.")

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.value.shape)


def cut(state: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> Iterator[Chunk]:
    """The chunks of tensors, in their order."""
    for name, tensor in state.items() if isinstance(state, Mapping) else state:
        shape, size = tuple(tensor.shape), tensor.numel() * tensor.element_size()
        pieces = (tensor,) if size <= CHUNK_BYTES else tensor.reshape(-1).split(CHUNK_BYTES // tensor.element_size())
        for number, piece in enumerate(pieces):
            yield Chunk(name, number, shape, piece)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Chunk]:
    """The chunks that rows (name, chunk, shape, value) tell of; chunk and shape may be missing for whole parameters."""
    for row in rows:
        name, number, value = row["name"], row.get("chunk"), row["value"]
        if name is None or value is None:
            raise InvalidData(f"parameter {name!r} has the {'name' if name is None else 'value'} NULL")
        shape = row.get("shape")
        whole = tuple(value.shape) if shape is None else tuple(shape)
        yield Chunk(name, number or 0, whole, value)
