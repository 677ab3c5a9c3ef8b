"""Tensors between psycopg and numpy or torch, in text and in binary."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given

import delc.client
from delc.client.text import decode_text, encode_text
from delc.client.wire import decode, encode
from support.cluster import ROOT, Connection
from support.tensors import Tensor, tensors
from support.workplace import value


def as_array(tensor: Tensor) -> np.ndarray:
    return tensor.array.view(delc.client.BFLOAT16) if tensor.dtype == "bfloat16" else tensor.array


@given(tensors())
def test_the_wire_format_is_the_documented_one(tensor: Tensor) -> None:
    array = as_array(tensor)
    assert encode(array) == tensor.wire()
    back = decode(tensor.wire())
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(tensors())
def test_the_text_form_comes_back(tensor: Tensor) -> None:
    array = as_array(tensor)
    back = decode_text(encode_text(array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("halves", [False, True])
def test_densely_stored_tensors_come_in_the_binary_format_only(cdb: Connection, halves: bool) -> None:
    numbers = np.random.default_rng(1).normal(0, 0.05, (90, 100)).astype(np.float32)
    query = "SELECT delc.compress(%b::delc.tensor, %s)"
    row = cdb.execute(query, [numbers, halves], binary=True).fetchone()
    assert row is not None
    np.testing.assert_array_equal(row[0], numbers)
    with pytest.raises(RuntimeError, match="fetch it in the binary format"):
        cdb.execute(query, [numbers, halves], binary=False).fetchone()


DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("binary", [False, True])
def test_arrays_pass_the_server_unchanged(cdb: Connection, dtype: str, binary: bool) -> None:
    given_array = (np.arange(6) % 2).astype(dtype).reshape(2, 3)
    row = cdb.execute("SELECT %s::delc.tensor", [given_array], binary=binary).fetchone()
    assert row is not None
    assert row[0].dtype == given_array.dtype
    np.testing.assert_array_equal(row[0], given_array)


@pytest.mark.parametrize("placeholder", ["%s", "%t", "%b"])
def test_torch_tensors_are_taken_in_every_format(cdb: Connection, placeholder: str) -> None:
    tensor = torch.tensor([[1.5, float("nan")], [-0.0, 3e38]])
    assert value(cdb, f"SELECT {placeholder}::delc.tensor::text", tensor) == "float32[2,2]{{1.5,NaN},{-0,3e+38}}"


def test_torch_tensors_come_where_they_are_asked_for(cdb: Connection) -> None:
    delc.client.register(cdb, tensors="torch")
    tensor = torch.tensor([1.5, -2.25], dtype=torch.bfloat16)
    for binary in (False, True):
        row = cdb.execute("SELECT %s::delc.tensor", [tensor], binary=binary).fetchone()
        assert row is not None
        assert row[0].dtype is torch.bfloat16
        assert torch.equal(row[0], tensor)


def test_strided_and_big_endian_arrays_are_taken(cdb: Connection) -> None:
    numbers = np.arange(12, dtype=">f4").reshape(3, 4).T[::2]
    assert value(cdb, "SELECT %s::delc.tensor::text", numbers) == "float32[2,3]{{0,4,8},{2,6,10}}"


def test_a_dtype_without_a_tensor_is_refused(cdb: Connection) -> None:
    with pytest.raises(TypeError, match="complex64"):
        cdb.execute("SELECT %s", [np.zeros(2, np.complex64)])


def test_a_database_without_the_extension_is_named(cluster) -> None:  # type: ignore[no-untyped-def]
    with cluster.connect("postgres") as connection, pytest.raises(Exception, match='in database "postgres"'):
        delc.client.register(connection)


def test_the_client_needs_numpy_and_psycopg_alone() -> None:
    script = (
        "import sys; import delc.client;"
        "known = {'torch', 'safetensors', 'sklearn', 'onnx', 'plpy', 'delc.server', 'delc.networks', 'delc.exchange'};"
        "print(sorted(known & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    printed = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT / "python")}, check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "[]"
