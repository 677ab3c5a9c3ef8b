"""Fixtures for all tests: one throw-away cluster per run, databases cloned from a template with the extension in it.

`db` is the cheap one: a transaction that is rolled back, in a backend shared by all tests of a process (so torch is
imported once). What commits, restarts, or reads the log of failed runs takes `fresh_db`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from support.cluster import Cluster, Connection, temporary_cluster

numbers = count(1)

# Tests are small, and two threads wait for each other where other programs run: one thread, unless told otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Being told to end is like Ctrl-C: fixtures clean up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of this run of pytest."""
    with temporary_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """A database with the extension in it, to clone from; nobody connects to it."""
    cluster.create_database("delc_template")
    with cluster.connect("delc_template") as connection:
        connection.execute("CREATE EXTENSION delc CASCADE")
    return "delc_template"


@pytest.fixture(scope="session")
def shared_database(cluster: Cluster, template: str) -> str:
    """The database that every `db` works in and leaves as it was."""
    cluster.create_database("delc_shared", template)
    return "delc_shared"


@pytest.fixture(scope="session")
def backend(cluster: Cluster, shared_database: str) -> Iterator[list[Connection]]:
    """A place for the connection; a list, so that a test that loses it does not take the others along."""
    place: list[Connection] = [cluster.connect(shared_database, autocommit=False)]
    yield place
    place[0].close()


@pytest.fixture
def db(cluster: Cluster, shared_database: str, backend: list[Connection]) -> Iterator[Connection]:
    """A superuser's connection inside a transaction that is rolled back after the test."""
    if backend[0].closed:
        backend[0] = cluster.connect(shared_database, autocommit=False)
    connection = backend[0]
    yield connection
    if not connection.closed:
        connection.rollback()


@pytest.fixture
def new_database(cluster: Cluster, template: str) -> Iterator[Callable[[], str]]:
    """Makes databases with the extension in them and returns their names; dropped after the test."""
    with ExitStack() as cleanup:

        def make() -> str:
            name = f"delc_fresh_{next(numbers)}"
            cluster.create_database(name, template)
            cleanup.callback(cluster.drop_database, name)
            return name

        yield make


@pytest.fixture
def fresh_database(new_database: Callable[[], str]) -> str:
    """The name of a database of this test's own, with the extension in it."""
    return new_database()


@pytest.fixture
def fresh_db(cluster: Cluster, fresh_database: str) -> Iterator[Connection]:
    """A superuser's autocommit connection to `fresh_database`."""
    with cluster.connect(fresh_database) as connection:
        yield connection


@pytest.fixture
def new_role(cluster: Cluster) -> Iterator[Callable[..., str]]:
    """Makes roles that may log in, members of the roles given, and returns their names; dropped after the test.

    Ask for it before `fresh_database` (or through `connect_as`): a role can only go after the database that knows it.
    """
    with ExitStack() as cleanup:

        def make(*memberships: str) -> str:
            name = f"delc_tester_{next(numbers)}"
            groups = ", ".join(f'"{membership}"' for membership in memberships)
            with cluster.connect() as connection:
                connection.execute(f'CREATE ROLE "{name}" LOGIN' + (f" IN ROLE {groups}" if groups else ""))
            cleanup.callback(drop_role, cluster, name)
            return name

        yield make


def drop_role(cluster: Cluster, name: str) -> None:
    with cluster.connect() as connection:
        connection.execute(f'DROP ROLE "{name}"')


@pytest.fixture
def connect_as(
    cluster: Cluster, new_role: Callable[..., str], fresh_database: str
) -> Iterator[Callable[..., Connection]]:
    """Opens autocommit connections to `fresh_database` as a role; closed after the test."""
    with ExitStack() as cleanup:

        def connect(role: str, database: str | None = None, **options: Any) -> Connection:
            connection = cluster.connect(database or fresh_database, user=role, **options)
            return cleanup.enter_context(connection)

        yield connect
