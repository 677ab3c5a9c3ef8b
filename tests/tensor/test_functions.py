"""What SQL asks of a tensor, and the same numbers in another shape or dtype."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.cluster import Connection
from support.tensors import DTYPES, FLOATS, INTEGERS, Tensor, random_bits, smooth, storage, tensor, tensors, text, value


@given(original=tensors())
def test_header_functions_tell_dtype_shape_and_sizes(tdb: Connection, original: Tensor) -> None:
    row = tdb.execute(
        "SELECT dtype(t), shape(t), rank(t), elements(t), raw_bytes(t) FROM (SELECT %s AS t) s", (original,)
    ).fetchone()
    array = original.array
    assert row == (original.dtype, list(array.shape), array.ndim, array.size, array.nbytes)


@given(original=tensors())
def test_stored_bytes_are_the_header_and_the_planes(tdb: Connection, original: Tensor) -> None:
    stored, planes, count = tdb.execute(
        "SELECT stored_bytes(t), (SELECT sum(stored) FROM plane_info(t)), (SELECT count(*) FROM plane_info(t)) "
        "FROM (SELECT %s AS t) s",
        (original,),
    ).fetchone() or (0, 0, 0)
    assert count == original.array.itemsize
    assert stored == 12 + 8 * original.array.ndim + 10 * count + planes


@given(original=tensors(), planes=st.integers(1, 9))
def test_planes_keep_the_high_bytes_and_zero_the_rest(tdb: Connection, original: Tensor, planes: int) -> None:
    size = original.array.itemsize
    bytes_ = original.array.reshape(-1).view(np.uint8).reshape(-1, size).copy()
    bytes_[:, : max(size - planes, 0)] = 0
    expected = Tensor(original.dtype, bytes_.reshape(-1).view(original.array.dtype).reshape(original.shape))
    assert value(tdb, "SELECT planes(%s, %s)", original, planes) == expected


def test_planes_below_one_are_refused(tdb: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="cannot read 0 planes"):
        tdb.execute("SELECT planes('{1}', 0)")


def test_planes_are_encoded_as_what_they_hold(tdb: Connection) -> None:
    rng = np.random.default_rng(5)
    weights = tensor(rng.standard_normal(100_000).astype(np.float16))
    encodings = [row[0] for row in tdb.execute("SELECT encoding FROM plane_info(%s)", (weights,))]
    assert encodings == ["zstd", "raw", "zstd", "constant"]
    repeating = Tensor("uint8", np.repeat(rng.integers(0, 256, 1000, dtype=np.uint8), 100))
    assert value(tdb, "SELECT stored_bytes(%s)", repeating) < 5000


def test_small_tensors_are_stored_raw(tdb: Connection) -> None:
    image = smooth(np.random.default_rng(1), "float32", (28, 28))
    assert [row[0] for row in tdb.execute("SELECT encoding FROM plane_info(%s)", (image,))] == ["raw"] * 4


# ---- as_dtype ----


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", ["float64", "float32", "int64"])
def test_integers_convert_like_numpy(tdb: Connection, source: str, target: str) -> None:
    original = random_bits(np.random.default_rng(7), source, (5000,))
    assert value(tdb, "SELECT as_dtype(%s, %s)", original, target) == tensor(original.array.astype(target), target)


@pytest.mark.parametrize("target", ["float32", "float16", "bfloat16"])
def test_floats_round_to_smaller_floats_like_torch(tdb: Connection, target: str) -> None:
    rng = np.random.default_rng(8)
    numbers = rng.standard_normal(20_000) * 10.0 ** rng.integers(-9, 4, 20_000)
    expected = torch.tensor(numbers).to(getattr(torch, target))
    array = expected.view(torch.uint16).numpy() if target == "bfloat16" else expected.numpy()
    if target != "float32":  # torch goes through float32 and rounds twice
        single = torch.tensor(numbers.astype(np.float32))
        numbers = single.double().numpy()
        expected = single.to(getattr(torch, target))
        array = expected.view(torch.uint16).numpy() if target == "bfloat16" else expected.numpy()
    assert value(tdb, "SELECT as_dtype(%s, %s)", tensor(numbers, "float64"), target) == Tensor(target, array)


@pytest.mark.parametrize("source", ["float16", "bfloat16"])
def test_every_16_bit_float_widens_like_torch(tdb: Connection, source: str) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    original = Tensor(source, bits.view(np.float16) if source == "float16" else bits)
    expected = torch.from_numpy(bits.copy()).view(getattr(torch, source)).float().numpy()
    widened = value(tdb, "SELECT as_dtype(%s, 'float32')", original).array
    np.testing.assert_array_equal(np.isnan(widened), np.isnan(expected))
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(widened.view(np.uint32)[number], expected.view(np.uint32)[number])


@pytest.mark.parametrize("source", ["float16", "bfloat16"])
@pytest.mark.parametrize("through", ["float32", "float64"])
def test_every_16_bit_number_survives_a_wider_float(tdb: Connection, source: str, through: str) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    quiet = bits[(bits & 0x7FFF) <= (0x7C00 if source == "float16" else 0x7F80)]
    original = Tensor(source, quiet.view(np.float16) if source == "float16" else quiet)
    assert value(tdb, "SELECT as_dtype(as_dtype(%s, %s), %s)", original, through, source) == original


def test_halves_round_to_even(tdb: Connection) -> None:
    assert text(tdb, "SELECT as_dtype('{0.5,1.5,2.5,-0.5,-1.5}', 'int8')") == "int8[5]{0,2,2,0,-2}"
    assert text(tdb, "SELECT as_dtype('float64{2049,2051}', 'float16')") == "float16[2]{2048,2052}"


def test_int64_rounds_once_to_bfloat16(tdb: Connection) -> None:
    just_above_half = (1 << 62) + (1 << 54) + 1
    rounded = value(tdb, "SELECT as_dtype(%s, 'bfloat16')", tensor([just_above_half], "int64"))
    assert rounded.array[0] == 0x5E81


def test_bool_is_whether_a_number_is_not_zero(tdb: Connection) -> None:
    assert text(tdb, "SELECT as_dtype('{0,-0,NaN,0.1}', 'bool')") == "bool[4]{f,f,t,t}"
    assert text(tdb, "SELECT as_dtype('bool{t,f}', 'float16')") == "float16[2]{1,0}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_dtype_changes_nothing(tdb: Connection, dtype: str) -> None:
    original = random_bits(np.random.default_rng(9), dtype, (1000,))
    assert value(tdb, "SELECT as_dtype(%s, %s)", original, dtype) == original


@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize("source", FLOATS)
def test_out_of_range_numbers_name_their_position(tdb: Connection, source: str, target: str) -> None:
    numbers = np.zeros(3000, dtype=storage(source))
    numbers[2999] = np.array(0x7F80 if source == "bfloat16" else np.inf, dtype=storage(source))
    with pytest.raises(psycopg.errors.NumericValueOutOfRange) as caught:
        tdb.execute("SELECT as_dtype(%s, %s)", (Tensor(source, numbers), target))
    assert caught.value.diag.message_primary == f"Infinity is out of range for dtype {target}"
    assert "element 3000 " in (caught.value.diag.message_detail or "")


@pytest.mark.parametrize(
    ("number", "target"),
    [("float32{1e5}", "float16"), ("float64{3.4e38}", "bfloat16"), ("float64{1e39}", "float32"),
     ("int64{70000}", "float16"), ("int16{-1}", "uint8"), ("float64{9223372036854775808}", "int64"),
     ("float32{255.5}", "uint8"), ("float32{-0.6}", "uint8")],
)  # fmt: skip
def test_numbers_are_never_wrapped_or_made_infinite(tdb: Connection, number: str, target: str) -> None:
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        tdb.execute("SELECT as_dtype(%s, %s)", (number, target))


# ---- reshape ----


@given(original=tensors())
def test_reshape_keeps_the_numbers(tdb: Connection, original: Tensor) -> None:
    expected = Tensor(original.dtype, original.array.reshape(1, original.array.size, 1))
    assert value(tdb, "SELECT reshape(%s, %s::bigint[])", original, list(expected.shape)) == expected


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("{4}", r"cannot reshape tensor float32\[6\] to \[4\]"),
        ("{4,-1}", "cannot infer dimension 2"),
        ("{-1,-1}", "only one dimension of a shape can be -1, not both 1 and 2"),
        ("{-2,-3}", "dimension 1 of a tensor cannot be -2"),
        ("{0,-1}", "cannot infer dimension 2"),
        ("{{6}}", "a shape is a one-dimensional array"),
        ("{NULL}", "a shape cannot contain NULL"),
        ("{1,1,1,1,1,1,1,1,6}", "cannot have rank 9"),
        ("{4611686018427387904,4611686018427387904}", "too large"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tdb: Connection, shape: str, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message):
        tdb.execute("SELECT reshape('{1,2,3,4,5,6}', %s::bigint[])", (shape,))


def test_reshape_infers_a_dimension(tdb: Connection) -> None:
    assert text(tdb, "SELECT reshape('{1,2,3,4,5,6}', '{2,-1}')") == "float32[2,3]{{1,2,3},{4,5,6}}"
    assert text(tdb, "SELECT reshape('{7}', '{}')") == "float32[]{7}"
