"""Runs that fail, are cancelled or lose their session leave a record, although their transaction is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, PRICES, dataset, train
from support.sessions import PATIENCE_SECONDS, running, wait_for_progress
from support.workplace import failure, record, rows, value, workplace

ENDLESS = train("endless", "flowers", epochs="1000000")
DIVERGES = train("wild", "prices", optimizer="'sgd'", learning_rate="1e30")


@pytest.fixture(scope="module")
def database(cluster: Cluster, template: str) -> Iterator[str]:
    statements = [
        FLOWERS,
        PRICES,
        dataset("flowers", "flowers", "species"),
        dataset("prices", "prices", "price, tax"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection.info.dbname


@pytest.fixture(scope="module")
def db(cluster: Cluster, database: str) -> Iterator[Connection]:
    """An autocommit session."""
    with cluster.connect(database) as connection:
        yield connection


def last_failure(db: Connection) -> dict[str, Any]:
    return record(db, "SELECT * FROM delc.runs WHERE outcome <> 'succeeded' ORDER BY id DESC LIMIT 1")


def wait_for_record(db: Connection, run_id: int) -> dict[str, Any]:
    """The record of a run, which a worker is about to write."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value(db, "SELECT count(*) FROM delc.runs WHERE id = %s", run_id):
            return record(db, "SELECT * FROM delc.runs WHERE id = %s", run_id)
        time.sleep(0.01)
    raise AssertionError(f"there is no record of run {run_id}")


def test_a_run_that_fails_leaves_a_record_with_its_error(db: Connection) -> None:
    error = failure(db, DIVERGES)
    found = last_failure(db)
    assert (found["operation"], found["subject"], found["outcome"]) == ("train", "wild", "failed")
    assert found["error_code"] == error.sqlstate == "22000"
    assert "learning_rate" in found["error_message"]
    assert float(found["arguments"]["learning_rate"]) == 1e30
    assert (found["username"], found["seed"]) == ("postgres", 0)
    assert found["finished_at"] > found["started_at"]


def test_a_run_that_fails_before_it_reads_a_row_leaves_a_record(db: Connection) -> None:
    failure(db, train("any", "nowhere"))
    assert (last_failure(db)["subject"], last_failure(db)["error_code"]) == ("any", "42704")


def test_what_had_been_measured_is_kept(cluster: Cluster, db: Connection, database: str) -> None:
    with running(cluster, database, ENDLESS) as training:
        run_id = wait_for_progress(db, training, "training")["run_id"]
        while wait_for_progress(db, training, "training")["epoch"] < 3:
            pass
        db.execute("SELECT pg_cancel_backend(%s)", [training.pid])
        training.ended()
    wait_for_record(db, run_id)
    epochs = value(db, "SELECT count(*) FROM delc.learning_curves WHERE run_id = %s AND split = 'train'", run_id)
    assert epochs >= 2


def test_a_cancelled_run_leaves_a_record(cluster: Cluster, db: Connection, database: str) -> None:
    with running(cluster, database, ENDLESS) as training:
        run_id = wait_for_progress(db, training, "training")["run_id"]
        db.execute("SELECT pg_cancel_backend(%s)", [training.pid])
        training.ended()
    found = wait_for_record(db, run_id)
    assert (found["outcome"], found["error_code"]) == ("cancelled", "57014")


def test_a_run_that_times_out_leaves_a_record(db: Connection) -> None:
    db.execute("SET statement_timeout = '300ms'")
    failure(db, ENDLESS)
    db.execute("RESET statement_timeout")
    found = last_failure(db)
    assert (found["outcome"], found["error_code"]) == ("cancelled", "57014")
    assert "timeout" in found["error_message"]


def test_a_run_whose_session_is_terminated_leaves_a_record(cluster: Cluster, db: Connection, database: str) -> None:
    with running(cluster, database, ENDLESS) as training:
        run_id = wait_for_progress(db, training, "training")["run_id"]
        db.execute("SELECT pg_terminate_backend(%s)", [training.pid])
        training.ended()
    found = wait_for_record(db, run_id)
    assert (found["outcome"], found["error_code"]) == ("cancelled", "57P01")
    assert value(db, "SELECT count(*) FROM delc.models WHERE name = 'endless'") == 0


def test_a_caller_that_catches_the_error_goes_on_and_the_record_stays(db: Connection) -> None:
    before = value(db, "SELECT count(*) FROM delc.runs WHERE outcome = 'failed'")
    db.execute(
        "CREATE TEMP TABLE survived AS SELECT 1; DO $$ BEGIN"
        f" BEGIN PERFORM {DIVERGES.removeprefix('SELECT * FROM ')}; EXCEPTION WHEN data_exception THEN"
        " INSERT INTO survived VALUES (2); END;"
        f" PERFORM {train('calm', 'prices', epochs='1').removeprefix('SELECT * FROM ')}; END $$"
    )
    assert rows(db, "TABLE survived") == [(1,), (2,)]
    assert value(db, "SELECT count(*) FROM delc.runs WHERE outcome = 'failed'") == before + 1
    assert value(db, "SELECT count(*) FROM delc.models WHERE name = 'calm'") == 1
    db.execute("SELECT delc.drop_model('calm')")


def test_the_record_survives_the_rollback_of_the_whole_transaction(cluster: Cluster, database: str) -> None:
    with cluster.connect(database, autocommit=False) as connection:
        before = value(connection, "SELECT count(*) FROM delc.runs WHERE outcome = 'failed'")
        with pytest.raises(psycopg.Error):
            connection.execute(DIVERGES)
        connection.rollback()
        assert value(connection, "SELECT count(*) FROM delc.runs WHERE outcome = 'failed'") == before + 1


def test_a_failed_run_in_a_read_only_transaction_leaves_a_record(cluster: Cluster, database: str) -> None:
    with cluster.connect(database, autocommit=False) as connection:
        before = value(connection, "SELECT max(id) FROM delc.runs")
        connection.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(train("any", "flowers", epochs="1"))
        connection.rollback()
        assert value(connection, "SELECT count(*) FROM delc.models WHERE name = 'any'") == 0
        assert value(connection, "SELECT count(*) FROM delc.runs WHERE id > %s AND outcome = 'failed'", before) <= 1


def test_every_operation_that_fails_leaves_a_record(db: Connection) -> None:
    db.execute(train("good", "flowers", epochs="1"))
    failure(db, "SELECT delc.create_dataset('bad', 'nowhere')")
    assert last_failure(db)["operation"] == "create_dataset"
    failure(db, "SELECT delc.commit_dataset('nowhere')")
    assert last_failure(db)["operation"] == "commit_dataset"
    failure(db, "SELECT * FROM delc.evaluate('good', 'SELECT 1 AS x')")
    assert last_failure(db)["operation"] == "evaluate"


def test_failed_runs_are_counted_by_day_and_are_no_lineage(db: Connection) -> None:
    failure(db, DIVERGES)
    assert value(db, "SELECT sum(runs) FROM delc.runs_per_day WHERE operation = 'train' AND outcome = 'failed'") >= 1
    failed = "SELECT count(*) FROM delc.lineage JOIN delc.runs ON id = run_id WHERE outcome <> 'succeeded'"
    assert value(db, failed) == 0


def test_the_error_that_the_user_sees_is_the_first_one(db: Connection) -> None:
    error = failure(db, DIVERGES)
    assert "the loss is" in str(error.diag.message_primary)
    assert error.diag.message_hint is not None


def test_without_a_free_worker_the_record_goes_to_the_servers_log(bare_cluster: Cluster) -> None:
    with bare_cluster.connect() as connection:
        error = failure(connection, train("lost", "nowhere"))
        assert error.sqlstate == "42704"
        assert value(connection, "SELECT count(*) FROM delc.runs WHERE subject = 'lost'") == 0
    logged = bare_cluster.log
    assert "could not record a failed run" in logged
    assert '"subject": "lost"' in logged
    assert "max_worker_processes" in logged
