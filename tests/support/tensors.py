"""Tensors in tests: bits on this side, `delc.tensor` on the other, through the documented wire format."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from support.cluster import Connection

CODES = {
    "float64": 1, "float32": 2, "float16": 3, "bfloat16": 4, "int64": 5,
    "int32": 6, "int16": 7, "int8": 8, "uint8": 9, "bool": 10,
}  # fmt: skip
NAMES = {code: name for name, code in CODES.items()}
DTYPES = tuple(CODES)
FLOATS = ("float64", "float32", "float16", "bfloat16")
UNCHECKED = 2
"""The flag of a stored value that comes without checksums: input makes them."""

INTEGERS = ("int64", "int32", "int16", "int8", "uint8")


def storage(dtype: str) -> np.dtype[Any]:
    """The numpy dtype that holds the elements; numpy has no bfloat16, its bits are uint16."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor's dtype and its elements (bfloat16: their bits). Equal when dtype, shape and bits are."""

    dtype: str
    array: npt.NDArray[Any]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and self.wire() == other.wire()

    def __hash__(self) -> int:
        return hash(self.wire())

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def wire(self) -> bytes:
        dims = struct.pack(f"<{self.array.ndim}q", *self.array.shape)
        return header(self.dtype, self.array.ndim) + dims + self.array.tobytes()

    def stored(self) -> bytes:
        """The value as a client may send it: as it lies on disk, behind the length word, all planes raw, without
        checksums.
        """
        size, count = self.array.itemsize, self.array.size
        planes = np.frombuffer(self.array.tobytes(), np.uint8).reshape(-1, size)[:, ::-1]
        head = bytes([0xDE, 0x1C, 2, CODES[self.dtype], self.array.ndim, size, UNCHECKED, 0, 0, 0, 0, 0])
        head += struct.pack(f"<{self.array.ndim}q", *self.shape)
        return head + struct.pack("<BBII", 0, 8, count, 0) * size + planes.T.tobytes()


def header(dtype: str, rank: int) -> bytes:
    return bytes([0xDE, 0x1C, 1, CODES[dtype], rank, 0, 0, 0])


def tensor(values: Any, dtype: str = "float32") -> Tensor:
    return Tensor(dtype, np.ascontiguousarray(np.array(values, dtype=storage(dtype))).reshape(np.shape(values)))


def from_wire(data: bytes) -> Tensor:
    dtype, rank = NAMES[data[3]], data[4]
    shape = struct.unpack_from(f"<{rank}q", data, 8)
    return Tensor(dtype, np.frombuffer(data, dtype=storage(dtype), offset=8 + 8 * rank).reshape(shape))


def random_bits(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Elements of any bit pattern."""
    size = storage(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
    if dtype == "bool":
        return Tensor(dtype, rng.integers(0, 2, shape, dtype=np.uint8).astype(bool))
    return Tensor(dtype, np.frombuffer(rng.bytes(size), dtype=storage(dtype)).reshape(shape))


def smooth(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Elements like weights: those whose high planes compress."""
    if dtype == "bfloat16":
        bits = (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return Tensor(dtype, bits)
    return Tensor(dtype, np.array(rng.standard_normal(shape) * 3).astype(storage(dtype)))


class TensorDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Tensor) -> bytes:
        return obj.wire()


class TensorLoader(Loader):
    format = Format.BINARY

    def load(self, data: Any) -> Tensor:
        return from_wire(bytes(data))


def register(connection: Connection) -> None:
    """Lets a connection take and give Tensor; results arrive so from cursors in binary."""
    info = TypeInfo.fetch(connection, "delc.tensor")
    assert info is not None
    TensorDumper.oid = info.oid
    connection.adapters.register_dumper(Tensor, TensorDumper)
    connection.adapters.register_loader(info.oid, TensorLoader)


def value(connection: Connection, sql: str, *parameters: Any) -> Any:
    """The one value that a query returns, tensors as Tensor."""
    row = connection.execute(sql, parameters, binary=True).fetchone()
    assert row is not None
    return row[0]


def text(connection: Connection, sql: str, *parameters: Any) -> Any:
    """The one value that a query returns, as text."""
    row = connection.execute(f"SELECT ({sql})::text", parameters).fetchone()
    assert row is not None
    return row[0]


@st.composite
def tensors(draw: st.DrawFn, dtypes: tuple[str, ...] = DTYPES, max_elements: int = 5000) -> Tensor:
    """Tensors of every dtype, rank and bit pattern, small and large, compressible and not."""
    dtype = draw(st.sampled_from(dtypes))
    shape: list[int] = []
    for dimension in draw(st.lists(st.sampled_from([0, 1, 1, 2, 2, 3, 5, 17, 300, 3000]), max_size=8)):
        fits = int(np.prod([*shape, dimension], dtype=np.int64)) <= max_elements
        shape.append(dimension if fits else 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return draw(st.sampled_from([random_bits, smooth]))(rng, dtype, tuple(shape))
