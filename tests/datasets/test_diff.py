"""What differs between versions, row by row and column by column."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support.cluster import Connection
from support.datasets import Row, call, commit, create, make_customers, value


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    return db


def diff(db: Connection, a: str, b: str) -> list[tuple[Any, ...]]:
    return db.execute("SELECT * FROM delc.diff_dataset(%s, %s) ORDER BY key ->> 'id'", (a, b)).fetchall()


def summary(db: Connection, a: str, b: str) -> dict[str, Row]:
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM delc.summarize_diff(%s, %s)", (a, b)).fetchall()
    return {row["column_name"]: row for row in rows}


def test_rows_are_added_removed_and_changed(customers: Connection) -> None:
    customers.execute("UPDATE customers SET age = 99, region = NULL WHERE id = 5; DELETE FROM customers WHERE id = 6")
    customers.execute("INSERT INTO customers VALUES (700, 'x', 1, true)")
    commit(customers, "customers")
    found = diff(customers, "customers@1", "customers")
    assert [(change, key, columns) for change, key, _, _, columns in found] == [
        ("changed", {"id": 5}, ["region", "age"]),
        ("removed", {"id": 6}, None),
        ("added", {"id": 700}, None),
    ]
    _, _, old, new, _ = found[0]
    assert (old["age"], old["region"], new["age"], new["region"]) == (5.0, "region 1", 99.0, None)
    assert (found[1][3], found[2][2]) == (None, None)
    back = diff(customers, "customers", "customers@1")
    assert [change for change, *_ in back] == ["changed", "added", "removed"]


def test_a_version_does_not_differ_from_itself(customers: Connection) -> None:
    assert diff(customers, "customers", "customers@1") == []


def test_a_row_that_went_and_came_back_does_not_differ(customers: Connection) -> None:
    customers.execute("CREATE TEMPORARY TABLE gone AS SELECT * FROM customers WHERE id = 3")
    customers.execute("DELETE FROM customers WHERE id = 3")
    commit(customers, "customers")
    customers.execute("INSERT INTO customers SELECT * FROM gone")
    commit(customers, "customers")
    found = diff(customers, "customers@1", "customers")
    assert [columns for _, _, _, _, columns in found] in ([], [["delc_split"]])


def test_columns_of_one_version_only_differ_where_they_are_set(customers: Connection) -> None:
    customers.execute(
        "ALTER TABLE customers ADD vip boolean, DROP region; UPDATE customers SET vip = true WHERE id < 3"
    )
    commit(customers, "customers")
    found = diff(customers, "customers@1", "customers")
    assert [(key["id"], columns) for _, key, _, _, columns in found] == [(1, ["region", "vip"]), (2, ["region", "vip"])]


def test_a_new_split_is_a_difference(customers: Connection) -> None:
    row = call(customers, "split_dataset", name="customers", seed=5)
    found = diff(customers, "customers@1", "customers")
    assert len(found) == row["added"]
    assert {tuple(columns) for *_, columns in found} == {("delc_split",)}


def test_two_data_sets_are_compared_by_key(customers: Connection) -> None:
    create(customers, "other", "SELECT * FROM customers WHERE id <> 7", key="id", validation=0, test=0)
    found = [row for row in diff(customers, "customers", "other") if row[4] != ["delc_split"]]
    assert [(change, key) for change, key, *_ in found] == [("removed", {"id": 7})]


def test_versions_with_other_keys_cannot_be_compared(customers: Connection) -> None:
    create(customers, "other", "SELECT id::bigint AS id FROM customers", key="id")
    with pytest.raises(psycopg.errors.DatatypeMismatch, match="different keys"):
        diff(customers, "customers", "other")


def test_the_summary_has_counts_moments_and_shifts(db: Connection) -> None:
    db.execute(
        "CREATE TABLE t AS SELECT i AS id, i::float8 AS x, 'a' AS c, '2024-01-01'::date + i AS d,"
        " ARRAY[i] AS a FROM generate_series(1, 100) AS i"
    )
    create(db, "t", "t", key="id")
    db.execute("UPDATE t SET x = x + 50, c = 'b', d = NULL WHERE id <= 25")
    commit(db, "t")
    found = summary(db, "t@1", "t")
    assert list(found) == ["id", "x", "c", "d", "a"]
    assert (found["id"]["shift"], found["id"]["measure"]) == (0, "kolmogorov-smirnov")
    x = found["x"]
    assert (x["old_mean"], x["new_mean"], x["old_nulls"], x["new_distinct"]) == (50.5, 63.0, 0, 75)
    assert x["old_deviation"] == pytest.approx(29.011491975882016)
    assert x["shift"] == pytest.approx(0.25)
    assert (found["c"]["shift"], found["c"]["measure"]) == (pytest.approx(0.25), "total variation")
    assert (found["d"]["new_nulls"], found["d"]["shift"]) == (25, pytest.approx(0.25))
    assert (found["a"]["shift"], found["a"]["old_nulls"], found["a"]["old_distinct"]) == (None, 0, None)


def test_the_summary_bears_numbers_that_are_not_finite(db: Connection) -> None:
    create(db, "t", "VALUES (1, 'NaN'::float8), (2, 'Infinity'), (3, 1), (4, NULL)", key="column1")
    assert summary(db, "t", "t")["column2"]["old_mean"] == 1
    assert value(db, "SELECT shift FROM delc.summarize_diff('t', 't') WHERE column_name = 'column2'") == 0
