"""kill -9 of a session that trains: after recovery what was committed is there, and nothing half-written."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from support.cluster import Connection, temporary_cluster
from support.examples import FLOWERS, dataset, train
from support.sessions import Running, recovered, wait_for_progress
from support.workplace import record, rows, value

QUICK = {"network": "'linear'", "epochs": "2", "threads": "1"}
PREDICTIONS = "SELECT id, delc.predict_probability('flowers', f, 'setosa') FROM flowers AS f ORDER BY id"


@pytest.fixture(scope="module")
def after() -> Iterator[tuple[Connection, list[tuple[int, float]]]]:
    """A session after the crash, and the predictions from before it."""
    with temporary_cluster() as cluster:
        with cluster.connect() as connection:
            connection.execute("CREATE EXTENSION delc CASCADE")
            connection.execute(FLOWERS)
            connection.execute(dataset("flowers", "flowers", "species"))
            connection.execute(train("flowers", "flowers", **QUICK))
            expected = rows(connection, PREDICTIONS)
        with cluster.connect() as watcher, cluster.connect(autocommit=False) as victim:
            victim.execute(train("uncommitted", "flowers", **QUICK))
            victim.execute(dataset("uncommitted", "flowers", "species"))
            endless = train("endless", "flowers", epochs="1000000", checkpoint_every="1", threads="1")
            training = Running(victim, endless)
            while wait_for_progress(watcher, training, "training")["epoch"] < 3:
                pass
            os.kill(training.pid, signal.SIGKILL)
            training.ended()
            connection = recovered(cluster, watcher)
        with connection:
            yield connection, expected


Crashed = tuple[Connection, list[tuple[int, float]]]


def test_committed_models_predict_as_before(after: Crashed) -> None:
    connection, expected = after
    assert rows(connection, PREDICTIONS) == expected


def test_nothing_of_the_killed_transaction_is_left(after: Crashed) -> None:
    connection, _ = after
    assert rows(connection, "SELECT name FROM delc.models") == [("flowers",)]
    assert rows(connection, "SELECT name FROM delc.datasets") == [("flowers",)]
    assert value(connection, "SELECT count(*) FROM delc.snapshots") == 1
    assert value(connection, "SELECT count(*) FROM delc.parameters") == 2
    assert value(connection, "SELECT count(*) FROM pg_class WHERE relnamespace = 'delc_data'::regnamespace"
                             " AND relkind = 'r' AND relname ~ '^d[0-9]+$'") == 1  # fmt: skip


def test_no_progress_of_the_killed_session_is_left(after: Crashed) -> None:
    connection, _ = after
    assert rows(connection, "SELECT * FROM delc.progress") == []


def test_work_goes_on_with_new_ids(after: Crashed) -> None:
    connection, _ = after
    trained = record(connection, train("flowers", "flowers", **QUICK))
    assert trained["model"] == "flowers@2"
    assert record(connection, dataset("uncommitted", "flowers", "species"))["dataset"] == "uncommitted@1"
