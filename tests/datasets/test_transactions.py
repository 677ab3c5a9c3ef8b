"""Data sets and transactions: rolled back, at the same time, cancelled, dumped and restored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster, Connection
from support.datasets import Row, add_customers, commit, create, keys, make_customers, read, splits, value

STORE = "SELECT count(*) FROM pg_class WHERE relnamespace = 'delc_data'::regnamespace"


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Starts ``work`` in a thread; its result or database error will be in the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except psycopg.Error as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def wait_until_blocked(db: Connection, blocked: Connection) -> None:
    """Waits until the other session waits for a lock."""
    statement = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock')"
    while not value(db, statement, blocked.info.backend_pid):
        threading.Event().wait(0.01)


def test_a_data_set_that_is_rolled_back_leaves_nothing(fresh_db: Connection) -> None:
    make_customers(fresh_db)
    with fresh_db.transaction(force_rollback=True):
        create(fresh_db, "customers", "customers", target="churned")
        add_customers(fresh_db, 101, 110)
        commit(fresh_db, "customers")
    assert value(fresh_db, STORE) == 0
    for table in ("datasets", "dataset_versions", "dataset_version_parents", "runs", "run_outputs"):
        assert value(fresh_db, f"SELECT count(*) FROM delc.{table}") == 0


def test_a_commit_that_is_rolled_back_leaves_the_version_before(fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers", target="churned")
    before = splits(fresh_db, "customers")
    with fresh_db.transaction(force_rollback=True):
        add_customers(fresh_db, 101, 110)
        commit(fresh_db, "customers")
    assert splits(fresh_db, "customers") == before
    add_customers(fresh_db, 101, 105)
    assert commit(fresh_db, "customers")["dataset"] == "customers@2"


def test_a_failure_leaves_nothing_but_its_record(fresh_db: Connection) -> None:
    with pytest.raises(psycopg.errors.DataException):
        create(fresh_db, "x", "SELECT i % 2 AS id FROM generate_series(1, 10) AS i", key="id")
    assert value(fresh_db, STORE) == 0
    row = fresh_db.execute("SELECT operation, subject, outcome, error_code FROM delc.runs").fetchone()
    assert row == ("create_dataset", "x", "failed", "22000")


def test_an_error_that_is_caught_leaves_settings_as_they_were(fresh_db: Connection) -> None:
    settings = (
        "SELECT current_setting('work_mem'), current_setting('jit'), current_setting('search_path'), current_user"
    )
    before = fresh_db.execute(settings).fetchone()
    with fresh_db.transaction():
        fresh_db.execute("""
            DO $$ BEGIN
                PERFORM delc.create_dataset('x', 'SELECT i % 2 AS id FROM generate_series(1, 10) AS i', key => 'id');
            EXCEPTION WHEN data_exception THEN NULL;
            END $$
        """)
        assert fresh_db.execute(settings).fetchone() == before
        create(fresh_db, "y", "SELECT 1 AS id", key="id")
        assert fresh_db.execute(settings).fetchone() == before


def test_two_commits_at_the_same_time_come_one_after_the_other(
    cluster: Cluster, fresh_database: str, fresh_db: Connection
) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers")
    with cluster.connect(fresh_database) as first, cluster.connect(fresh_database) as second:
        with first.transaction():
            add_customers(first, 101, 110)
            commit(first, "customers")
            thread, outcome = in_background(lambda: commit(second, "customers"))
            wait_until_blocked(fresh_db, second)
        thread.join()
        # The second waited, and sees what the first committed: there is nothing left to take.
        assert (outcome[0]["dataset"], outcome[0]["added"]) == ("customers@2", 0)
        assert value(fresh_db, "SELECT count(*) FROM delc.dataset_versions") == 2


def test_commits_of_many_sessions_make_one_history(cluster: Cluster, fresh_database: str, fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers")

    def work(session: int) -> list[Row]:
        with cluster.connect(fresh_database) as connection:
            rows = []
            for i in range(5):
                place = 1000 * (session + 1) + i
                add_customers(connection, place, place)
                rows.append(commit(connection, "customers"))
            return rows

    threads = [in_background(partial(work, session)) for session in range(4)]
    for thread, _ in threads:
        thread.join()
    assert [outcome for _, outcome in threads if isinstance(outcome[0], psycopg.Error)] == []
    versions = fresh_db.execute("SELECT number, rows, added FROM delc.dataset_versions ORDER BY number").fetchall()
    assert [number for number, _, _ in versions] == list(range(1, len(versions) + 1))
    assert sum(added for _, _, added in versions) == 120
    for number, rows, _ in versions:
        assert len(read(fresh_db, f"customers@{number}")) == rows
    assert sorted(read(fresh_db, "customers")) == fresh_db.execute("SELECT * FROM customers ORDER BY id").fetchall()


def test_a_commit_in_an_older_snapshot_fails_and_can_be_tried_again(
    cluster: Cluster, fresh_database: str, fresh_db: Connection
) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers")
    with cluster.connect(fresh_database) as late:
        late.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        late.autocommit = False
        value(late, "SELECT count(*) FROM customers")
        add_customers(fresh_db, 101, 110)
        commit(fresh_db, "customers")
        add_customers(late, 111, 120)
        with pytest.raises(psycopg.errors.SerializationFailure):
            commit(late, "customers")
        late.rollback()
        add_customers(late, 111, 120)
        assert commit(late, "customers")["dataset"] == "customers@3"


def test_a_name_is_taken_once_by_two_sessions(cluster: Cluster, fresh_database: str, fresh_db: Connection) -> None:
    with cluster.connect(fresh_database) as first, cluster.connect(fresh_database) as second:
        with first.transaction():
            create(first, "x", "SELECT 1 AS id")
            thread, outcome = in_background(lambda: create(second, "x", "SELECT 2 AS id"))
            wait_until_blocked(fresh_db, second)
        thread.join()
        assert isinstance(outcome[0], psycopg.errors.DuplicateObject)
    assert read(fresh_db, "x") == [(1,)]


def test_dropping_waits_for_a_commit_under_way(cluster: Cluster, fresh_database: str, fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers")
    with cluster.connect(fresh_database) as first, cluster.connect(fresh_database) as second:
        with first.transaction():
            add_customers(first, 101, 110)
            commit(first, "customers")
            thread, outcome = in_background(lambda: value(second, "SELECT delc.drop_dataset('customers')"))
            wait_until_blocked(fresh_db, second)
        thread.join()
        assert outcome == [2]


def test_a_cancelled_query_leaves_nothing_and_the_session_usable(fresh_db: Connection) -> None:
    # Python is loaded before, so that the time runs out while rows are taken, on a busy machine too.
    fresh_db.execute("SELECT * FROM delc.check_python()")
    fresh_db.execute("SET statement_timeout = '1s'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        create(fresh_db, "x", "SELECT i AS id, pg_sleep(0.1) IS NULL AS y FROM generate_series(1, 1000) AS i", key="id")
    fresh_db.execute("RESET statement_timeout")
    assert value(fresh_db, STORE) == 0
    for _ in range(500):  # another process writes the record
        if value(fresh_db, "SELECT count(*) FROM delc.runs"):
            break
        threading.Event().wait(0.01)
    assert value(fresh_db, "SELECT outcome FROM delc.runs") == "cancelled"
    assert create(fresh_db, "x", "SELECT 1 AS id", key="id")["rows"] == 1


def test_a_dump_restores_data_sets_that_take_further_versions(
    cluster: Cluster, fresh_database: str, fresh_db: Connection
) -> None:
    make_customers(fresh_db)
    fresh_db.execute(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE customers ADD mood mood, ADD weights delc.tensor"
    )
    fresh_db.execute("UPDATE customers SET mood = 'good', weights = ARRAY[id, 2]::real[]::delc.tensor")
    create(fresh_db, "customers", "customers", target="churned")
    fresh_db.execute("DELETE FROM customers WHERE id <= 10")
    commit(fresh_db, "customers")
    expected = {version: splits(fresh_db, version) for version in ("customers@1", "customers@2")}

    dump = cluster.pg_dump(fresh_database)
    restored = f"{fresh_database}_restored"
    cluster.create_database(restored, "template0")
    try:
        cluster.psql(restored, dump)
        with cluster.connect(restored) as db:
            assert {version: splits(db, version) for version in expected} == expected
            add_customers(db, 101, 130)
            assert commit(db, "customers")["dataset"] == "customers@3"
            assert create(db, "another", "customers")["dataset"] == "another@1"
            assert set(expected["customers@2"]) < set(keys(db, "customers"))
            owner = "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'd1'"
            assert value(db, owner) == "delc_store"
    finally:
        cluster.drop_database(restored)


def test_a_restored_data_set_keeps_its_rights(
    cluster: Cluster, new_role: Callable[..., str], fresh_database: str, connect_as: Callable[..., Connection]
) -> None:
    alice, bob = new_role("delc_trainer"), new_role("delc_user")
    hers = connect_as(alice)
    create(hers, "x", "SELECT i AS id FROM generate_series(1, 10) AS i", key="id")
    hers.execute("SELECT delc.grant_dataset('x', %s)", (bob,))
    dump = cluster.pg_dump(fresh_database)
    restored = f"{fresh_database}_restored"
    cluster.create_database(restored, "template0")
    try:
        cluster.psql(restored, dump)
        with cluster.connect(restored, user=bob) as his, cluster.connect(restored, user=alice) as hers_again:
            assert len(read(his, "x")) == 10
            assert commit(hers_again, "x")["added"] == 0
    finally:
        cluster.drop_database(restored)


def test_a_replica_reads_versions(cluster: Cluster, fresh_database: str, fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers", target="churned")
    fresh_db.execute("DELETE FROM customers WHERE id <= 10")
    commit(fresh_db, "customers")
    with cluster.standby() as standby:
        cluster.wait_for_standby(standby)
        with standby.connect(fresh_database) as replica:
            for version in ("customers@1", "customers"):
                assert read(replica, version) == read(fresh_db, version)
            rows = "SELECT count(*) FROM delc.dataset_rows(NULL::customers, 'customers@1', 'train')"
            assert value(replica, rows) == 70
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                create(replica, "x", "SELECT 1 AS id")
