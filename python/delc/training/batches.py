"""Batches for the training loop from tensors in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from delc.server.errors import InvalidData, InvalidParameter

Inputs: TypeAlias = dict[str, Tensor]
Transform: TypeAlias = Callable[[Inputs], Inputs]


class Batches(Protocol):
    """Rows in batches, as the training loop reads them."""

    @property
    def rows(self) -> int:
        """Rows in all batches together."""

    @property
    def batches(self) -> int:
        """Batches in one epoch."""

    def epoch(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of an epoch (counted from 1) in its order: the network's inputs by name, and the target."""


class MemoryBatches:
    """Batches of rows that lie in memory as tensors.

    ``inputs``: tensors (rows, …) by input name; ``target``: (rows, …). With ``shuffle`` each epoch has its own order,
    which depends on ``seed`` and the epoch's number alone. ``transform`` is applied to the inputs of each batch, so
    that rows may lie in memory in a smaller form (bytes of images) than the network reads.

    The last batch is short when rows do not divide evenly; a last batch of one single row joins the batch before it,
    because batch normalisation cannot train on one row.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        target: Tensor,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        transform: Transform | None = None,
    ) -> None:
        if batch_size < 1:
            raise InvalidParameter(f"batch_size is {batch_size}; it must be a whole number >= 1")
        for name, tensor in inputs.items():
            if tensor.shape[0] != target.shape[0]:
                raise InvalidData(f'input "{name}" has {tensor.shape[0]} rows, but the target has {target.shape[0]}')
        self.inputs = dict(inputs)
        self.target = target
        self.seed = seed
        self.shuffle = shuffle
        self.transform = transform
        self.rows = int(target.shape[0])
        self._bounds = batch_bounds(self.rows, batch_size)

    @property
    def batches(self) -> int:
        """Batches in one epoch."""
        return len(self._bounds)

    def epoch(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of an epoch, counted from 1."""
        order = shuffled(self.rows, self.seed, epoch) if self.shuffle else None
        for start, stop in self._bounds:
            if order is None:
                inputs = {name: tensor[start:stop] for name, tensor in self.inputs.items()}
                target = self.target[start:stop]
            else:
                chosen = order[start:stop]
                inputs = {name: tensor.index_select(0, chosen) for name, tensor in self.inputs.items()}
                target = self.target.index_select(0, chosen)
            yield (inputs if self.transform is None else self.transform(inputs)), target


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Where each batch starts and stops; a single row left over joins the last batch."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True)) if starts else []


def shuffled(rows: int, seed: int, epoch: int) -> Tensor:
    """The order of rows (rows,) int64 in an epoch: the same for the same seed and epoch, whatever ran before."""
    generator = torch.Generator()
    generator.manual_seed(epoch_seed(seed, epoch))
    return torch.randperm(rows, generator=generator)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch of a run, below 2^63.

    The numbers are spread by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), so that the epochs of one run
    share nothing with those of a run whose seed is one greater.
    """
    value = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03 + 1) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 31)) >> 1
