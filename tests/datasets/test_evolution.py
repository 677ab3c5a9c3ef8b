"""Sources whose columns change from version to version."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import call, commit, create, make_customers, message, read, value


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db, 20)
    create(db, "customers", "customers", target="churned")
    return db


def columns(db: Connection, version: str) -> list[tuple[Any, ...]]:
    statement = "SELECT column_name, type FROM delc.dataset_columns WHERE dataset = %s ORDER BY position"
    return db.execute(statement, (version,)).fetchall()


def stored_rows(db: Connection) -> int:
    count: int = value(db, "SELECT count(*) FROM delc_data.d" + str(value(db, "SELECT max(id) FROM delc.datasets")))
    return count


def test_an_added_column_is_there_from_the_next_version_on(customers: Connection) -> None:
    before = read(customers, "customers@1")
    customers.execute("ALTER TABLE customers ADD vip boolean; UPDATE customers SET vip = true WHERE id <= 3")
    row = commit(customers, "customers")
    assert (row["dataset"], row["rows"], row["added"], row["removed"]) == ("customers@2", 20, 3, 3)
    assert columns(customers, "customers@2")[-1] == ("vip", "boolean")
    assert read(customers, "customers@1") == before
    assert sorted(read(customers, "customers")) == customers.execute("TABLE customers ORDER BY id").fetchall()


def test_a_dropped_column_stores_nothing(customers: Connection) -> None:
    before = read(customers, "customers@1")
    customers.execute("ALTER TABLE customers DROP age")
    row = commit(customers, "customers")
    assert (row["dataset"], row["added"], row["removed"], stored_rows(customers)) == ("customers@2", 0, 0, 20)
    assert read(customers, "customers@1") == before
    assert sorted(read(customers, "customers")) == customers.execute("TABLE customers ORDER BY id").fetchall()


def test_a_column_that_comes_back_finds_its_values(customers: Connection) -> None:
    customers.execute("CREATE TEMPORARY TABLE kept AS TABLE customers; ALTER TABLE customers DROP age")
    commit(customers, "customers")
    customers.execute("ALTER TABLE customers ADD age numeric(5,1)")
    customers.execute("UPDATE customers SET age = kept.age FROM kept WHERE kept.id = customers.id")
    row = commit(customers, "customers")
    assert (row["dataset"], row["added"]) == ("customers@3", 0)
    assert sorted(read(customers, "customers")) == customers.execute("TABLE customers ORDER BY id").fetchall()


def test_a_retyped_column_keeps_its_type_in_older_versions(customers: Connection) -> None:
    before = read(customers, "customers@1")
    customers.execute("ALTER TABLE customers ALTER age TYPE text")
    assert commit(customers, "customers")["added"] == 20
    assert ("age", "text") in columns(customers, "customers@2")
    assert ("age", "numeric(5,1)") in columns(customers, "customers@1")
    assert read(customers, "customers@1") == before
    assert sorted(read(customers, "customers")) == customers.execute("TABLE customers ORDER BY id").fetchall()
    rows = "SELECT count(age || 'x') FROM delc.dataset_rows(NULL::customers, 'customers@2')"
    assert value(customers, rows) == 20


def test_a_renamed_column_is_another(customers: Connection) -> None:
    customers.execute("ALTER TABLE customers RENAME region TO area")
    assert commit(customers, "customers")["added"] == 20
    assert [name for name, _ in columns(customers, "customers@2")] == ["id", "area", "age", "churned"]


def test_columns_beyond_one_table_are_added(db: Connection) -> None:
    listed = ", ".join(f"i AS c{n}" for n in range(1500))
    db.execute(f"CREATE TABLE wide AS SELECT i AS id, {listed} FROM generate_series(1, 5) AS i".encode())
    create(db, "wide", "wide", key="id")
    before = read(db, "wide")
    added = ", ".join(f"i * 2 AS a{n}" for n in range(300))
    db.execute("CREATE TABLE wider AS SELECT i AS id FROM generate_series(1, 5) AS i")
    text = f"SELECT i AS id, {added} FROM generate_series(1, 6) AS i"
    db.execute("UPDATE delc.datasets SET source = %s", (text,))
    commit(db, "wide")
    assert read(db, "wide@1") == before
    assert sorted(read(db, "wide")) == db.execute(text.encode()).fetchall()


def test_a_revert_brings_columns_back(customers: Connection) -> None:
    before = read(customers, "customers@1")
    customers.execute("ALTER TABLE customers ALTER age TYPE text, ADD extra integer DEFAULT 1, DROP region")
    commit(customers, "customers")
    row = call(customers, "revert_dataset", name="customers", version="1")
    assert row["dataset"] == "customers@3"
    assert columns(customers, "customers@3") == columns(customers, "customers@1")
    assert sorted(read(customers, "customers")) == sorted(before)


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        ("ALTER id TYPE bigint", "42804", 'key column "id" of data set "customers" was integer and is bigint'),
        ("DROP id", "55000", 'key column "id" of data set "customers" is gone'),
        ("DROP churned", "55000", 'target column "churned" of data set "customers" is gone'),
    ],
)
def test_what_a_data_set_stands_on_stays(customers: Connection, change: str, state: str, told: str) -> None:
    customers.execute(f"ALTER TABLE customers {change}".encode())
    with pytest.raises(psycopg.Error) as error:
        commit(customers, "customers")
    assert error.value.sqlstate == state
    assert told in message(error.value)
