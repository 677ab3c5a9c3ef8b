"""Naming and reading versions, from SQL and as other rooms do it."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import commit, create, make_customers, message, query_text, read, value
from support.python_function import run_inside


@pytest.mark.parametrize(
    ("version", "error"),
    [
        ("custmers", 'Did you mean "customers"?'),
        ("customers@7", 'data set "customers" has no version 7'),
        ("customers@7", "It has customers@1 to customers@2."),
        ("customers@mian", 'Did you mean "main"?'),
        ("", "no data set was named"),
        (None, "no data set was named"),
    ],
)
def test_an_unknown_version_is_told_with_those_that_are(db: Connection, version: str, error: str) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    db.execute("DELETE FROM customers WHERE id = 1")
    commit(db, "customers")
    with pytest.raises(psycopg.Error) as raised:
        query_text(db, version)
    assert error in message(raised.value)


def test_an_unknown_split_is_told_with_those_that_are(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match='unknown split "dev"') as error:
        query_text(db, "x", "dev")
    assert "train, validation, test" in message(error.value)


def test_a_version_can_be_a_view(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    db.execute(f"CREATE VIEW first AS {query_text(db, 'customers', 'train')}".encode())
    db.execute("DELETE FROM customers")
    commit(db, "customers")
    assert value(db, "SELECT count(*) FROM first") == 70


def test_a_version_is_a_relation_of_the_table_s_type(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    db.execute("UPDATE customers SET age = 0")
    rows = db.execute(
        "SELECT id, c.age - v.age FROM customers AS c"
        " JOIN delc.dataset_rows(NULL::customers, 'customers', 'test') AS v USING (id)"
    ).fetchall()
    assert len(rows) == 20
    assert all(difference == -(row_id % 80) for row_id, difference in rows)


def test_a_row_type_finds_its_columns_by_name(db: Connection) -> None:
    db.execute("CREATE DOMAIN percent AS numeric(5, 1); CREATE TYPE part AS (age percent, id integer)")
    make_customers(db)
    create(db, "customers", "customers")
    assert value(db, "SELECT sum(id) FROM delc.dataset_rows(NULL::part, 'customers')") == 5050
    read_ids = [row[0] for row in db.execute("SELECT id FROM delc.dataset_rows(NULL::part, 'customers')")]
    assert read_ids == [row[0] for row in read(db, "customers")]


def test_a_table_whose_columns_were_dropped_is_a_row_type(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    db.execute("ALTER TABLE customers DROP COLUMN region")
    assert value(db, "SELECT count(churned) FROM delc.dataset_rows(NULL::customers, 'customers')") == 100


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ("CREATE TYPE part AS (idd integer)", 'unknown column "idd" of data set "customers@1"'),
        ("CREATE TYPE part AS (id bigint)", 'column "id" of "customers@1" has the type integer, not bigint'),
        ("CREATE DOMAIN part AS integer", "part is not a row type"),
    ],
)
def test_a_row_type_that_does_not_fit_is_explained(db: Connection, definition: str, error: str) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    db.execute(definition.encode())
    with pytest.raises(psycopg.Error) as raised:
        db.execute("SELECT * FROM delc.dataset_rows(NULL::part, 'customers')")
    assert error in message(raised.value)


def test_other_rooms_get_a_version_s_parts(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    found = run_inside(
        db,
        "from delc.datasets.versions import resolve\n"
        "v = resolve('customers')\n"
        "columns = [(column.name, column.type) for column in v.columns]\n"
        "return [v.title, v.rows, columns, v.key_columns, v.target_columns, v.split_counts()]",
    )
    assert found == [
        "customers@1",
        100,
        [["id", "integer"], ["region", "text"], ["age", "numeric(5,1)"], ["churned", "boolean"]],
        ["id"],
        ["churned"],
        {"train": 70, "validation": 10, "test": 20},
    ]


def test_other_rooms_choose_columns(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    text = run_inside(
        db,
        "from delc.datasets.versions import resolve\n"
        "return resolve('customers@1').query('train', ['age', 'id'], row_number=True)",
    )
    assert text == (
        "SELECT d.delc_row, d.age, d.id FROM delc_data.d{} AS d WHERE (d.delc_version <= 1) AND d.delc_split = 't'"
        " ORDER BY d.delc_row"
    ).format(value(db, "SELECT id FROM delc.datasets"))


def test_the_column_that_says_the_split_is_no_feature(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id, 'train' AS part, 2 AS a", key="id", split="part")
    text = run_inside(db, "from delc.datasets.versions import resolve\nreturn resolve('x').query()")
    assert "part" not in text
    assert read(db, "x") == [(1, "train", 2)]


def test_nulls_are_counted_by_column(db: Connection) -> None:
    create(
        db, "x", 'SELECT i AS id, NULLIF(i % 4, 0) AS a, NULL::text AS "B" FROM generate_series(1, 20) AS i', key="id"
    )
    counts = run_inside(db, "from delc.datasets.versions import resolve\nreturn resolve('x').null_counts()")
    assert counts == {"id": 0, "a": 5, "B": 20}
    some = run_inside(db, "from delc.datasets.versions import resolve\nreturn resolve('x').null_counts(['B'], 'test')")
    assert some == {"B": 4}


def test_reading_in_order_needs_no_sort(db: Connection) -> None:
    create(db, "x", "SELECT i AS id, repeat('x', 200) AS a FROM generate_series(1, 20000) AS i", key="id")
    plan = "\n".join(row[0] for row in db.execute(f"EXPLAIN {query_text(db, 'x')}".encode()))
    assert "Sort" not in plan
    assert "Index Scan" in plan
