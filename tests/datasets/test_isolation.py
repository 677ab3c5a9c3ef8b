"""Two sessions at one data set, at every isolation level: one after the other or an error to try again after, and
readers see what was there when they began.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from support.cluster import Cluster, Connection
from support.datasets import add_customers, call, commit, create, make_customers, query_text, read, value

READ_COMMITTED, *OLDER_SNAPSHOTS = (
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
)
LEVELS = [READ_COMMITTED, *OLDER_SNAPSHOTS]
NAMES = [level.name for level in LEVELS]


@pytest.fixture
def customers(fresh_db: Connection) -> Connection:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers", target="churned")
    return fresh_db


def require_one_history(db: Connection) -> None:
    """Versions are numbered without gaps, and each has as many rows, all different, as it says."""
    log = db.execute("SELECT version, rows FROM delc.dataset_log ORDER BY version").fetchall()
    assert [version for version, _ in log] == list(range(1, len(log) + 1))
    for version, rows in log:
        found = [row[0] for row in read(db, f"customers@{version}")]
        assert len(found) == len(set(found)) == rows


@pytest.mark.parametrize("level", LEVELS, ids=NAMES)
def test_sessions_that_try_again_make_one_history(
    cluster: Cluster, fresh_database: str, customers: Connection, level: IsolationLevel
) -> None:
    errors: list[psycopg.Error] = []

    def append(connection: Connection, place: int) -> None:
        """Appends a row, again after an error that says so."""
        query = f"SELECT {place} AS id, 'r' AS region, 1 AS age, true AS churned"
        for _ in range(1000):
            try:
                with connection.transaction():
                    call(connection, "append_dataset", name="customers", query=query)
                return
            except psycopg.errors.SerializationFailure:
                continue
        raise AssertionError("never got through")

    def work(session: int) -> None:
        with cluster.connect(fresh_database) as connection:
            connection.isolation_level = level
            try:
                for i in range(4):
                    append(connection, 1000 * session + i)
            except psycopg.Error as error:
                errors.append(error)

    threads = [threading.Thread(target=partial(work, session)) for session in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(read(customers, "customers")) == 116
    assert value(customers, "SELECT count(*) FROM delc.dataset_versions") == 17
    require_one_history(customers)


@pytest.mark.parametrize("level", OLDER_SNAPSHOTS, ids=NAMES[1:])
@pytest.mark.parametrize(
    "meanwhile",
    [
        "SELECT delc.commit_dataset('customers')",
        "SELECT delc.prune_dataset('customers', keep_last => 1)",
        "SELECT delc.drop_dataset_version('customers@1')",
        "SELECT delc.split_dataset('customers', test => 0.4)",
        "SELECT delc.sample_dataset('customers', 'customers@small', rows => 10)",
        "SELECT delc.drop_dataset('customers')",
    ],
)
def test_a_change_in_a_snapshot_older_than_the_last_one_is_refused(
    cluster: Cluster, fresh_database: str, customers: Connection, level: IsolationLevel, meanwhile: str
) -> None:
    customers.execute("UPDATE customers SET age = 1 WHERE id <= 5")
    commit(customers, "customers")
    customers.execute("UPDATE customers SET age = 2 WHERE id <= 5")
    with cluster.connect(fresh_database, autocommit=False) as late:
        late.isolation_level = level
        value(late, "SELECT count(*) FROM customers")
        customers.execute(meanwhile.encode())
        with pytest.raises(psycopg.errors.SerializationFailure):
            commit(late, "customers")


@pytest.mark.parametrize("level", LEVELS, ids=NAMES)
def test_a_reader_sees_nothing_of_a_commit_under_way(
    cluster: Cluster, fresh_database: str, customers: Connection, level: IsolationLevel
) -> None:
    before = read(customers, "customers")
    with cluster.connect(fresh_database, autocommit=False) as reader:
        reader.isolation_level = level
        text = query_text(reader, "customers").encode()

        def read_again() -> list[tuple[Any, ...]]:
            return reader.execute(text).fetchall()

        with customers.transaction():
            customers.execute("DELETE FROM customers WHERE id <= 50; UPDATE customers SET age = 7")
            add_customers(customers, 101, 110)
            commit(customers, "customers")
            assert read(reader, "customers") == before == read_again()
        # The text is that of a version, which never changes; the name is that of whatever the reader's snapshot has.
        assert read_again() == before
        assert len(read(reader, "customers")) == (60 if level is READ_COMMITTED else 100)


def test_a_reader_without_roles_of_delc_reads_a_view_of_a_version(
    new_role: Callable[..., str], cluster: Cluster, fresh_database: str, customers: Connection
) -> None:
    customers.execute("DELETE FROM customers WHERE id <= 50")
    commit(customers, "customers")
    customers.execute(f"CREATE VIEW now AS {query_text(customers, 'customers')}".encode())
    role = new_role()
    customers.execute(f'GRANT SELECT ON now TO "{role}"'.encode())
    with cluster.connect(fresh_database, user=role) as reader:
        assert value(reader, "SELECT count(*) FROM now") == 50
