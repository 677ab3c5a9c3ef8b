"""numpy's .npy files."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from hypothesis import given

from support.cluster import Connection
from support.tensors import Tensor, storage, tensor, tensors, value


def saved(array: npt.NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def with_header(text: str, numbers: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + numbers


@given(original=tensors(tuple(name for name in ("float64", "float32", "float16", "int64", "int16", "uint8", "bool"))))
def test_any_tensor_is_written_for_numpy_and_read_back(tdb: Connection, original: Tensor) -> None:
    written = bytes(value(tdb, "SELECT to_npy(%s)", original))
    loaded = np.load(io.BytesIO(written), allow_pickle=False)
    assert tensor(loaded, original.dtype) == original
    assert written == saved(original.array, (1, 0))
    assert value(tdb, "SELECT from_npy(%s)", written) == original


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_all_versions_and_orders_are_read(
    tdb: Connection, version: tuple[int, int], order: Any, byte_order: Any, dtype: str
) -> None:
    plain = np.arange(24).reshape(2, 3, 4).astype(dtype)
    array = np.asarray(plain.astype(storage(dtype).newbyteorder(byte_order)), order=order)
    assert value(tdb, "SELECT from_npy(%s)", saved(array, version)) == tensor(plain, dtype)


def test_bfloat16_is_written_as_two_raw_bytes(tdb: Connection) -> None:
    original = Tensor("bfloat16", np.array([0x3F80, 0x7FC1], dtype=np.uint16))
    written = bytes(value(tdb, "SELECT to_npy(%s)", original))
    loaded = np.load(io.BytesIO(written), allow_pickle=False)
    assert loaded.dtype.str == "|V2"
    assert loaded.tobytes() == original.array.tobytes()
    assert value(tdb, "SELECT from_npy(%s)", written) == original


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "does not start with"),
        (b"\x93NUMPY\x04\x00\x00\x00", "version 4.0"),
        (b"\x93NUMPY\x01\x00\xff\xff{}", "ends within its header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}", "more than 65536"),
        (with_header(""), "lacks a {"),
        (with_header("{}"), 'lacks the key "descr"'),
        (with_header("{'descr': '<f4', 'fortran_order': False}"), 'lacks the key "shape"'),
        (with_header("{'descr': '<f4', 'descr': '<f4'}"), 'the key "descr" twice'),
        (with_header("{'what': 1}"), 'unknown key "what"'),
        (with_header("{'descr': __import__('os')}"), "lacks a '"),
        (with_header("{'descr': '<c8', 'fortran_order': False, 'shape': ()}"), 'dtype "<c8"'),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': ()}"), 'dtype "|O"'),
        (with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}"), 'dtype "[...]"'),
        (with_header("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}"), "neither True nor False"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), "not a tuple of integers"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}"), "too large"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (33554433,)}"), "too large"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}"), "too many dimensions"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x"), "more after the closing brace"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(3)), "has 4 bytes of numbers"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(5)), "not 5"),
    ],
)
def test_malformed_files_are_refused(tdb: Connection, file: bytes, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        tdb.execute("SELECT from_npy(%s)", (file,))
    assert message in str(caught.value)
