"""Histories on bad days: sessions in each other's way, a server that is killed, dumps, and roles that may not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from support.cluster import Cluster, Connection, temporary_cluster
from support.datasets import call, commit, create, keys, make_customers, read, splits, value
from support.sessions import Running, recovered


def appended(first: int, last: int) -> str:
    return (
        "SELECT i AS id, 'r' AS region, 1 AS age, true AS churned"
        f" FROM generate_series({first}, {last}) AS i"
    )  # fmt: skip


@pytest.fixture
def customers(fresh_db: Connection) -> Connection:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers", target="churned")
    return fresh_db


def test_sessions_on_several_branches_make_one_history(
    cluster: Cluster, fresh_database: str, customers: Connection
) -> None:
    branches = ["main", "b", "c"]
    customers.execute("SELECT delc.branch_dataset('customers', 'b'), delc.branch_dataset('customers', 'c')")
    errors: list[psycopg.Error] = []

    def work(place: int) -> None:
        with cluster.connect(fresh_database) as connection:
            for i in range(4):
                query = appended(1000 * place + i, 1000 * place + i)
                try:
                    call(connection, "append_dataset", name=f"customers@{branches[place % 3]}", query=query)
                except psycopg.Error as error:
                    errors.append(error)

    threads = [threading.Thread(target=partial(work, place)) for place in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(read(customers, f"customers@{branch}")) for branch in branches] == [108, 108, 108]
    log = customers.execute("SELECT version, parents, rows FROM delc.dataset_log ORDER BY version").fetchall()
    assert [version for version, _, _ in log] == list(range(1, 26))
    assert all(len(read(customers, f"customers@{version}")) == rows for version, _, rows in log)
    customers.execute(
        "SELECT delc.merge_dataset('customers', 'customers@b'), delc.merge_dataset('customers', 'customers@c')"
    )
    assert len(set(keys(customers, "customers"))) == len(keys(customers, "customers")) == 124


def test_a_session_that_does_not_want_to_wait_can_try_again(
    cluster: Cluster, fresh_database: str, customers: Connection
) -> None:
    with cluster.connect(fresh_database) as other:
        with customers.transaction():
            call(customers, "append_dataset", name="customers", query=appended(200, 201))
            other.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                call(other, "append_dataset", name="customers", query=appended(300, 301))
        assert call(other, "append_dataset", name="customers", query=appended(300, 301))["rows"] == 104


def test_an_older_snapshot_cannot_prune_what_it_does_not_know(
    cluster: Cluster, fresh_database: str, customers: Connection
) -> None:
    with cluster.connect(fresh_database) as late:
        late.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        late.autocommit = False
        value(late, "SELECT count(*) FROM delc.dataset_versions")
        call(customers, "append_dataset", name="customers", query=appended(200, 201))
        with pytest.raises(psycopg.errors.SerializationFailure):
            late.execute("SELECT delc.prune_dataset('customers', 1)")
    assert len(read(customers, "customers")) == 102


def test_everything_in_a_transaction_goes_as_one(customers: Connection) -> None:
    before = splits(customers, "customers")
    state = "SELECT jsonb_agg(l ORDER BY version) FROM delc.dataset_log AS l"
    log = value(customers, state)
    with customers.transaction(force_rollback=True):
        customers.execute("SELECT delc.branch_dataset('customers', 'b'), delc.tag_dataset('customers', 't')")
        customers.execute("ALTER TABLE customers ADD vip boolean DEFAULT true")
        commit(customers, "customers@b")
        call(customers, "split_dataset", name="customers", seed=4)
        customers.execute("SELECT delc.drop_dataset_ref('customers@t')")
        customers.execute("SELECT delc.prune_dataset('customers', 1)")
    assert value(customers, state) == log
    assert splits(customers, "customers") == before
    assert value(customers, "SELECT split_seed FROM delc.datasets") == 0
    assert (
        value(customers, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'delc_data.d1'::regclass AND attnum > 0")
        == 7
    )


def test_a_killed_server_keeps_the_last_version() -> None:
    slow = f"SELECT * FROM ({appended(200, 1000)}) AS a WHERE pg_sleep(0.01) IS NOT NULL"
    append = "SELECT delc.append_dataset('customers', $query${}$query$)"
    with temporary_cluster() as cluster:  # others must not lose their sessions
        with cluster.connect() as db:
            db.execute("CREATE EXTENSION delc CASCADE")
            make_customers(db)
            create(db, "customers", "customers", target="churned")
            expected = {version: read(db, version) for version in ("customers@1", "customers")}
        with cluster.connect() as watcher:
            appending = Running(cluster.connect(), append.format(slow))
            active = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            while not value(watcher, active, appending.pid):
                time.sleep(0.01)
            os.kill(appending.pid, signal.SIGKILL)
            assert isinstance(appending.ended(), psycopg.OperationalError)
            survivor = recovered(cluster, watcher)
        with survivor as db:
            assert {version: read(db, version) for version in expected} == expected
            assert call(db, "append_dataset", name="customers", query=appended(200, 210))["dataset"] == "customers@2"
            assert len(read(db, "customers")) == 111


def test_a_dump_restores_the_whole_history(cluster: Cluster, fresh_database: str, customers: Connection) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', 'b'), delc.tag_dataset('customers', 't')")
    customers.execute("ALTER TABLE customers ALTER age TYPE text, ADD vip boolean")
    commit(customers, "customers")
    call(customers, "correct_dataset", name="customers@b", query="SELECT 1 AS id", remove=True)
    log = "SELECT jsonb_agg(l ORDER BY version) FROM delc.dataset_log AS l"
    versions = ["customers@t", "customers@b", "customers"]
    expected = value(customers, log), [splits(customers, version) for version in versions]
    dump = cluster.pg_dump(fresh_database)
    restored = f"{fresh_database}_restored"
    cluster.create_database(restored, "template0")
    try:
        cluster.psql(restored, dump)
        with cluster.connect(restored) as db:
            assert (value(db, log), [splits(db, version) for version in versions]) == expected
            assert [read(db, version) for version in versions] == [read(customers, version) for version in versions]
            assert call(db, "append_dataset", name="customers@b", query=appended(200, 200))["dataset"] == "customers@4"
    finally:
        cluster.drop_database(restored)


def test_rows_hidden_from_the_committer_are_in_no_version(
    new_role: Callable[..., str], connect_as: Callable[..., Connection], fresh_db: Connection
) -> None:
    make_customers(fresh_db)
    alice, bob = new_role("delc_trainer"), new_role("delc_user")
    fresh_db.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    for role, rows in ((alice, "id <= 10"), (bob, "id <= 2")):
        fresh_db.execute(f'GRANT SELECT ON customers TO "{role}"'.encode())
        fresh_db.execute(f'CREATE POLICY "{role}" ON customers TO "{role}" USING ({rows})'.encode())
    hers, his = connect_as(alice), connect_as(bob)
    create(hers, "customers", "customers")
    hers.execute("SELECT delc.branch_dataset('customers', 'b')")
    call(hers, "correct_dataset", name="customers@b", query="SELECT id, 5 AS age FROM customers")
    count = "SELECT count(*) FROM delc.dataset_rows(NULL::customers, %s)"
    for version in ("customers@1", "customers@b"):
        assert value(hers, count, version) == 10
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not read"):
            value(his, count, version)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not read"):
        his.execute("SELECT * FROM delc.diff_dataset('customers@1', 'customers@b')")
    # Whoever is granted the data set reads all of it: the policies of the source are those of the source.
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'true')", (bob,))
    assert value(his, count, "customers@b") == 10
    assert value(his, "SELECT count(*) FROM customers") == 2


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT delc.branch_dataset('customers', 'x')",
        "SELECT delc.tag_dataset('customers', 'x')",
        "SELECT delc.drop_dataset_ref('customers@b')",
        "SELECT delc.correct_dataset('customers', 'SELECT 1 AS id, 2 AS age')",
        "SELECT delc.append_dataset('customers', 'SELECT 1')",
        "SELECT delc.split_dataset('customers')",
        "SELECT delc.revert_dataset('customers', '1')",
        "SELECT delc.merge_dataset('customers', 'customers@b')",
        "SELECT delc.drop_dataset_version('customers@1')",
        "SELECT delc.prune_dataset('customers')",
    ],
)
def test_only_members_of_the_owner_change_the_history(
    new_role: Callable[..., str], connect_as: Callable[..., Connection], customers: Connection, statement: str
) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', 'b')")
    trainer, user = new_role("delc_trainer"), new_role("delc_user")
    customers.execute(
        "SELECT delc.grant_dataset('customers', %s), delc.grant_dataset('customers', %s)", (trainer, user)
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="you may not"):
        connect_as(trainer).execute(statement.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
        connect_as(user).execute(statement.encode())
