"""Tables and small queries that the tests of data sets share."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from support.cluster import Connection

Row = dict[str, Any]


def make_customers(connection: Connection, rows: int = 100) -> None:
    """A table with a primary key, a class that every third row has, and a region for every row."""
    connection.execute(
        "CREATE TABLE public.customers (id integer PRIMARY KEY, region text, age numeric(5,1), churned boolean)"
    )
    add_customers(connection, 1, rows)


def add_customers(connection: Connection, first: int, last: int) -> None:
    connection.execute(
        "INSERT INTO public.customers SELECT i, 'region ' || mod(i, 4), mod(i, 80), mod(i, 3) = 0"
        " FROM generate_series(%s::integer, %s::integer) AS i",
        (first, last),
    )


def create(connection: Connection, name: str, source: str, **options: Any) -> Row:
    """Calls delc.create_dataset(); the row that it returns."""
    return call(connection, "create_dataset", name=name, source=source, **options)


def commit(connection: Connection, name: str, **options: Any) -> Row:
    """Calls delc.commit_dataset(); the row that it returns."""
    return call(connection, "commit_dataset", name=name, **options)


def call(connection: Connection, function: str, **arguments: Any) -> Row:
    """Calls a function of delc with named arguments; its row."""
    given = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in arguments
    )
    statement = sql.SQL("SELECT * FROM delc.{}({})").format(sql.Identifier(function), given)
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement, arguments).fetchone()
    assert row is not None
    return row


def query_text(connection: Connection, version: str, split: str | None = None) -> str:
    """What delc.dataset_query() gives for rows in their fixed order."""
    text: str = value(connection, "SELECT delc.dataset_query(%s, %s, true)", version, split)
    return text


def read(connection: Connection, version: str, split: str | None = None) -> list[tuple[Any, ...]]:
    """The rows of a version in the order in which it is read."""
    return connection.execute(query_text(connection, version, split).encode()).fetchall()


def keys(connection: Connection, version: str, split: str | None = None) -> list[Any]:
    """The first column of the rows of a version."""
    return [row[0] for row in read(connection, version, split)]


def splits(connection: Connection, version: str) -> dict[Any, str]:
    """The split of each row, by its first column."""
    return {key: split for split in ("train", "validation", "test") for key in keys(connection, version, split)}


def value(connection: Connection, statement: str, *parameters: Any) -> Any:
    """The first column of the first row."""
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def message(error: psycopg.Error) -> str:
    """Message, detail and hint of a database error, as one text."""
    diagnostic = error.diag
    parts = (diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint)
    return "\n".join(part for part in parts if part)
