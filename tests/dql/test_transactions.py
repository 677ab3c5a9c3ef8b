"""Queries within transactions: rolled back, cancelled, seen by other sessions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from support.alexnets import DATASET, DIGITS, train
from support.cluster import Cluster, Connection
from support.sessions import PATIENCE_SECONDS, STOPS_WITHIN_SECONDS, running, wait_for_progress
from support.workplace import prepared, rows, value

CONFIG = 'SELECT delc.save_config(\'c\', \'{"dataset": "digits", "batch_size": 1}\')'
LONG = (
    'select delc.dql(\'evaluate m from (select a) with config = "c" vary config.lr auto keep top(1, m["loss"], 2000)\')'
)


@pytest.fixture(scope="module")
def template(cluster: Cluster, template: str) -> Iterator[str]:
    """A database with a model and a configuration."""
    with prepared(cluster, template, DIGITS, DATASET.format(name="digits", seed=0), train("alexnet_1"), CONFIG) as name:
        yield name


def counts(db: Connection) -> list[int]:
    tables = ("models", "model_versions", "layers", "snapshots", "parameters", "runs", "metrics", "trials", "queries")
    return [value(db, f"SELECT count(*) FROM delc.{table}") for table in tables]


def test_a_rollback_leaves_nothing(fresh_database: str, cluster: Cluster, fresh_db: Connection) -> None:
    before = counts(fresh_db)
    with cluster.connect(fresh_database, autocommit=False) as session:
        session.execute("SELECT delc.save_query('q', 'select m')")
        session.execute("SELECT delc.dql('construct n from m mutate m[\"conv1\"].insert = RELU')")
        session.execute('SELECT delc.dql(\'evaluate t from "q" with config = "c" keep top(1, t.loss, 1)\')')
        session.rollback()
    assert counts(fresh_db) == before


def test_a_plan_leaves_nothing(fresh_database: str, fresh_db: Connection) -> None:
    before = counts(fresh_db)
    made = 'construct n from m mutate m["conv1"].insert = RELU'
    plan = fresh_db.execute(
        "SELECT source, detail FROM delc.dql(%s, dry_run => true)",
        [f'evaluate t from ({made}) with config = "c" vary config.lr in [0.1, 0.01] keep top(1, t["loss"], 9)'],
    ).fetchall()
    assert plan[:4] == [
        ("construct n", "1 network to build"),
        ("alexnet_1@1", "alexnet_1-n: relu1 (relu) after conv1"),
        ("evaluate t", "1 model: alexnet_1-n@1"),
        ("config.lr", "2 values: 0.1, 0.01"),
    ]
    assert dict(plan)["iterations"] == "12 at most; 18 were every trial trained to the end"
    assert counts(fresh_db) == before


def test_trials_read_what_the_caller_has_not_committed(fresh_database: str, cluster: Cluster) -> None:
    with cluster.connect(fresh_database, autocommit=False) as session:
        session.execute(DATASET.format(name="mine", seed=9))
        session.execute("SET delc.trial_workers = 2")
        mine = '{"dataset": "mine", "batch_size": 1, "search": {"stopping": "none"}}'
        session.execute("SELECT delc.save_config('mine', %s)", [mine])
        query = (
            'evaluate m from (select a) with config = "mine" vary config.lr in [0.001, 0.0001] keep top(1, m.loss, 60)'
        )
        plan = dict(rows(session, "SELECT source, detail FROM delc.dql(%s, true)", query))
        assert (
            plan["processes"]
            == "2, the session's own among them, one thread each; they read the rows that this session sees"
        )
        states = rows(session, "SELECT state FROM delc.dql(%s)", query)
        assert states == [("kept",), ("finished",)]
        session.rollback()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_cancel_ends_all_trials(fresh_database: str, cluster: Cluster, fresh_db: Connection, workers: int) -> None:
    before = counts(fresh_db)
    with running(cluster, fresh_database, LONG, f"SET delc.trial_workers = {workers}") as query:
        seen = wait_for_progress(fresh_db, query, "%trials done, %running%")
        assert seen["operation"] == "dql"
        assert seen["epochs"] == 2000
        processes = worker_processes(query.pid)
        assert len(processes) == workers - 1
        started = time.monotonic()
        fresh_db.execute("SELECT pg_cancel_backend(%s)", [query.pid])
        error = query.ended()
        assert time.monotonic() - started < STOPS_WITHIN_SECONDS
        assert isinstance(error, psycopg.errors.QueryCanceled)
        assert [process for process in processes if is_there(process)] == []
    assert counts(fresh_db)[:5] == before[:5]
    outcome = rows(fresh_db, "SELECT outcome FROM delc.runs WHERE operation = 'dql'")
    assert outcome == [("cancelled",)]


def test_the_end_of_the_session_ends_its_trials(fresh_database: str, cluster: Cluster, fresh_db: Connection) -> None:
    with running(cluster, fresh_database, LONG, "SET delc.trial_workers = 3") as query:
        wait_for_progress(fresh_db, query, "%running%")
        processes = worker_processes(query.pid)
        assert len(processes) == 2
        fresh_db.execute("SELECT pg_terminate_backend(%s)", [query.pid])
        query.ended()
        deadline = time.monotonic() + STOPS_WITHIN_SECONDS
        while any(map(is_there, processes)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [process for process in processes if is_there(process)] == []


CLIENT = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as session:
    session.execute(sys.argv[2])
    print(session.info.backend_pid, flush=True)
    session.execute(sys.argv[3])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_that_is_killed_ends_its_trials(
    fresh_database: str, cluster: Cluster, fresh_db: Connection, workers: int
) -> None:
    there = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    reported = "SELECT count(*) FROM delc.progress WHERE pid = %s AND phase LIKE '%%running%%'"
    setting = f"SET delc.trial_workers = {workers}"
    arguments = [sys.executable, "-c", CLIENT, make_conninfo(**cluster.parameters(fresh_database)), setting, LONG]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        backend = int(client.stdout.readline())
        try:
            wait_until(lambda: value(fresh_db, reported, backend) == 1)
            processes = worker_processes(backend)
            assert len(processes) == workers - 1
        finally:
            client.kill()
    wait_until(lambda: value(fresh_db, there, backend) == 0)
    wait_until(lambda: not any(map(is_there, processes)))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


SHARED = (
    'SELECT number, state, value FROM delc.dql(\'evaluate m from (select a where a.name = "alexnet_1")'
    ' with config = "c" vary config.lr in [0.01, 0.001, 0.0001] keep top(1, m["loss"], 60)\')'
)


@pytest.fixture
def session(fresh_database: str, cluster: Cluster) -> Iterator[Connection]:
    """A session whose queries share their trials with one other process."""
    with cluster.connect(fresh_database, autocommit=False) as connection:
        connection.execute("SET delc.trial_workers = 2")
        connection.commit()
        yield connection


def undone(session: Connection) -> list[tuple[object, ...]]:
    """The trials of a search that is rolled back: the next one is planned by the sizes of the networks again, and not
    by the seconds that this one took, which could say that a second process does not pay.
    """
    trials = rows(session, SHARED)
    session.rollback()
    return trials


def test_workers_wait_for_the_next_query_of_the_session(session: Connection) -> None:
    backend = session.info.backend_pid
    first, processes = undone(session), worker_processes(backend)
    assert len(processes) == 1
    assert all(map(is_there, processes))
    assert undone(session) == first
    assert worker_processes(backend) == processes


def test_a_worker_that_waits_no_longer_is_started_again(session: Connection) -> None:
    backend = session.info.backend_pid
    first = undone(session)
    (waiting,) = worker_processes(backend)
    os.kill(waiting, signal.SIGKILL)
    assert undone(session) == first
    (another,) = worker_processes(backend)
    assert another != waiting


UNCUT = '{"dataset": "digits", "batch_size": 1, "search": {"stopping": "none"}}'
FOUR = LONG.replace("2000", "30").replace("select delc.dql", "select run_id from delc.dql")


def test_a_worker_that_is_killed_takes_its_trial_with_it_and_no_other(
    fresh_database: str, cluster: Cluster, fresh_db: Connection
) -> None:
    fresh_db.execute("SELECT delc.save_config('c', %s)", [UNCUT])  # from its start to its end a trial has one process
    with running(cluster, fresh_database, FOUR, "SET delc.trial_workers = 2") as query:
        wait_for_progress(fresh_db, query, "%2 running%")
        (process,) = worker_processes(query.pid)
        os.kill(process, signal.SIGKILL)
        assert query.ended() is None
    states = [state for (state,) in rows(fresh_db, "SELECT state FROM delc.trials ORDER BY state")]
    assert len(states) == 4
    assert states.count("kept") == 1
    assert [state for state in states if state.startswith("failed")] == [
        "failed: the process of a worker ended with signal 9; its messages are in the server's log"
    ]


def test_a_cancelled_search_is_logged_with_what_it_has_tried(
    fresh_database: str, cluster: Cluster, fresh_db: Connection
) -> None:
    slow = LONG.replace("2000", "81")
    with running(cluster, fresh_database, slow.replace("vary", "vary config.weight_decay in [0, 0.1] and")) as query:
        wait_for_progress(fresh_db, query, "%best loss%")
        fresh_db.execute("SELECT pg_cancel_backend(%s)", [query.pid])
        assert isinstance(query.ended(), psycopg.errors.QueryCanceled)
    (trials,) = rows(fresh_db, "SELECT arguments -> 'trials' FROM delc.runs WHERE operation = 'dql'")[0]
    assert trials[0]["trial"] == 1
    assert trials[0]["from_model"] == "alexnet_1@1"
    assert trials[0]["iterations"] > 0
    assert trials[0]["value"] is not None
    assert set(trials[0]["hyperparameters"]) == {"weight_decay", "lr"}


def worker_processes(parent: int) -> list[int]:
    """The processes that a server process has started."""
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as children:
        return [int(process) for process in children.read().split()]


def is_there(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
