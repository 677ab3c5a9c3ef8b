"""Versions made without the source: corrections, acquisitions, splits, reverts."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import add_customers, call, commit, create, make_customers, message, read, splits, value


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    return db


def by_key(db: Connection, version: str) -> dict[Any, tuple[Any, ...]]:
    return {row[0]: row for row in read(db, version)}


def test_a_correction_replaces_rows_and_keeps_what_it_does_not_name(customers: Connection) -> None:
    before, was_split = by_key(customers, "customers"), splits(customers, "customers")
    query = "VALUES (7, 42), (8, 43)"
    row = call(
        customers, "correct_dataset", name="customers", query=f"SELECT * FROM ({query}) AS v(id, age)", message="typo"
    )
    assert (row["dataset"], row["rows"], row["added"], row["removed"]) == ("customers@2", 100, 2, 2)
    after = by_key(customers, "customers")
    assert (after[7][1], after[7][2], after[7][3]) == (before[7][1], 42, before[7][3])
    assert {key for key in after if after[key] != before[key]} == {7, 8}
    assert splits(customers, "customers") == was_split
    assert by_key(customers, "customers@1") == before
    assert value(customers, "SELECT kind FROM delc.dataset_log WHERE version = 2") == "correction"
    assert value(customers, "SELECT age FROM customers WHERE id = 7") == 7


def test_a_cleaning_removes_rows(customers: Connection) -> None:
    row = call(
        customers, "correct_dataset",
        name="customers", query="SELECT id FROM customers WHERE age < 10", kind="cleaning", remove=True,
    )  # fmt: skip
    assert (row["added"], row["removed"]) == (0, 19)
    assert min(by_key(customers, "customers")) == 10
    assert value(customers, "SELECT kind FROM delc.dataset_log WHERE version = 2") == "cleaning"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT 101 AS id, 3 AS age", 'key (101) is not in data set "customers@1"'),
        ("SELECT i AS id, 3 AS age FROM generate_series(200, 203) AS i", "4 keys, (200), (201), (202) among them, are"),
        ("SELECT 3 AS age", 'lacks column "id"'),
        ("SELECT 3 AS id", "no columns but the key"),
        ("SELECT 3 AS id, 4 AS agee", 'Did you mean "age"?'),
        ("SELECT 3 AS id, 'x' AS age", 'column "age" is text here, and numeric(5,1)'),
        ("SELECT 3 AS id, i AS age FROM generate_series(1, 2) AS i", "(3) is there 2 times"),
        ("SELECT 3 AS id, i AS age FROM generate_series(1, 2) AS i", "Give each key once in the query"),
        ("SELECT NULL::int AS id, 4 AS age", 'key column "id"'),
        ("nonsense here", "neither the name of a relation nor a query"),
    ],
)
def test_a_correction_that_cannot_be_is_refused(customers: Connection, query: str, error: str) -> None:
    with pytest.raises(psycopg.Error) as raised:
        call(customers, "correct_dataset", name="customers", query=query)
    assert error in message(raised.value)


def test_an_unknown_kind_of_change_is_named_with_those_there_are(customers: Connection) -> None:
    with pytest.raises(psycopg.Error) as raised:
        call(customers, "correct_dataset", name="customers", query="SELECT 3 AS id, 4 AS age", kind="clean")
    assert 'unknown kind "clean" of change' in message(raised.value)
    assert 'Did you mean "cleaning"?' in message(raised.value)


def test_a_correction_that_changes_nothing_makes_no_version(customers: Connection) -> None:
    row = call(customers, "correct_dataset", name="customers", query="SELECT * FROM customers WHERE id < 5")
    assert (row["dataset"], row["added"]) == ("customers@1", 0)


def test_values_that_are_too_long_are_refused_and_not_cut(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id, 'ab'::varchar(3) AS v, 'ab'::char(3) AS c", key="id")
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        call(db, "correct_dataset", name="x", query="SELECT 1 AS id, 'abcd' AS v")


def test_new_rows_are_appended_and_split(customers: Connection) -> None:
    query = "SELECT i AS id, 'r' AS region, 1 AS age, i % 3 = 0 AS churned FROM generate_series(101, 200) AS i"
    row = call(customers, "append_dataset", name="customers", query=query)
    assert (row["rows"], row["added"], row["removed"]) == (200, 100, 0)
    assert (row["train"], row["validation"], row["test"]) == (140, 20, 40)


def test_a_key_that_is_there_cannot_be_appended(customers: Connection) -> None:
    with pytest.raises(psycopg.errors.DataException, match=r'keys \(99\), \(100\) are in data set "customers@1"'):
        call(customers, "append_dataset", name="customers", query="SELECT * FROM customers WHERE id > 98 ORDER BY id")


def test_what_is_appended_has_all_columns(customers: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='lacks column "region"'):
        call(customers, "append_dataset", name="customers", query="SELECT 101 AS id")


def test_a_new_split_is_that_of_a_new_data_set(customers: Connection) -> None:
    create(customers, "other", "customers", target="churned", validation=0.2, test=0.3, seed=5)
    row = call(customers, "split_dataset", name="customers", validation=0.2, test=0.3, seed=5)
    assert splits(customers, "customers") == splits(customers, "other")
    assert (row["train"], row["validation"], row["test"]) == (50, 20, 30)
    assert row["added"] == row["removed"] < 100
    assert value(customers, "SELECT kind FROM delc.dataset_log WHERE name = 'customers' AND version = 2") == "split"
    add_customers(customers, 101, 200)
    row = commit(customers, "customers")
    assert (row["train"], row["validation"], row["test"]) == (100, 40, 60)


def test_a_revert_brings_rows_and_splits_back(customers: Connection) -> None:
    before = splits(customers, "customers")
    rows = by_key(customers, "customers")
    call(customers, "split_dataset", name="customers", seed=9)
    customers.execute("DELETE FROM customers WHERE id < 20")
    commit(customers, "customers")
    row = call(customers, "revert_dataset", name="customers", version="customers@1")
    assert (row["dataset"], row["rows"]) == ("customers@4", 100)
    assert splits(customers, "customers") == before
    assert by_key(customers, "customers") == rows
    assert value(customers, "SELECT message FROM delc.dataset_log WHERE version = 4") == "as in customers@1"


def test_a_version_of_another_data_set_cannot_be_reverted_to(customers: Connection) -> None:
    create(customers, "other", "customers")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="another data set"):
        call(customers, "revert_dataset", name="customers", version="other@1")
