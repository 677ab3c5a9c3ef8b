"""Deltas: a tensor as its difference from another, bit for bit."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.tensors import DTYPES, FLOATS, Tensor, random_bits, smooth, storage, tensor, tensors, text, value

METHODS = ("sub", "planes", "xor")


def applied(db: Connection, base: Tensor, target: Tensor, method: str, grandbase: Tensor | None = None) -> Tensor:
    """The target, made anew from its base and its delta."""
    query = "SELECT apply_delta(%s, tensor_delta(%s, %s, %s, %s::tensor), %s::tensor)"
    restored: Tensor = value(db, query, base, base, target, method, grandbase, grandbase)
    return restored


def changed(rng: np.random.Generator, base: Tensor, share: float = 0.5) -> Tensor:
    """A tensor like another: some of its elements are near by, a few are anything."""
    bits = base.array.copy().reshape(-1).view(np.uint8).reshape(-1, storage(base.dtype).itemsize)
    near = rng.random(len(bits)) < share
    bits[near, 0] ^= rng.integers(0, 2 if base.dtype == "bool" else 256, int(near.sum()), dtype=np.uint8)
    if base.dtype != "bool":
        far = rng.random(len(bits)) < 0.01
        bits[far] = rng.integers(0, 256, bits[far].shape, dtype=np.uint8)
    return Tensor(base.dtype, bits.reshape(-1).view(storage(base.dtype)).reshape(base.shape))


@settings(max_examples=150)
@given(base=tensors(), seed=st.integers(0, 2**32), method=st.sampled_from(METHODS))
def test_any_tensor_is_restored_from_any_base_of_its_shape(
    tdb: Connection, base: Tensor, seed: int, method: str
) -> None:
    target = changed(np.random.default_rng(seed), base)
    assert applied(tdb, base, target, method) == target


@settings(max_examples=100)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), method=st.sampled_from(METHODS))
def test_base_and_target_may_have_any_two_shapes(tdb: Connection, data: st.DataObject, dtype: str, method: str) -> None:
    base, target = (data.draw(tensors((dtype,), 2000)) for _ in range(2))
    assert applied(tdb, base, target, method) == target


@settings(max_examples=100)
@given(base=tensors(), seed=st.integers(0, 2**32))
def test_a_grandbase_changes_nothing_but_the_size(tdb: Connection, base: Tensor, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grandbase = changed(rng, base)
    target = changed(rng, base)
    assert applied(tdb, base, target, "sub", grandbase) == target


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [random_bits, smooth])
def test_every_dtype_with_unrelated_numbers(tdb: Connection, dtype: str, make: object, method: str) -> None:
    rng = np.random.default_rng(5)
    made = random_bits if make is random_bits else smooth
    base, target = made(rng, dtype, (40, 300)), made(rng, dtype, (40, 300))
    assert applied(tdb, base, target, method) == target


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int16"])
def test_every_pattern_of_two_bytes_leads_to_every_distance(tdb: Connection, dtype: str, method: str) -> None:
    patterns = np.arange(2**16, dtype=np.uint16).view(storage(dtype))
    base = Tensor(dtype, patterns)
    for distance in (1, 255, 256, 32767, 32768, 40000):
        target = Tensor(dtype, np.roll(patterns, distance))
        assert applied(tdb, base, target, method) == target


@pytest.mark.parametrize("method", METHODS)
def test_signed_zeros_infinities_denormals_and_nan_payloads_keep_their_bits(tdb: Connection, method: str) -> None:
    bits = [0, 0x80000000, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0x3F800000]
    pairs = np.array([(a, b) for a in bits for b in bits] * 3, dtype=np.uint32).view(np.float32)
    base, target = (Tensor("float32", np.ascontiguousarray(pairs[:, side])) for side in (0, 1))
    grandbase = Tensor("float32", np.ascontiguousarray(pairs[::-1, 1]))
    assert applied(tdb, base, target, method, grandbase) == target


@pytest.mark.parametrize("method", METHODS)
def test_several_blocks(tdb: Connection, method: str) -> None:
    rng = np.random.default_rng(6)
    base = smooth(rng, "float32", (2100, 2000))
    target = Tensor("float32", (base.array + rng.standard_normal(base.shape) * 1e-4).astype(np.float32))
    assert applied(tdb, base, target, method) == target


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("method", METHODS)
def test_equal_tensors_take_next_to_nothing(tdb: Connection, dtype: str, method: str) -> None:
    base = smooth(np.random.default_rng(7), dtype, (300, 1000))
    assert value(tdb, "SELECT stored_bytes(tensor_delta(%s, %s, %s))", base, base, method) < 1000


def test_small_steps_take_a_fraction_of_the_whole(tdb: Connection) -> None:
    rng = np.random.default_rng(8)
    base = smooth(rng, "float32", (500, 400))
    target = Tensor("float32", (base.array + rng.standard_normal(base.shape) * 1e-6).astype(np.float32))
    sizes = [value(tdb, "SELECT stored_bytes(tensor_delta(%s, %s, %s))", base, target, m) for m in METHODS]
    assert sizes[0] < sizes[1] < sizes[2] < 0.45 * value(tdb, "SELECT stored_bytes(%s)", target)


def test_movement_that_goes_on_is_foreseen_with_a_grandbase(tdb: Connection) -> None:
    rng = np.random.default_rng(9)
    grandbase = smooth(rng, "float32", (200, 400))
    moved = rng.standard_normal(grandbase.shape) * 1e-4
    base = Tensor("float32", (grandbase.array + moved).astype(np.float32))
    target = Tensor("float32", (base.array + 0.9 * moved).astype(np.float32))
    plain, foreseen = (
        value(tdb, "SELECT stored_bytes(tensor_delta(%s, %s, 'sub', %s::tensor))", base, target, before)
        for before in (None, grandbase)
    )
    assert foreseen < 0.3 * plain


@pytest.mark.parametrize("steps", [1, 240])
def test_weight_decay_is_foreseen_by_a_table(tdb: Connection, steps: int) -> None:
    base = smooth(np.random.default_rng(10), "float32", (500, 400))
    decayed = base.array.copy()
    for _ in range(steps):
        decayed = decayed * np.float32(1 - 2e-7)
    target = Tensor("float32", decayed)
    assert value(tdb, "SELECT stored_bytes(tensor_delta(%s, %s))", base, target) < 0.01 * base.array.nbytes
    assert applied(tdb, base, target, "sub") == target


def test_a_corner_that_both_shapes_have_is_a_difference(tdb: Connection) -> None:
    rng = np.random.default_rng(11)
    base = smooth(rng, "float32", (100, 200))
    wider = smooth(rng, "float32", (110, 200))
    wider.array[:100] = base.array
    size = value(tdb, "SELECT stored_bytes(tensor_delta(%s, %s))", base, wider)
    assert size < 1.1 * value(tdb, "SELECT stored_bytes(%s)", tensor(wider.array[100:])) + 1000


def test_a_delta_to_another_rank_and_to_fewer_rows(tdb: Connection) -> None:
    rng = np.random.default_rng(12)
    base = smooth(rng, "int32", (3, 5, 40))
    for target in (Tensor("int32", base.array[:2, :4].copy()), Tensor("int32", base.array.reshape(600).copy())):
        assert applied(tdb, base, target, "sub") == target


@pytest.mark.parametrize("missing", ["NULL::tensor, '{1}', 'sub'", "'{1}', NULL::tensor, 'sub'", "'{1}', '{1}', NULL"])
def test_a_delta_of_nothing_is_null(tdb: Connection, missing: str) -> None:
    assert value(tdb, f"SELECT tensor_delta({missing}) IS NULL")


def test_applying_nothing_is_null(tdb: Connection) -> None:
    assert value(tdb, "SELECT apply_delta('{1}', NULL) IS NULL AND apply_delta(NULL, '{1}') IS NULL")


def refusal(db: Connection, query: str, *parameters: object) -> str:
    """Message, detail and hint of a refused query."""
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught, db.transaction():
        db.execute(query.encode(), parameters)
    found = caught.value.diag
    return f"{found.message_primary} | {found.message_detail} | {found.message_hint}"


def test_another_dtype_is_refused(tdb: Connection) -> None:
    said = refusal(tdb, "SELECT tensor_delta('float32[1]{1}', 'float16[1]{1}')")
    assert "no delta between tensors of dtype float32 and float16" in said
    said = refusal(tdb, "SELECT tensor_delta('{1}', '{2}', 'sub', 'int8[1]{1}')")
    assert "dtype float32 and int8" in said


def test_an_unknown_method_is_refused(tdb: Connection) -> None:
    assert "sub, planes and xor" in refusal(tdb, "SELECT tensor_delta('{1}', '{2}', 'difference')")


def test_another_base_is_refused(tdb: Connection) -> None:
    said = refusal(tdb, "SELECT apply_delta('{1,3}', tensor_delta('{1,2}', '{4,5}'))")
    assert "another base" in said
    assert "the numbers differ" in said
    said = refusal(tdb, "SELECT apply_delta('{1}', tensor_delta('{1,2}', '{4,5}'))")
    assert "made from float32[2], the base given is float32[1]" in said


def test_a_missing_or_wrong_grandbase_is_refused(tdb: Connection) -> None:
    grandbase = smooth(np.random.default_rng(13), "float32", (40, 100))
    base, target = tensor(grandbase.array * 1.001), tensor(grandbase.array * 1.002)
    delta = "tensor_delta(%s, %s, 'sub', %s)"
    said = refusal(tdb, f"SELECT apply_delta(%s, {delta})", base, base, target, grandbase)
    assert "needs the base of its base" in said
    said = refusal(tdb, f"SELECT apply_delta(%s, {delta}, %s)", base, base, target, grandbase, target)
    assert "another grandbase" in said


def test_a_whole_value_is_no_delta(tdb: Connection) -> None:
    assert "float32[1] is no delta" in refusal(tdb, "SELECT apply_delta('{1}', '{2}')")


@pytest.mark.parametrize(
    "use",
    [
        "d + d", "d = d", "as_dtype(d, 'float64')", "planes(d, 1)", "reshape(d, '{2,1}')", "d::real[]", "to_npy(d)",
        "(SELECT sum(x) FROM (VALUES (d)) AS v (x))", "(SELECT stack(x) FROM (VALUES (d)) AS v (x))",
        "tensor_delta(d, d)", "(SELECT count(*) FROM plane_info(d))",
    ],
)  # fmt: skip
def test_what_takes_numbers_refuses_a_delta(tdb: Connection, use: str) -> None:
    said = refusal(tdb, f"SELECT {use} FROM (SELECT tensor_delta('{{1,2}}', '{{3,4}}') AS d) AS made")
    assert "a delta between tensors cannot be used as a tensor" in said
    assert "delc.apply_delta(base, delta)" in said


def test_dtype_shape_and_sizes_are_those_of_what_it_leads_to(tdb: Connection) -> None:
    said = text(
        tdb,
        "SELECT (is_delta(d), is_delta('{1}'), dtype(d), shape(d), rank(d), elements(d), raw_bytes(d), stored_bytes(d)"
        " = length(encoded(d))) FROM (SELECT tensor_delta('int16[1]{1}', 'int16[1,2]{{3,4}}') AS d) AS made",
    )
    assert said == '(t,f,int16,"{1,2}",2,2,4,t)'


@pytest.mark.parametrize("method", METHODS)
def test_text_reads_back_as_the_same_delta(tdb: Connection, method: str) -> None:
    query = "SELECT encoded(d::text::tensor) = encoded(d), d::text FROM (SELECT tensor_delta(%s, %s, %s) AS d) AS made"
    base, target = tensor([1.5, 2.5]), tensor([1.75, -2])
    row = tdb.execute(query, (base, target, method)).fetchone()
    assert row is not None
    assert row[0]
    assert row[1].startswith("float32[2]base64:3hwC")


@pytest.mark.parametrize("form", ["text", "binary"])
def test_copy_carries_deltas(tdb: Connection, form: str) -> None:
    rng = np.random.default_rng(14)
    base, target = smooth(rng, "float32", (30, 40)), smooth(rng, "float32", (30, 40))
    tdb.execute("CREATE TABLE kept (d tensor); CREATE TABLE copied (d tensor)")
    tdb.execute("INSERT INTO kept SELECT tensor_delta(%s, %s)", (base, target))
    with tdb.cursor() as cursor:
        with cursor.copy(f"COPY kept TO STDOUT (FORMAT {form})".encode()) as copy:
            data = b"".join(bytes(part) for part in copy)
        with cursor.copy(f"COPY copied FROM STDIN (FORMAT {form})".encode()) as copy:
            copy.write(data)
    assert value(tdb, "SELECT apply_delta(%s, d) FROM copied", base) == target
