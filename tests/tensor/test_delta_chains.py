"""Chains of deltas: restored hop after hop, whole or by their first planes; damaged ones are refused."""

from __future__ import annotations

from random import Random

import numpy as np
import psycopg
import pytest

from support.cluster import Connection
from support.tensors import DTYPES, Tensor, random_bits, register, smooth, storage, value

METHODS = ("sub", "planes", "xor")


def walk(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], hops: int) -> list[Tensor]:
    """Values that each differ a little from the one before."""
    if dtype == "bool":
        return [random_bits(rng, dtype, shape) for _ in range(hops)]
    values = [smooth(rng, dtype, shape)]
    for _ in range(hops - 1):
        low = rng.integers(0, 50, shape).astype(f"uint{8 * storage(dtype).itemsize}")
        bits = values[-1].array.view(low.dtype) + low
        values.append(Tensor(dtype, bits.view(storage(dtype))))
    return values


def keep(db: Connection, values: list[Tensor], method: str, grandbase: bool = False) -> None:
    """Table chain (hop, value): the first value whole, the others as deltas from the one before."""
    db.execute("CREATE TEMP TABLE chain (hop int, value tensor) ON COMMIT DROP")
    db.execute("INSERT INTO chain VALUES (0, %s)", (values[0],))
    for hop in range(1, len(values)):
        before = values[hop - 2] if grandbase and hop > 1 else None
        query = "INSERT INTO chain VALUES (%s, tensor_delta(%s, %s, %s, %s::tensor))"
        db.execute(query, (hop, values[hop - 1], values[hop], method, before))


def first_planes(original: Tensor, planes: int) -> Tensor:
    """The bytes below the first planes set to zero."""
    bits = original.array.copy().reshape(-1).view(np.uint8).reshape(-1, storage(original.dtype).itemsize)
    bits[:, : max(bits.shape[1] - planes, 0)] = 0
    return Tensor(original.dtype, bits.reshape(-1).view(storage(original.dtype)).reshape(original.shape))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_chain_is_restored_from_its_rows_in_order(tdb: Connection, dtype: str, method: str) -> None:
    values = walk(np.random.default_rng(1), dtype, (40, 90), 5)
    keep(tdb, values, method, grandbase=True)
    assert value(tdb, "SELECT restore(value ORDER BY hop) FROM chain") == values[-1]
    assert value(tdb, "SELECT restore(value ORDER BY hop) FROM chain WHERE hop < 3") == values[2]


@pytest.mark.parametrize("method", ["planes", "xor"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int32", "int8"])
def test_the_first_planes_of_a_chain_are_exact(tdb: Connection, dtype: str, method: str) -> None:
    values = walk(np.random.default_rng(2), dtype, (50, 60), 4)
    keep(tdb, values, method)
    for planes in range(1, storage(dtype).itemsize + 2):
        restored = value(tdb, "SELECT restore(value, %s ORDER BY hop) FROM chain", planes)
        assert restored == first_planes(values[-1], planes)


@pytest.mark.parametrize("halves", [False, True])
def test_a_chain_may_begin_with_a_compressed_value(tdb: Connection, halves: bool) -> None:
    values = walk(np.random.default_rng(9), "float32", (50, 60), 3)
    keep(tdb, values, "planes")
    tdb.execute("UPDATE chain SET value = compress(value, %s) WHERE hop = 0", (halves,))
    assert value(tdb, "SELECT restore(value ORDER BY hop) FROM chain") == values[-1]
    for planes in (1, 2, 3, 4):
        restored = value(tdb, "SELECT restore(value, %s ORDER BY hop) FROM chain", planes)
        assert restored == first_planes(values[-1], planes)


def test_the_first_planes_across_several_blocks_and_shapes(tdb: Connection) -> None:
    rng = np.random.default_rng(3)
    values = walk(rng, "float32", (2100, 2000), 2)
    values.append(Tensor("float32", values[-1].array[:, :1990].copy()))
    keep(tdb, values, "planes")
    for planes in (1, 2, 3, 4):
        restored = value(tdb, "SELECT restore(value, %s ORDER BY hop) FROM chain", planes)
        assert restored == first_planes(values[-1], planes)


def test_methods_and_shapes_may_change_along_a_chain(tdb: Connection) -> None:
    rng = np.random.default_rng(4)
    shapes = [(30, 40), (30, 50), (30, 50), (1500,), (20, 75)]
    values = [smooth(rng, "float32", shape) for shape in shapes]
    tdb.execute("CREATE TABLE chain (hop int, value tensor)")
    tdb.execute("INSERT INTO chain VALUES (0, %s)", (values[0],))
    for hop, method in enumerate(("planes", "sub", "xor", "sub"), 1):
        pair = (hop, values[hop - 1], values[hop], method)
        tdb.execute("INSERT INTO chain VALUES (%s, tensor_delta(%s, %s, %s))", pair)
    assert value(tdb, "SELECT restore(value ORDER BY hop) FROM chain") == values[-1]


def test_reading_the_first_planes_of_a_stored_chain_fetches_only_those(tdb: Connection) -> None:
    rng = np.random.default_rng(5)
    base = random_bits(rng, "float32", (400_000,))
    keep(tdb, [base, random_bits(rng, "float32", (400_000,))], "planes")
    whole, part = (buffers(tdb, f"restore(value, {planes} ORDER BY hop)") for planes in (4, 1))
    assert part / whole == pytest.approx(0.25, abs=0.04)


def buffers(db: Connection, expression: str) -> int:
    """How many buffers evaluating an aggregate over the chain touches."""
    query = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT elements({expression}) FROM chain"
    db.execute(query.encode())  # the first run reads catalogs
    row = db.execute(query.encode()).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return sum(int(plan[f"{kind} {how} Blocks"]) for kind in ("Shared", "Local") for how in ("Hit", "Read"))


def test_no_rows_give_null(tdb: Connection) -> None:
    assert value(tdb, "SELECT restore(x) IS NULL FROM (SELECT '{1}'::tensor AS x WHERE false) AS none")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT restore(value) FROM chain WHERE hop > 0", "begins with a whole value"),
        ("SELECT restore(value) FROM (SELECT value FROM chain WHERE hop = 0 UNION ALL SELECT '{1}') AS c", "no delta"),
        ("SELECT restore(value ORDER BY hop) FROM chain WHERE hop <> 1", "another base"),
        ("SELECT restore(value, 1 ORDER BY hop) FROM chain", "a delta of method sub cannot be applied to the first 1"),
        ("SELECT restore(value, 0 ORDER BY hop) FROM chain", "cannot read 0 planes"),
    ],
)
def test_what_is_no_chain_is_refused(tdb: Connection, query: str, said: str) -> None:
    keep(tdb, walk(np.random.default_rng(6), "float32", (20, 30), 3), "sub")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=said):
        tdb.execute(query.encode())


def test_a_null_in_a_chain_is_refused(tdb: Connection) -> None:
    with pytest.raises(psycopg.errors.NullValueNotAllowed, match="value 2 of a chain is NULL"):
        tdb.execute("SELECT restore(x ORDER BY n) FROM (VALUES (1, '{1}'::tensor), (2, NULL)) AS v (n, x)")


TRY_ALL = """
CREATE FUNCTION pg_temp.try_all(base tensor, grandbase tensor, target tensor, damaged bytea[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    counts jsonb := '{}';
    d tensor;
    outcome text;
BEGIN
    FOR i IN 1 .. array_length(damaged, 1) LOOP
        BEGIN
            d := 'base64:' || translate(encode(damaged[i], 'base64'), E'\\n', '');
            d := apply_delta(base, d, grandbase);
            outcome := CASE WHEN tensor_send(d) = tensor_send(target) THEN 'same' ELSE 'other' END;
        EXCEPTION WHEN OTHERS THEN
            outcome := SQLSTATE;
        END;
        counts := jsonb_set(counts, ARRAY[outcome], to_jsonb(coalesce((counts ->> outcome)::int, 0) + 1));
    END LOOP;
    RETURN counts;
END
$$
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8", "bool"])
def test_damage_is_refused_and_never_another_value(fresh_db: Connection, dtype: str, method: str) -> None:


    fresh_db.execute("SET search_path = delc, public")
    register(fresh_db)
    fresh_db.execute(TRY_ALL)
    values = walk(np.random.default_rng(7), dtype, (30, 40), 3)
    made = (values[1], values[2], method, values[0])
    delta = bytes(value(fresh_db, "SELECT encoded(tensor_delta(%s, %s, %s, %s))", *made))
    random = Random(8)
    damaged = []
    for _ in range(1500):
        data = bytearray(delta)
        data[int(len(data) * random.random() ** random.choice((1, 3)))] ^= 1 << random.randrange(8)
        damaged.append(bytes(data[: random.choice((len(data), len(data), len(data) - random.randrange(1, 50)))]))
    counts = value(fresh_db, "SELECT pg_temp.try_all(%s, %s, %s, %s)", values[1], values[0], values[2], damaged)
    assert "other" not in counts
    assert sum(counts.values()) == len(damaged)
    assert set(counts) <= {"same", "22P03", "22P02", "XX001", "22023", "54000", "22000"}
