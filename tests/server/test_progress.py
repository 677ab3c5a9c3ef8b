"""delc.progress: what a running operation tells the other sessions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.sessions import running, wait_for_progress
from support.workplace import failure, message, rows, value, workplace

ENDLESS = train("endless", "flowers", epochs="1000000")


@pytest.fixture(scope="module")
def database(cluster: Cluster, template: str) -> Iterator[str]:
    with workplace(cluster, template, FLOWERS, dataset("flowers", "flowers", "species")) as connection:
        connection.commit()
        yield connection.info.dbname


@pytest.fixture
def watcher(cluster: Cluster, database: str) -> Iterator[Connection]:
    """Another session."""
    with cluster.connect(database) as connection:
        yield connection


def test_a_training_can_be_watched_from_another_session(cluster: Cluster, database: str, watcher: Connection) -> None:
    with running(cluster, database, ENDLESS) as training:
        found = wait_for_progress(watcher, training, "training")
        assert (found["operation"], found["subject"], found["username"]) == ("train", "endless", "postgres")
        assert found["epochs"] == 1000000
        assert 1 <= found["batch"] <= found["batches"] <= 7
        earlier = found["epoch"]
        while wait_for_progress(watcher, training, "training")["epoch"] == earlier:
            pass
        assert wait_for_progress(watcher, training, "training")["loss"] is not None
        watcher.execute("SELECT pg_cancel_backend(pid) FROM delc.progress")
        training.ended()
        assert rows(watcher, "SELECT * FROM delc.progress") == []


def test_the_run_has_the_id_that_progress_told(cluster: Cluster, database: str, watcher: Connection) -> None:
    with running(cluster, database, ENDLESS) as training:
        run_id = wait_for_progress(watcher, training, "training")["run_id"]
        watcher.execute("SELECT pg_cancel_backend(%s)", [training.pid])
        training.ended()
    assert value(watcher, "SELECT outcome FROM delc.runs WHERE id = %s", run_id) == "cancelled"


def test_a_session_that_ends_leaves_no_progress(cluster: Cluster, database: str, watcher: Connection) -> None:
    with running(cluster, database, ENDLESS) as training:
        wait_for_progress(watcher, training, "training")
        watcher.execute("SELECT pg_terminate_backend(%s)", [training.pid])
        training.ended()
    while value(watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", training.pid):
        pass
    assert rows(watcher, "SELECT * FROM delc.progress") == []


def test_other_databases_do_not_show(
    cluster: Cluster, database: str, watcher: Connection, fresh_db: Connection
) -> None:
    with running(cluster, database, ENDLESS) as training:
        wait_for_progress(watcher, training)
        assert rows(fresh_db, "SELECT * FROM delc.progress") == []


def test_a_name_is_not_cut_within_a_character(cluster: Cluster, database: str, watcher: Connection) -> None:
    name = "ä" * 31  # 62 bytes
    with running(cluster, database, train(name, "flowers", epochs="1000000")) as training:
        assert wait_for_progress(watcher, training)["subject"] == name


def test_without_preloading_the_view_says_what_to_do(bare_cluster: Cluster) -> None:
    with bare_cluster.connect() as connection:
        if connection.info.server_version >= 170000:
            assert rows(connection, "SELECT * FROM delc.progress") == []
        else:
            error = failure(connection, "SELECT * FROM delc.progress")
            assert error.sqlstate == "55000"
            assert "shared_preload_libraries" in message(error)
