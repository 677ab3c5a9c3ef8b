"""Dense encoding: compress gives the same tensor, bit for bit, in less room; each plane as suits it."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.tensors import DTYPES, UNCHECKED, Tensor, from_wire, random_bits, smooth, tensors, value

BYTES_PER_ELEMENT = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2}


def bfloat16(numbers: npt.NDArray[np.float32]) -> Tensor:
    return Tensor("bfloat16", (numbers.view(np.uint32) >> 16).astype(np.uint16))


def weights(shape: tuple[int, ...], seed: int = 5) -> npt.NDArray[np.float32]:
    """Normally distributed, by rows and columns of different size."""
    rng = np.random.default_rng(seed)
    scales = np.exp2(rng.uniform(-3, 1, (shape[0], 1)) + rng.uniform(-2, 1, (1, shape[-1])))
    return (rng.standard_normal(shape) * 0.05 * scales).astype(np.float32)


def encodings(db: Connection, original: Tensor, halves: bool = False) -> list[str]:
    rows = db.execute("SELECT encoding FROM plane_info(compress(%s, %s))", (original, halves)).fetchall()
    return [row[0] for row in rows]


def bits_per_number(db: Connection, original: Tensor) -> float:
    return 8 * value(db, "SELECT stored_bytes(compress(%s))", original) / original.array.size


def stored(db: Connection, expression: str, *parameters: Any) -> bytes:
    """The stored value's bytes, behind the length word: what the text form of a large tensor has in base64."""
    whole = value(db, f"SELECT decode(split_part(({expression})::text, 'base64:', 2), 'base64')", *parameters)
    assert whole
    return bytes(whole)


# ---- nothing is lost ----


@settings(max_examples=300)
@given(original=tensors(), halves=st.booleans())
def test_any_tensor_survives(tdb: Connection, original: Tensor, halves: bool) -> None:
    assert value(tdb, "SELECT compress(%s, %s)", original, halves) == original


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [random_bits, smooth])
def test_large_tensors_survive_storage(tdb: Connection, dtype: str, make: Any, halves: bool) -> None:
    original = make(np.random.default_rng(3), dtype, (37, 4001))
    tdb.execute("CREATE TEMP TABLE stored (t tensor) ON COMMIT DROP")
    tdb.execute("INSERT INTO stored SELECT compress(%s, %s)", (original, halves))
    assert value(tdb, "SELECT t FROM stored") == original


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_bit_patterns_of_two_bytes_survive(tdb: Connection, dtype: str) -> None:
    patterns = np.arange(2**16, dtype=np.uint16)
    for order in (patterns, np.random.default_rng(1).permutation(patterns), np.sort(patterns & 0xFF80)):
        original = Tensor(dtype, order if dtype == "bfloat16" else order.view(np.float16))
        assert value(tdb, "SELECT compress(%s)", original) == original


def test_nan_payloads_signed_zeros_denormals_and_infinities_keep_their_bits(tdb: Connection) -> None:
    special = np.array([0x7F800001, 0xFFFFFFFF, 0x80000000, 0, 1, 0x7FC00000, 0xFF800000, 0x007FFFFF], np.uint32)
    numbers = weights((100, 100)).view(np.uint32)
    numbers[::3, ::7] = np.random.default_rng(2).choice(special, numbers[::3, ::7].shape)
    original = Tensor("float32", numbers.view(np.float32))
    assert value(tdb, "SELECT compress(%s)", original).wire() == original.wire()


SHAPES = [(), (0,), (3, 0, 2), (1,), (1, 1), (64,), (63, 65), (8192,), (8193,), (16384,), (5, 16385)]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_size_survives(tdb: Connection, shape: tuple[int, ...]) -> None:
    original = smooth(np.random.default_rng(4), "float32", shape)
    for halves in (False, True):
        assert value(tdb, "SELECT compress(%s, %s)", original, halves) == original


def test_what_was_stored_before_stays_readable(tdb: Connection) -> None:
    for original in (smooth(np.random.default_rng(9), dtype, (70, 90)) for dtype in DTYPES):
        text = f"base64:{base64.b64encode(original.stored()).decode()}"
        assert value(tdb, "SELECT %s::text::tensor", text) == original


# ---- each encoding where it pays ----


def test_sign_and_exponent_are_coded_by_the_size_of_rows_and_columns(tdb: Connection) -> None:
    numbers = weights((500, 300))
    shuffled = np.random.default_rng(1).permutation(numbers.reshape(-1)).reshape(500, 300)
    assert bits_per_number(tdb, Tensor("float32", numbers)) < bits_per_number(tdb, Tensor("float32", shuffled)) - 0.3


def test_the_exponent_is_coded_and_the_mantissa_stays_raw(tdb: Connection) -> None:
    numbers = np.random.default_rng(1).normal(0, 0.05, (300, 400)).astype(np.float32)
    assert encodings(tdb, Tensor("float32", numbers)) == ["rans", "rans", "raw", "raw"]
    assert encodings(tdb, bfloat16(numbers)) == ["rans", "rans"]


def test_noise_stays_raw(tdb: Connection) -> None:
    numbers = np.random.default_rng(1).integers(0, 2**32, (200, 300), dtype=np.uint32).view(np.float32)
    assert encodings(tdb, Tensor("float32", numbers)) == ["raw"] * 4


def test_rows_that_end_in_zero_bits_are_packed(tdb: Connection) -> None:
    numbers = weights((512, 384))
    numbers[::2] = numbers[::2].astype(np.float16)
    assert encodings(tdb, Tensor("float32", numbers))[2:] == ["rows", "rows"]
    plain = bits_per_number(tdb, Tensor("float32", weights((512, 384))))
    assert bits_per_number(tdb, Tensor("float32", numbers)) < plain - 0.5 * 13 + 0.2


@pytest.mark.parametrize("columns", [9, 383, 384, 9001])
def test_packed_rows_of_half_bytes_of_any_length_survive(tdb: Connection, columns: int) -> None:
    numbers = weights((60_000 // columns, columns))
    numbers[::2] = numbers[::2].astype(np.float16)
    original = Tensor("float32", numbers)
    assert encodings(tdb, original, halves=True)[-2:] == ["rows", "rows"]
    assert value(tdb, "SELECT compress(%s, true)", original) == original


def test_bfloat16_in_float32_takes_the_room_of_bfloat16(tdb: Connection) -> None:
    short = bfloat16(weights((400, 300)))
    long = Tensor("float32", (short.array.astype(np.uint32) << 16).view(np.float32))
    assert bits_per_number(tdb, long) < bits_per_number(tdb, short) + 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bfloat16"])
def test_few_different_numbers_take_the_room_of_their_indices(tdb: Connection, dtype: str) -> None:
    rng = np.random.default_rng(7)
    table = random_bits(rng, dtype, (200,)).array
    distinct = len(np.unique(table.view(f"u{table.itemsize}")))
    original = Tensor(dtype, table[rng.integers(0, 200, (300, 500))])
    assert encodings(tdb, original) == ["table"] * BYTES_PER_ELEMENT[dtype]
    assert bits_per_number(tdb, original) < np.log2(distinct) + 0.15


def test_two_numbers_take_about_a_bit(tdb: Connection) -> None:
    rng = np.random.default_rng(7)
    original = Tensor("float32", rng.choice(np.array([-0.1, 0.1], np.float32), (300, 500)))
    assert bits_per_number(tdb, original) < 1.02
    assert bits_per_number(tdb, Tensor("bool", rng.random((300, 500)) < 0.5)) < 1.02


def test_zeros_of_pruned_weights_cost_little(tdb: Connection) -> None:
    numbers = weights((500, 400))
    numbers[np.random.default_rng(3).random(numbers.shape) < 0.9] = 0
    dense = bits_per_number(tdb, Tensor("float32", weights((500, 400))))
    assert bits_per_number(tdb, Tensor("float32", numbers)) < 0.1 * dense + 0.8


def test_repetitions_are_left_to_zstd(tdb: Connection) -> None:
    numbers = np.tile(np.random.default_rng(1).integers(-(2**31), 2**31, 999, dtype=np.int32), 100)
    assert encodings(tdb, Tensor("int32", numbers)) == ["zstd"] * 4


def test_upper_bytes_of_integers_follow_one_another(tdb: Connection) -> None:
    numbers = np.random.default_rng(1).normal(0, 3000, (300, 400)).astype(np.int32)
    entropy = np.log2(3000 * np.sqrt(2 * np.pi * np.e))
    assert bits_per_number(tdb, Tensor("int32", numbers)) < entropy + 0.1


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_more_room_than_the_ordinary_encoding(tdb: Connection, dtype: str) -> None:
    for make in (random_bits, smooth):
        original = make(np.random.default_rng(8), dtype, (120, 130))
        compressed, ordinary = tdb.execute(
            "SELECT stored_bytes(compress(t)), stored_bytes(t) FROM (SELECT %s AS t) AS given", (original,)
        ).fetchone() or (1, 0)
        assert compressed <= ordinary


# ---- planes ----


@settings(max_examples=100)
@given(original=tensors(), planes=st.integers(1, 9))
def test_first_planes_are_those_of_the_plain_tensor(tdb: Connection, original: Tensor, planes: int) -> None:
    cut, plain = "SELECT planes(compress(%s), %s)", "SELECT planes(%s, %s)"
    assert value(tdb, cut, original, planes) == value(tdb, plain, original, planes)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32"])
def test_halved_planes_below_the_first_are_half_bytes(tdb: Connection, dtype: str) -> None:
    original = smooth(np.random.default_rng(3), dtype, (90, 200))
    size = original.array.itemsize
    bits = original.array.view(f"u{size}")
    widths = tdb.execute("SELECT bits FROM plane_info(compress(%s, true))", (original,)).fetchall()
    assert [width for (width,) in widths] == [8] + [4] * (2 * size - 2)
    for planes in range(1, 2 * size + 1):
        hidden = max(8 * size - 8 - 4 * (planes - 1), 0)
        expected = Tensor(dtype, (bits >> hidden << hidden).view(original.array.dtype))
        assert value(tdb, "SELECT planes(compress(%s, true), %s)", original, planes) == expected


def test_first_planes_read_only_their_toast_chunks(tdb: Connection) -> None:
    tdb.execute("CREATE TEMP TABLE stored (t tensor) ON COMMIT DROP")
    tdb.execute("INSERT INTO stored SELECT compress(%s, true)", (Tensor("float32", weights((1000, 1000))),))

    def blocks(expression: str) -> int:
        query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT {expression} FROM stored"
        plan = value(tdb, query)[0]["Plan"]
        return int(plan["Local Hit Blocks"] + plan["Local Read Blocks"])

    assert blocks("elements(planes(t, 1))") < 0.2 * blocks("elements(planes(t, 9))")
    assert blocks("elements(planes(t, 3))") < 0.5 * blocks("elements(planes(t, 9))")


# ---- every function reads it ----


@pytest.mark.parametrize("halves", [False, True])
def test_functions_take_it_like_any_tensor(tdb: Connection, halves: bool) -> None:
    original = Tensor("float32", weights((60, 70)))
    tdb.execute("CREATE TEMP TABLE both_forms (plain tensor, dense tensor) ON COMMIT DROP")
    tdb.execute("INSERT INTO both_forms SELECT t, compress(t, %s) FROM (SELECT %s AS t) AS given", (halves, original))
    for same in (
        "plain = dense",
        "tensor_hash(plain) = tensor_hash(dense)",
        "checksum(plain) = checksum(dense)",
        "plain + plain = dense + dense",
        "dense * 2 = plain * 2",
        "as_dtype(plain, 'float64') = as_dtype(dense, 'float64')",
        "reshape(plain, '{70,-1}') = reshape(dense, '{70,-1}')",
        "to_npy(plain) = to_npy(dense)",
        "dense::real[] = plain::real[]",
        "dense::text::tensor = plain",
        "compress(dense) = plain",
        "stored_bytes(compress(dense)) = stored_bytes(compress(plain))",
    ):
        assert value(tdb, f"SELECT {same} FROM both_forms"), same
    assert value(tdb, "SELECT sum(dense) = sum(plain) AND avg(dense) = avg(plain) FROM both_forms")


def test_the_text_form_is_the_stored_value(tdb: Connection) -> None:
    original = Tensor("float32", weights((60, 70)))
    kept = "SELECT stored_bytes(compress(%s)::text::tensor) = stored_bytes(compress(%s))"
    assert value(tdb, kept, original, original)


def test_nothing_of_nothing(tdb: Connection) -> None:
    assert value(tdb, "SELECT compress(NULL) IS NULL AND checksum(NULL) IS NULL")


# ---- damage ----


def damaged_copies(random: Random, whole: bytes, count: int) -> list[bytes]:
    copies = []
    for _ in range(count):
        copy = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            at = int(len(copy) * random.random() ** random.choice((1, 3, 6)))
            copy[at] = random.randrange(256)
        if random.random() < 0.1:
            del copy[random.randrange(len(copy)) :]
        copies.append(bytes(copy))
    return copies


@pytest.mark.parametrize("kind", ["weights", "rows", "table", "halves"])
def test_damage_is_refused_or_another_value(tdb: Connection, kind: str) -> None:
    numbers = weights((50, 60))
    if kind == "rows":
        numbers[::2] = numbers[::2].astype(np.float16)
    elif kind == "table":
        numbers = np.round(numbers * 100) / 100
    whole = stored(tdb, "compress(%s, %s)", Tensor("float32", numbers), kind == "halves")
    for copy in damaged_copies(Random(kind), whole, 400):
        text = f"base64:{base64.b64encode(copy).decode()}"
        try:
            with tdb.transaction():
                again = value(tdb, "SELECT %s::text::tensor", text)
        except psycopg.errors.InvalidTextRepresentation:
            continue
        except psycopg.errors.InvalidBinaryRepresentation:
            continue
        except psycopg.errors.ProgramLimitExceeded:
            continue
        assert value(tdb, "SELECT compress(%s)", again) == again


def test_a_damaged_plane_is_named(tdb: Connection) -> None:
    whole = bytearray(stored(tdb, "compress(%s)", Tensor("float32", weights((200, 300)))))
    whole[6] = UNCHECKED
    whole[12 + 16 + 4 * 10] = 5
    text = f"base64:{base64.b64encode(whole).decode()}"
    with pytest.raises(psycopg.Error) as error:
        value(tdb, "SELECT %s::text::tensor", text)
    assert error.value.diag.message_detail == "Plane 1: an impossible number of bits is coded."


# ---- checksum ----


def crc32c(data: bytes) -> int:
    """Castagnoli's polynomial, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@settings(max_examples=50)
@given(original=tensors(max_elements=300))
def test_checksum_is_crc32c_of_dtype_rank_dims_and_numbers(tdb: Connection, original: Tensor) -> None:
    wire = original.wire()
    assert from_wire(wire) == original
    assert value(tdb, "SELECT checksum(%s)", original) == crc32c(wire[3:5] + wire[8:])


def test_checksum_tells_numbers_shapes_and_dtypes_apart(tdb: Connection) -> None:
    different = ("float32[2]{0,1}", "float32[2]{-0,1}", "float32[1,2]{{0,1}}", "float32[2,1]{{0},{1}}", "int32[2]{0,1}")
    sums = {value(tdb, "SELECT checksum(%s::text::tensor)", text) for text in different}
    assert len(sums) == len(different)
