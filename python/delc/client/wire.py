"""The wire format of delc.tensor, which tensor_send gives and tensor_recv takes, to and from numpy and torch.

All numbers little-endian: bytes DE 1C, wire version 1, dtype code, rank, three zero bytes; then one int64 for each
dimension; then the numbers, dense and row-major.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Kind = Literal["numpy", "torch"]

BFLOAT16 = np.dtype([("bfloat16", "<u2")])
"""What bfloat16 is in numpy, which lacks it: the bits of each number. ``ml_dtypes.bfloat16`` is taken too."""

CODES = {
    "float64": 1,
    "float32": 2,
    "float16": 3,
    "bfloat16": 4,
    "int64": 5,
    "int32": 6,
    "int16": 7,
    "int8": 8,
    "uint8": 9,
    "bool": 10,
}
NAMES = {code: name for name, code in CODES.items()}
MOST_DIMENSIONS = 8
_FIXED = struct.Struct("<2sBBB3s")
_MAGIC = b"\xde\x1c"


def storage(dtype: str) -> np.dtype[Any]:
    """The numpy dtype whose elements have the bits of a delc dtype."""
    return BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<")


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The delc dtype of a numpy dtype; ``TypeError`` where there is none."""
    name = "bfloat16" if dtype in (BFLOAT16, np.dtype([("bfloat16", ">u2")])) else dtype.name
    if name not in CODES:
        raise TypeError(f"an array of dtype {dtype} cannot become a delc.tensor; known are: {', '.join(CODES)}")
    return name


def header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The bytes before the numbers."""
    if len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"an array of {len(shape)} dimensions cannot become a delc.tensor; it has at most 8")
    fixed = _FIXED.pack(_MAGIC, 1, CODES[dtype], len(shape), bytes(3))
    return fixed + struct.pack(f"<{len(shape)}q", *shape)


def dense(value: Any) -> tuple[str, tuple[int, ...], memoryview]:
    """dtype, shape and numbers (little-endian, row-major) of a numpy array or a torch tensor, without a copy where
    they lie so already.
    """
    if is_torch(value):
        return _dense_torch(value)
    array = np.asarray(value)
    name = dtype_name(array.dtype)
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return name, array.shape, little.reshape(-1).view(np.uint8).data.cast("B")


def encode(value: Any) -> bytes:
    """A numpy array or torch tensor as ``tensor_recv`` takes it."""
    dtype, shape, numbers = dense(value)
    return b"".join((header(dtype, shape), numbers))


def decode(data: Any) -> Array:
    """The array that ``tensor_send`` wrote: a read-only view on ``data``. bfloat16 comes as ``BFLOAT16``."""
    data = memoryview(data).cast("B")
    if len(data) < _FIXED.size:
        raise ValueError(f"{len(data)} bytes are no delc.tensor")
    magic, version, code, rank, kind = _FIXED.unpack_from(data)
    if magic != _MAGIC or version != 1 or code not in NAMES or rank > MOST_DIMENSIONS:
        raise ValueError("the bytes are no delc.tensor of wire version 1; is delc.client older than the server?")
    if kind != bytes(3):
        raise ValueError("the value is a delta; select delc.apply_delta(base, delta) or delc.restore(value ORDER BY …)")
    shape = struct.unpack_from(f"<{rank}q", data, _FIXED.size)
    start = _FIXED.size + 8 * rank
    dtype = storage(NAMES[code])
    if min(shape, default=0) < 0 or len(data) - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"a delc.tensor of shape {shape} has {len(data) - start} bytes of numbers")
    return np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)


def is_torch(value: Any) -> bool:
    """Whether this is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_torch(array: Array) -> torch.Tensor:
    """The array as a torch tensor, on the same memory where that may be written."""
    import torch

    writable = array if array.flags.writeable else array.copy()
    if array.dtype == BFLOAT16:
        return torch.from_numpy(writable.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(writable)


def to_kind(array: Array, kind: Kind) -> Any:
    """The array itself, or the torch tensor."""
    if kind not in ("numpy", "torch"):
        raise ValueError(f'"{kind}" is no kind of tensor; known are: numpy, torch')
    return to_torch(array) if kind == "torch" else array


def as_float32(array: Array) -> npt.NDArray[np.float32]:
    """The numbers of an array as float32; exact for ``BFLOAT16`` and float16."""
    if array.dtype == BFLOAT16:
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def _dense_torch(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], memoryview]:
    import torch

    name = str(tensor.dtype).removeprefix("torch.")
    if name not in CODES:
        raise TypeError(f"a torch tensor of {name} cannot become a delc.tensor; known are: {', '.join(CODES)}")
    values = tensor.detach().cpu().contiguous()
    return name, tuple(values.shape), values.reshape(-1).view(torch.uint8).numpy().data.cast("B")
