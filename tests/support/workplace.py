"""A database for the tests of one module: filled and trained in once; each test works in a transaction of its own.

A test that fails in the middle, or changes what it finds, leaves nothing to the next one: `rolled_back` undoes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster, Connection

_numbers = count(1)


@contextmanager
def workplace(cluster: Cluster, template: str, *statements: str) -> Iterator[Connection]:
    """A connection to a database with the extension in it, in which the statements were run and committed.

    One thread is enough for small rows, and does not wait for others where tests run side by side.
    """
    name = f"delc_work_{next(_numbers)}"
    cluster.create_database(name, template)
    try:
        with cluster.connect() as administration:
            administration.execute(f'ALTER DATABASE "{name}" SET delc.threads = 1')
        with cluster.connect(name, autocommit=False) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
            yield connection
    finally:
        cluster.drop_database(name)


@contextmanager
def prepared(cluster: Cluster, template: str, *statements: str) -> Iterator[str]:
    """A database like ``workplace``, to clone from: its name. A module whose tests commit makes it its ``template``."""
    with workplace(cluster, template, *statements) as connection:
        name: str = connection.info.dbname
        connection.close()
        yield name


@contextmanager
def rolled_back(connection: Connection) -> Iterator[Connection]:
    """The connection for one test; whatever the test does is undone."""
    connection.execute("SELECT")  # begins the transaction, so that blocks inside of it are savepoints
    try:
        yield connection
    finally:
        if not connection.closed:
            connection.rollback()


def rows(connection: Connection, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return connection.execute(sql, parameters or None).fetchall()


def row(connection: Connection, sql: str, *parameters: Any) -> tuple[Any, ...]:
    """The one row of a query."""
    found = rows(connection, sql, *parameters)
    assert len(found) == 1, found
    only: tuple[Any, ...] = found[0]
    return only


def value(connection: Connection, sql: str, *parameters: Any) -> Any:
    """The one value of a query."""
    (only,) = row(connection, sql, *parameters)
    return only


def record(connection: Connection, sql: str, *parameters: Any) -> dict[str, Any]:
    """The one row of a query by column name."""
    cursor = connection.execute(sql, parameters or None)
    found = cursor.fetchall()
    assert len(found) == 1, found
    assert cursor.description is not None
    return dict(zip([column.name for column in cursor.description], found[0], strict=True))


def failure(connection: Connection, sql: str, *parameters: Any) -> psycopg.Error:
    """The error of a statement that has to fail; the transaction around it goes on."""
    with pytest.raises(psycopg.Error) as caught, connection.transaction():
        connection.execute(sql, parameters or None)
    return caught.value


def message(error: psycopg.Error) -> str:
    """Message, detail and hint of an error, in lines."""
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
    return "\n".join(part for part in parts if part)
