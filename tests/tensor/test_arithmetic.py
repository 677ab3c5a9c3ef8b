"""Element-wise + - * against numpy and PyTorch."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.cluster import Connection
from support.tensors import INTEGERS, Tensor, random_bits, smooth, storage, tensor, tensors, text, value

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
SHAPE = (3, 1001)


def as_torch(original: Tensor) -> torch.Tensor:
    if original.dtype == "bfloat16":
        return torch.from_numpy(original.array.copy()).view(torch.bfloat16)
    return torch.from_numpy(original.array.copy())


def of_torch(result: torch.Tensor, dtype: str) -> Tensor:
    return Tensor(dtype, result.view(torch.uint16).numpy() if dtype == "bfloat16" else result.numpy())


def same_numbers(left: Tensor, right: Tensor) -> bool:
    """Equal bits, where a NaN equals any NaN: IEEE 754 leaves payloads of results open."""
    a, b = as_torch(left), as_torch(right)
    return (
        left.dtype == right.dtype
        and bool(torch.equal(a.isnan(), b.isnan()))
        and Tensor(left.dtype, np.where(a.isnan().numpy(), 0, left.array))
        == Tensor(right.dtype, np.where(b.isnan().numpy(), 0, right.array))
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("make", [random_bits, smooth])
def test_floats_compute_like_torch(tdb: Connection, dtype: str, symbol: str, make: Any) -> None:
    rng = np.random.default_rng(20)
    left, right = make(rng, dtype, SHAPE), make(rng, dtype, SHAPE)
    expected = of_torch(OPERATORS[symbol](as_torch(left), as_torch(right)), dtype)
    assert same_numbers(value(tdb, f"SELECT %s {symbol} %s", left, right), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("symbol", OPERATORS)
@given(scalar=st.floats(-1e4, 1e4))
def test_a_number_beside_floats_computes_like_torch(tdb: Connection, dtype: str, symbol: str, scalar: float) -> None:
    original = smooth(np.random.default_rng(21), dtype, (257,))
    compute = torch.float64 if dtype == "float64" else torch.float32
    wide, number = as_torch(original).to(compute), torch.tensor(scalar, dtype=compute)
    target = getattr(torch, dtype)
    right = of_torch(OPERATORS[symbol](wide, number).to(target), dtype)
    left = of_torch(OPERATORS[symbol](number, wide).to(target), dtype)
    assert same_numbers(value(tdb, f"SELECT %s {symbol} %s::float8", original, scalar), right)
    assert same_numbers(value(tdb, f"SELECT %s::float8 {symbol} %s", scalar, original), left)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("symbol", OPERATORS)
def test_integers_compute_like_numpy(tdb: Connection, dtype: str, symbol: str) -> None:
    rng = np.random.default_rng(22)
    left, right = rng.integers(6, 12, SHAPE), rng.integers(0, 6, SHAPE)
    expected = OPERATORS[symbol](left, right)
    result = value(tdb, f"SELECT %s {symbol} %s", tensor(left, dtype), tensor(right, dtype))
    assert result == tensor(expected, dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("symbol", OPERATORS)
@given(data=st.data())
def test_integers_never_wrap(tdb: Connection, dtype: str, symbol: str, data: st.DataObject) -> None:
    limits = np.iinfo(storage(dtype))
    numbers = st.one_of(st.integers(int(limits.min), int(limits.max)), st.integers(max(-9, int(limits.min)), 9))
    left, right = data.draw(numbers), data.draw(numbers)
    expected = OPERATORS[symbol](left, right)
    tdb.execute("SAVEPOINT before")
    try:
        result = value(tdb, f"SELECT %s {symbol} %s", tensor([left], dtype), tensor([right], dtype))
    except psycopg.errors.NumericValueOutOfRange:
        tdb.execute("ROLLBACK TO before")
        assert not limits.min <= expected <= limits.max
    else:
        assert result.array.tolist() == [expected]


def test_overflow_of_floats_is_infinity(tdb: Connection) -> None:
    assert text(tdb, "SELECT '{3e38}'::tensor * 10") == "float32[1]{Infinity}"
    assert text(tdb, "SELECT 'float16{-60000}'::tensor + 'float16{-60000}'") == "float16[1]{-Infinity}"


@given(original=tensors(("float32", "int64", "float16")))
def test_zero_minus_and_times_one_keep_every_shape(tdb: Connection, original: Tensor) -> None:
    assert value(tdb, "SELECT shape(%s * 1) = shape(%s)", original, original)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("'{1,2}'::tensor + '{1,2,3}'", "tensors have different shapes: float32[2] and float32[3]"),
        ("'{1,2}'::tensor * '{{1,2}}'", "tensors have different shapes: float32[2] and float32[1,2]"),
        ("'{1}'::tensor - 'float64{1}'", "tensors have different dtypes: float32[1] and float64[1]"),
        ("'bool{t}'::tensor + 'bool{t}'", "bool tensors have no arithmetic"),
        ("'bool{t}'::tensor * 2", "bool tensors have no arithmetic"),
        ("'int8{1}'::tensor * 0.5", "cannot compute int8 tensors with 0.5"),
        ("'int8{1}'::tensor + 'NaN'::float8", "cannot compute int8 tensors with NaN"),
        ("'int8{100}'::tensor + 28", "128 is out of range for dtype int8"),
        ("'int64{9223372036854775807}'::tensor + 1", "9223372036854775807 + 1 is out of range for dtype int64"),
        ("0 - 'uint8{1}'::tensor", "-1 is out of range for dtype uint8"),
    ],
)
def test_what_cannot_be_computed_is_refused(tdb: Connection, sql: str, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        tdb.execute(f"SELECT {sql}".encode())
    assert caught.value.diag.message_primary == message
