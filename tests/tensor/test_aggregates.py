"""sum, avg, weighted avg and stack against numpy, serial and parallel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pytest

from support.cluster import Connection
from support.tensors import INTEGERS, Tensor, smooth, tensor, text, value

ROWS = 400
SHAPE = (3, 70)


def fill(db: Connection, rows: list[Tensor], weights: npt.NDArray[Any] | None = None) -> None:
    db.execute("CREATE TABLE rows (id integer, t tensor, w double precision)")
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO rows VALUES (%s, %s, %s)",
            [(i, row, None if weights is None else weights[i]) for i, row in enumerate(rows)],
        )


def go_parallel(db: Connection) -> None:
    """Makes the planner use two workers, and leaves all rows to them."""
    for setting, to in {
        "parallel_setup_cost": "0", "parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0",
        "max_parallel_workers_per_gather": "2", "parallel_leader_participation": "off",
    }.items():  # fmt: skip
        db.execute(f"SET LOCAL {setting} = {to}".encode())
    db.execute("ALTER TABLE rows SET (parallel_workers = 2)")


def plan(db: Connection, sql: str) -> str:
    return "\n".join(row[0] for row in db.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}".encode()))


def widened(rows: list[Tensor]) -> npt.NDArray[np.float64]:
    if rows[0].dtype == "bfloat16":
        return np.stack([(row.array.astype(np.uint32) << 16).view(np.float32) for row in rows]).astype(np.float64)
    return np.stack([row.array for row in rows]).astype(np.float64)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(
    ("dtype", "result"),
    [("float64", "float64"), ("float32", "float32"), ("float16", "float32"), ("bfloat16", "float32")],
)
def test_aggregates_of_floats(tdb: Connection, dtype: str, result: str, parallel: bool) -> None:
    rng = np.random.default_rng(30)
    rows, weights = [smooth(rng, dtype, SHAPE) for _ in range(ROWS)], rng.random(ROWS)
    fill(tdb, rows, weights)
    if parallel:
        go_parallel(tdb)
        shown = plan(tdb, "SELECT sum(t), avg(t), avg(t, w) FROM rows")
        assert "Partial Aggregate" in shown
        assert "Workers Launched: 2" in shown
    numbers = widened(rows)
    row = tdb.execute("SELECT sum(t), avg(t), avg(t, w) FROM rows", binary=True).fetchone()
    expected = [numbers.sum(0), numbers.mean(0), np.average(numbers, axis=0, weights=weights)]
    for computed, exact in zip(row or (), expected, strict=True):
        assert computed.dtype == result
        tolerance = 1e-12 if result == "float64" else 6e-8
        np.testing.assert_allclose(computed.array, exact, rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_aggregates_of_integers(tdb: Connection, dtype: str, parallel: bool) -> None:
    rng = np.random.default_rng(31)
    rows = [tensor(rng.integers(0, 2 if dtype == "bool" else 100, SHAPE), dtype) for _ in range(ROWS)]
    fill(tdb, rows)
    if parallel:
        go_parallel(tdb)
        assert "Partial Aggregate" in plan(tdb, "SELECT sum(t) FROM rows")
    numbers = np.stack([row.array for row in rows]).astype(np.int64)
    total, mean = tdb.execute("SELECT sum(t), avg(t) FROM rows", binary=True).fetchone() or (None, None)
    assert total == tensor(numbers.sum(0), "int64")
    assert mean == tensor(numbers.sum(0) / ROWS, "float64")


def test_a_float32_sum_is_rounded_once(tdb: Connection) -> None:
    """16777216 + 1 is lost in float32, 300 times over."""
    fill(tdb, [tensor([2.0**24])] + [tensor([1.0])] * 300)
    assert value(tdb, "SELECT sum(t) FROM rows").array.tolist() == [2.0**24 + 300]


def test_groups_have_states_of_their_own(tdb: Connection) -> None:
    fill(tdb, [tensor([i, -i], "int32") for i in range(100)])
    rows = tdb.execute("SELECT id % 3, sum(t)::bigint[] FROM rows GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [(r, [sum(range(r, 100, 3)), -sum(range(r, 100, 3))]) for r in range(3)]


def test_aggregates_work_as_window_functions(tdb: Connection) -> None:
    fill(tdb, [tensor([i], "int8") for i in range(5)])
    rows = tdb.execute("SELECT (sum(t) OVER (ORDER BY id))::bigint[] FROM rows ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [[0], [1], [3], [6], [10]]
    rows = tdb.execute("SELECT shape(stack(t) OVER (ORDER BY id)) FROM rows ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [[1, 1], [2, 1], [3, 1], [4, 1], [5, 1]]


def test_nulls_are_left_out_and_no_rows_give_null(tdb: Connection) -> None:
    values = "(VALUES ('{1}'::tensor, 2.0::float8), (NULL, 1), ('{4}', NULL)) v(t, w)"
    assert text(tdb, f"SELECT sum(t) FROM {values}") == "float32[1]{5}"
    assert text(tdb, f"SELECT avg(t) FROM {values}") == "float32[1]{2.5}"
    assert text(tdb, f"SELECT avg(t, w) FROM {values}") == "float32[1]{1}"
    for aggregate in ("sum(t)", "avg(t)", "avg(t, w)"):
        assert text(tdb, f"SELECT {aggregate} IS NULL FROM {values} WHERE t IS NULL") == "true"
    assert text(tdb, f"SELECT stack(t) IS NULL FROM {values} WHERE false") == "true"


def test_a_row_of_weight_zero_leaves_no_trace(tdb: Connection) -> None:
    values = "(VALUES ('{1}'::tensor, 2.0::float8), ('{NaN}', 0)) v(t, w)"
    assert text(tdb, f"SELECT avg(t, w) FROM {values}") == "float32[1]{1}"


def test_infinities_and_nan_follow_ieee_754(tdb: Connection) -> None:
    values = "(VALUES ('{Infinity,Infinity,1}'::tensor), ('{-Infinity,1,NaN}')) v(t)"
    assert text(tdb, f"SELECT sum(t) FROM {values}") in (
        "float32[3]{NaN,Infinity,NaN}",
        "float32[3]{NaN(0xffc00000),Infinity,NaN}",
    )


def test_stack_follows_the_order_of_rows(tdb: Connection) -> None:
    rows = [smooth(np.random.default_rng(i), "float16", (2, 3)) for i in range(50)]
    fill(tdb, rows)
    stacked = value(tdb, "SELECT stack(t ORDER BY id DESC) FROM rows")
    assert stacked == Tensor("float16", np.stack([row.array for row in rows[::-1]]))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_stack_takes_scalars_and_empty_tensors(tdb: Connection, shape: tuple[int, ...]) -> None:
    fill(tdb, [tensor(np.ones(shape)) for _ in range(4)])
    assert value(tdb, "SELECT stack(t) FROM rows") == tensor(np.ones((4, *shape)))


@pytest.mark.parametrize(
    ("sql", "values", "message"),
    [
        ("sum(t)", "('{1}'::tensor, 1.0), ('{1,2}', 1)", "tensors of an aggregate differ: float32[1] and float32[2]"),
        ("avg(t)", "('{1}'::tensor, 1.0), ('int8{1}', 1)", "tensors of an aggregate differ: float32[1] and int8[1]"),
        ("sum(t)", "('int64{9223372036854775807}'::tensor, 1.0), ('int64{1}', 1)",
         "the sum of tensors is out of range for dtype int64"),
        ("avg(t, w)", "('{1}'::tensor, -1.0)", "a weight of avg(tensor, weight) cannot be -1"),
        ("avg(t, w)", "('{1}'::tensor, 'NaN'::float8)", "a weight of avg(tensor, weight) cannot be NaN"),
        ("avg(t, w)", "('{1}'::tensor, 0.0), ('{2}', 0)", "the weights of avg(tensor, weight) add up to zero"),
        ("stack(t)", "('{1}'::tensor, 1.0), (NULL, 1)", "cannot stack NULL"),
        ("stack(t)", "('{1}'::tensor, 1.0), ('{1,2}', 1)", "cannot stack tensors that differ: float32[1] and float32[2]"),  # noqa: E501
        ("stack(t)", "('float32[1,1,1,1,1,1,1,0]{}'::tensor, 1.0)", "cannot stack tensors of rank 8"),
    ],
)  # fmt: skip
def test_what_cannot_be_aggregated_is_refused(tdb: Connection, sql: str, values: str, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        tdb.execute(f"SELECT {sql} FROM (VALUES {values}) v(t, w)".encode())
    assert caught.value.diag.message_primary == message


@pytest.mark.parametrize("function", ["tensor_sum_final", "tensor_mean_final", "tensor_stack_final"])
def test_states_cannot_be_made_in_sql(tdb: Connection, function: str) -> None:
    with pytest.raises(psycopg.Error):
        tdb.execute(f"SELECT {function}(NULL)".encode())


def test_long_parallel_states_survive_the_way_between_workers(tdb: Connection) -> None:
    rng = np.random.default_rng(33)
    rows = [smooth(rng, "float64", (20_000,)) for _ in range(40)]
    fill(tdb, rows)
    go_parallel(tdb)
    computed = value(tdb, "SELECT sum(t) FROM rows")
    np.testing.assert_allclose(computed.array, widened(rows).sum(0), rtol=1e-10, atol=1e-12)
