"""Rows in memory that the caller and its workers share: a file without a name, which goes with the last of them."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from delc.dql.work import RowBatches
from delc.training.batches import Batches, MemoryBatches

ALIGNMENT = 64
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "int32": torch.int32}

Layout = list[dict[str, Any]]


class SharedRows:
    """Tensors in such a file; ``layout`` says what lies where."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.layout: Layout = []
        self.fd = os.memfd_create("delc", os.MFD_CLOEXEC)
        at = 0
        for name, tensor in tensors.items():
            dense = tensor.detach().contiguous()
            at = -(-at // ALIGNMENT) * ALIGNMENT
            dtype = str(dense.dtype).removeprefix("torch.")
            assert dtype in _DTYPES, dtype
            self.layout.append({"name": name, "dtype": dtype, "shape": list(dense.shape), "at": at})
            at += _write(self.fd, dense, at)
        os.ftruncate(self.fd, max(at, ALIGNMENT))

    def close(self) -> None:
        """Gives up the caller's hold on it."""
        os.close(self.fd)


def _write(fd: int, dense: Tensor, at: int) -> int:
    numbers: Any = dense.reshape(-1).view(torch.uint8).numpy() if dense.numel() else b""
    view = memoryview(numbers)
    written = 0
    while written < len(view):
        written += os.pwrite(fd, view[written:], at + written)
    return len(view)


def opened(fd: int, layout: Layout) -> dict[str, Tensor]:
    """The tensors of such a file, without a copy."""
    size = os.fstat(fd).st_size
    memory = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    tensors = {}
    for entry in layout:
        count = math.prod(entry["shape"])
        dtype = _DTYPES[entry["dtype"]]
        flat = (
            torch.frombuffer(memory, dtype=dtype, count=count, offset=entry["at"])
            if count
            else torch.empty(0, dtype=dtype)
        )
        tensors[entry["name"]] = flat.reshape(entry["shape"])
    return tensors


def named(train: MemoryBatches, validation: MemoryBatches | None) -> dict[str, Tensor]:
    """The tensors of training and validation rows, by names that ``batches`` knows."""
    tensors: dict[str, Tensor] = {}
    for part, rows in (("train", train), ("validation", validation)):
        if rows is not None:
            tensors |= {f"{part}/{name}": tensor for name, tensor in rows.inputs.items()}
            tensors[f"{part}//target"] = rows.target
    return tensors


def batches(tensors: Mapping[str, Tensor]) -> RowBatches:
    """The rows in batches of any size."""

    def make(batch_size: int, seed: int) -> tuple[Batches, Batches | None]:
        train = _batches(tensors, "train", batch_size, seed, shuffle=True)
        assert train is not None
        return train, _batches(tensors, "validation", batch_size, seed, shuffle=False)

    return RowBatches(make)


def _batches(
    tensors: Mapping[str, Tensor], part: str, batch_size: int, seed: int, *, shuffle: bool
) -> MemoryBatches | None:
    target = tensors.get(f"{part}//target")
    if target is None:
        return None
    names: Sequence[str] = [name for name in tensors if name.startswith(f"{part}/") and not name.endswith("//target")]
    inputs = {name.removeprefix(f"{part}/"): tensors[name] for name in names}
    return MemoryBatches(inputs, target, batch_size, seed=seed, shuffle=shuffle)
