"""Casts from and to arrays and pgvector's vector, and the constructor."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from support.cluster import Connection
from support.tensors import tensor, text, value

ARRAYS = {
    "real[]": "float32", "double precision[]": "float64", "smallint[]": "int16",
    "integer[]": "int32", "bigint[]": "int64", "boolean[]": "bool",
}  # fmt: skip


@pytest.mark.parametrize(("array_type", "dtype"), ARRAYS.items())
@given(data=st.data())
def test_arrays_of_any_shape_become_tensors_and_come_back(
    tdb: Connection, array_type: str, dtype: str, data: st.DataObject
) -> None:
    shapes = npst.array_shapes(max_dims=6, max_side=4)
    array = data.draw(npst.arrays(np.dtype(dtype), shapes))
    expected = tensor(array, dtype)
    if dtype.startswith("float"):  # signalling NaNs and payloads do not survive Python's floats
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
        expected = tensor(array, dtype)
    assert value(tdb, f"SELECT %s::{array_type}::tensor", array.tolist()) == expected
    assert value(tdb, f"SELECT %s::tensor::{array_type}::tensor", expected) == expected


def test_nan_payloads_survive_real_arrays(tdb: Connection) -> None:
    assert text(tdb, "SELECT ('{NaN(0xffc00001),-0}'::tensor::real[])::tensor") == "float32[2]{NaN(0xffc00001),-0}"


def test_arrays_are_assigned_without_a_cast_and_never_converted_silently(tdb: Connection) -> None:
    tdb.execute("CREATE TEMP TABLE assigned (t tensor) ON COMMIT DROP")
    tdb.execute("INSERT INTO assigned VALUES (ARRAY[1.5, 2]::real[])")
    assert text(tdb, "SELECT t FROM assigned") == "float32[2]{1.5,2}"
    with pytest.raises(psycopg.errors.UndefinedFunction):
        tdb.execute("SELECT dtype(ARRAY[1.5, 2]::real[])")


def test_numeric_arrays_become_float64(tdb: Connection) -> None:
    assert text(tdb, "SELECT ARRAY[1.5, 0.1]::tensor") == "float64[2]{1.5,0.1}"


@pytest.mark.parametrize(
    ("array", "where"), [("{1,NULL}", "[2]"), ("{{1,2},{NULL,4}}", "[2][1]"), ("[5:6]={1,NULL}", "[6]")]
)
def test_null_elements_are_refused_with_their_subscripts(tdb: Connection, array: str, where: str) -> None:
    with pytest.raises(psycopg.errors.NullValueNotAllowed) as caught:
        tdb.execute("SELECT %s::real[]::tensor", (array,))
    assert caught.value.diag.message_detail == f"Element {where} of the array is NULL."


def test_empty_arrays_become_empty_tensors_and_come_back(tdb: Connection) -> None:
    assert text(tdb, "SELECT '{}'::real[]::tensor") == "float32[0]{}"
    assert text(tdb, "SELECT 'float32[0]{}'::tensor::real[]") == "{}"
    assert text(tdb, "SELECT 'float32[2,0,3]{}'::tensor::real[]") == "{}"


def test_numbers_are_converted_on_the_way_to_an_array(tdb: Connection) -> None:
    assert text(tdb, "SELECT 'float64{1.5,2.5,-0.5}'::tensor::integer[]") == "{2,2,0}"
    assert text(tdb, "SELECT 'bfloat16{1.5}'::tensor::double precision[]") == "{1.5}"
    assert text(tdb, "SELECT 'int8{0,1,-3}'::tensor::boolean[]") == "{f,t,t}"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("'float32[]{1}'::tensor::real[]", "rank 0 cannot be an array"),
        ("'float32[1,1,1,1,1,1,1]{{{{{{{1}}}}}}}'::tensor::real[]", "rank 7 cannot be an array"),
        ("'{1e10}'::tensor::integer[]", "10000000000 is out of range for dtype int32"),
        ("'float64{1e300}'::tensor::real[]", "1e+300 is out of range for dtype float32"),
        ("'{NaN}'::tensor::smallint[]", "NaN is out of range for dtype int16"),
        ("tensor(ARRAY['a'])", "cannot make a tensor of text[]"),
        ("tensor(ARRAY[1], 'int31')", 'unknown dtype "int31"'),
        ("tensor(ARRAY[1,2], 'int8', '{3}')", "cannot reshape tensor int8[2] to [3]"),
        ("tensor(ARRAY[300], 'uint8')", "300 is out of range for dtype uint8"),
    ],
)
def test_what_cannot_be_converted_is_refused(tdb: Connection, sql: str, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        tdb.execute(f"SELECT {sql}".encode())
    assert message in str(caught.value)


def test_constructor_takes_dtype_and_shape(tdb: Connection) -> None:
    assert text(tdb, "SELECT tensor(ARRAY[1,2,3,4])") == "int32[4]{1,2,3,4}"
    assert text(tdb, "SELECT tensor(ARRAY[1,2,3,4], 'uint8')") == "uint8[4]{1,2,3,4}"
    assert text(tdb, "SELECT tensor(ARRAY[1,2,3,4], 'float16', '{2,-1}')") == "float16[2,2]{{1,2},{3,4}}"
    assert text(tdb, "SELECT tensor(ARRAY[[1,2],[3,4]], shape => '{4}')") == "int32[4]{1,2,3,4}"
    assert text(tdb, "SELECT tensor(NULL::real[]) IS NULL") == "true"


def test_vectors_become_tensors_and_come_back(tdb: Connection) -> None:
    assert text(tdb, "SELECT '[1,2.5,-0]'::vector::tensor") == "float32[3]{1,2.5,-0}"
    assert text(tdb, "SELECT 'int8{1,2,3}'::tensor::vector") == "[1,2,3]"
    assert value(tdb, "SELECT array_fill(0.5::real, '{16000}')::vector::tensor::vector::tensor") == tensor(
        np.full(16000, 0.5)
    )


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("'{{1,2}}'::tensor::vector", "tensor float32[1,2] cannot be a vector"),
        ("'{}'::tensor::vector", "tensor float32[0] cannot be a vector"),
        ("array_fill(0::real, '{16001}')::tensor::vector", "tensor float32[16001] cannot be a vector"),
        ("'{1,NaN}'::tensor::vector", "a vector cannot contain NaN"),
        ("'{1,-Infinity}'::tensor::vector", "a vector cannot contain infinity"),
    ],
)
def test_what_is_no_vector_is_refused(tdb: Connection, sql: str, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        tdb.execute(f"SELECT {sql}".encode())
    assert message in str(caught.value)
