"""A repository of AlexNet-like networks, trained once for the tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg.rows import dict_row

from support.alexnets import repository
from support.cluster import Cluster, Connection
from support.workplace import rolled_back, workplace

Row = dict[str, Any]
Ask = Callable[..., list[Row]]


@pytest.fixture(scope="module")
def models(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The database of the module."""
    with workplace(cluster, template, *repository()) as connection:
        yield connection


@pytest.fixture
def work(models: Connection) -> Iterator[Connection]:
    """The database for one test, which leaves it as it was."""
    with rolled_back(models) as connection:
        yield connection


@pytest.fixture
def ask(work: Connection) -> Ask:
    """Runs a query of DQL; its rows by column."""

    def run(query: str, **options: Any) -> list[Row]:
        named = "".join(f", {name} => %({name})s" for name in options)
        with work.cursor(row_factory=dict_row) as cursor:
            statement = f"SELECT * FROM delc.dql(%(query)s{named})"
            return list(cursor.execute(statement.encode(), {"query": query, **options}).fetchall())

    return run


@pytest.fixture
def found(ask: Ask) -> Callable[[str], list[str]]:
    """The models that a query finds, without the versions' numbers."""
    return lambda query: [row["model"].removesuffix("@1") for row in ask(query)]
