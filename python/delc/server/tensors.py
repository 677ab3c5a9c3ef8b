"""Dense numbers between the tensor type and Python; called by the transform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import _delc
import numpy as np

from delc.server.errors import InvalidParameter
from delc.server.streams import Failure
from delc.server.threads import signals_blocked

_NUMPY_NAMES = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint8": np.uint8,
    "bool": np.bool_,
}


def from_buffer(buffer: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    """A numpy array on ``buffer``, without a copy. numpy has no bfloat16: such a tensor comes as a torch tensor."""
    if dtype != "bfloat16":
        return np.frombuffer(buffer, dtype=_NUMPY_NAMES[dtype]).reshape(shape)

    with signals_blocked():
        import torch
    if 0 in shape:
        return torch.empty(shape, dtype=torch.bfloat16)
    return torch.frombuffer(buffer, dtype=torch.bfloat16).reshape(shape)


def fresh(count: int, dtype: Any) -> Any:
    """A torch tensor of so many numbers, to be filled; in large pages of memory where it is large."""
    import torch

    if count == 0:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(_delc.fresh_numbers(count * dtype.itemsize), dtype=dtype)


@contextmanager
def receiving(numbers: Any) -> Iterator[None]:
    """``delc.read_planes()`` reads into this contiguous torch tensor within the block."""
    import torch

    _delc.plane_target(numbers.view(torch.uint8).numpy())
    try:
        yield
    finally:
        _delc.plane_target(None)


def checksum(value: Any) -> int:
    """``delc.checksum()`` of a numpy array or torch tensor."""
    return _delc.checksum(*to_buffer(value))


def to_buffer(value: Any) -> tuple[str, tuple[int, ...], Any]:
    """(dtype, shape, C-contiguous memory) of a numpy array, a torch tensor, a number or nested lists of numbers."""
    if type(value).__module__.partition(".")[0] == "torch":
        return _torch_to_buffer(value)
    if isinstance(value, Failure):
        raise value.error
    array = np.asarray(value, order="C")
    if array.dtype.name not in _NUMPY_NAMES:
        raise InvalidParameter(
            f"an array of {array.dtype.name} cannot be stored as a tensor",
            detail=f"Known dtypes are: {', '.join(_NUMPY_NAMES)}, bfloat16 (from torch).",
        )
    little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return array.dtype.name, array.shape, little_endian.reshape(-1).view(np.uint8).data


def _torch_to_buffer(tensor: Any) -> tuple[str, tuple[int, ...], Any]:
    import torch

    dense = tensor.detach().cpu().contiguous()
    dtype = str(dense.dtype).removeprefix("torch.")
    if dtype not in _NUMPY_NAMES and dtype != "bfloat16":
        raise InvalidParameter(f"a torch tensor of {dtype} cannot be stored as a tensor")
    return dtype, tuple(dense.shape), memoryview(dense.reshape(-1).view(torch.uint8).numpy())
