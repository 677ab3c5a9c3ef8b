"""The execution log: what a run leaves in delc.runs, delc.metrics, delc.run_inputs and delc.run_outputs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import record, rolled_back, row, rows, value, workplace


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Two data sets, a model trained on each, and an evaluation."""
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species", seed="5"),
        "UPDATE flowers SET petal = petal + 1 WHERE id <= 30",
        "SELECT * FROM delc.commit_dataset('flowers', 'corrected')",
        train("flowers", "flowers", epochs="3", seed="7"),
        train("flowers", "flowers@1", epochs="3"),
        "SELECT * FROM delc.evaluate('flowers', 'flowers')",
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def run(db: Connection, operation: str) -> dict[str, object]:
    return record(db, "SELECT * FROM delc.runs WHERE operation = %s ORDER BY id LIMIT 1", operation)


def test_every_operation_is_a_run(db: Connection) -> None:
    assert rows(db, "SELECT operation, subject, outcome FROM delc.runs ORDER BY id") == [
        ("create_dataset", "flowers", "succeeded"), ("commit_dataset", "flowers", "succeeded"),
        ("train", "flowers", "succeeded"), ("train", "flowers", "succeeded"), ("evaluate", "flowers@2", "succeeded"),
    ]  # fmt: skip


def test_a_run_keeps_who_when_and_how_long(db: Connection) -> None:
    found = run(db, "train")
    assert found["username"] == "postgres"
    assert found["finished_at"] > found["started_at"]  # type: ignore[operator]
    assert found["duration"] == found["finished_at"] - found["started_at"]  # type: ignore[operator]
    assert found["duration"] > timedelta(0)  # type: ignore[operator]


def test_a_run_keeps_what_it_took(db: Connection) -> None:
    found = run(db, "train")
    assert found["cpu_seconds"] > 0  # type: ignore[operator]
    assert found["peak_memory_bytes"] > 50_000_000  # type: ignore[operator]


def test_a_run_keeps_all_arguments_defaults_included(db: Connection) -> None:
    arguments = run(db, "train")["arguments"]
    assert isinstance(arguments, dict)
    assert (arguments["seed"], arguments["epochs"], arguments["optimizer"]) == (7, 3, "adam")
    assert arguments["network"] == {"architecture": "mlp", "hidden": [16]}
    accepted = value(db, "SELECT proargnames FROM pg_proc WHERE oid = 'delc.train'::regproc")
    assert set(arguments) == set(accepted)


def test_a_run_keeps_its_seed(db: Connection) -> None:
    assert (run(db, "create_dataset")["seed"], run(db, "train")["seed"]) == (5, 7)


def test_a_run_keeps_the_versions_of_everything_that_computes(db: Connection) -> None:
    environment = run(db, "train")["environment"]
    assert isinstance(environment, dict)
    assert set(environment) >= {"postgresql", "delc", "python", "torch", "numpy", "machine", "processor", "threads"}
    assert environment["threads"] == 1


def test_a_succeeded_run_has_no_error(db: Connection) -> None:
    assert row(db, "SELECT count(error_code), count(error_message) FROM delc.runs") == (0, 0)


def test_losses_and_metrics_are_kept_by_epoch(db: Connection) -> None:
    found = rows(
        db,
        "SELECT DISTINCT metric, split, count(*) OVER (PARTITION BY metric, split), max(epoch) OVER ()"
        " FROM delc.metrics WHERE run_id = %s ORDER BY metric, split",
        run(db, "train")["id"],
    )
    assert found == [
        ("accuracy", "validation", 3, 3), ("learning_rate", None, 3, 3), ("loss", "train", 3, 3),
        ("loss", "validation", 3, 3), ("seconds", None, 3, 3),
    ]  # fmt: skip


def test_learning_curves_can_be_charted(db: Connection) -> None:
    curve = "SELECT epoch, value FROM delc.learning_curves WHERE model = 'flowers' AND metric = 'loss'"
    curve += " AND split = 'train' AND run_id = %s ORDER BY epoch"
    epochs, losses = zip(*rows(db, curve, run(db, "train")["id"]), strict=True)
    assert epochs == (1, 2, 3)
    assert losses[0] > losses[2] > 0


def test_inputs_and_outputs_are_kept(db: Connection) -> None:
    run_id = run(db, "train")["id"]
    inputs = "SELECT dataset_version_id, model_version_id, split FROM delc.run_inputs WHERE run_id = %s"
    outputs = "SELECT dataset_version_id, model_version_id FROM delc.run_outputs WHERE run_id = %s"
    assert rows(db, inputs, run_id) == [(2, None, "train")]
    assert rows(db, outputs, run_id) == [(None, 1)]


def test_lineage_tells_what_a_model_was_trained_on(db: Connection) -> None:
    found = rows(db, "SELECT source_kind, source, source_split, result_kind, result, username FROM delc.lineage"
                     " WHERE operation = 'train' ORDER BY result")  # fmt: skip
    assert found == [
        ("dataset", "flowers@2", "train", "model", "flowers@1", "postgres"),
        ("dataset", "flowers@1", "train", "model", "flowers@2", "postgres"),
    ]


def test_lineage_tells_what_came_of_a_version_of_data(db: Connection) -> None:
    found = rows(db, "SELECT operation, result FROM delc.lineage WHERE source = 'flowers@2' ORDER BY run_id")
    assert ("train", "flowers@1") in found
    assert ("evaluate", None) in found


def test_lineage_tells_which_run_made_a_version_of_data(db: Connection) -> None:
    found = rows(db, "SELECT operation, result FROM delc.lineage WHERE result_kind = 'dataset' ORDER BY run_id")
    assert found == [("create_dataset", "flowers@1"), ("commit_dataset", "flowers@2")]


def test_runs_are_counted_by_day(db: Connection) -> None:
    db.execute("UPDATE delc.runs SET started_at = started_at - interval '2 days' WHERE operation = 'create_dataset'")
    found = rows(db, "SELECT operation, outcome, runs FROM delc.runs_per_day ORDER BY day, operation")
    assert found[0] == ("create_dataset", "succeeded", 1)
    assert ("train", "succeeded", 2) in found
    assert value(db, "SELECT count(DISTINCT day) FROM delc.runs_per_day") == 2


def test_a_version_names_the_run_that_made_it(db: Connection) -> None:
    made = "SELECT version.run_id = output.run_id FROM delc.model_versions AS version"
    made += " JOIN delc.run_outputs AS output ON output.model_version_id = version.id"
    assert rows(db, made) == [(True,), (True,)]


def test_a_run_that_is_rolled_back_leaves_nothing(place: Connection) -> None:
    with rolled_back(place) as db:
        before = value(db, "SELECT count(*) FROM delc.runs")
        db.execute(train("gone", "flowers", epochs="1"))
        assert value(db, "SELECT count(*) FROM delc.runs") == before + 1
    with rolled_back(place) as db:
        assert value(db, "SELECT count(*) FROM delc.runs") == before


def test_ids_of_runs_are_never_used_again(db: Connection) -> None:
    first = record(db, train("any", "flowers", epochs="1"))["run_id"]
    db.rollback()
    assert record(db, train("any", "flowers", epochs="1"))["run_id"] > first


def test_runs_within_one_transaction_are_all_kept(db: Connection) -> None:
    before = value(db, "SELECT count(*) FROM delc.runs")
    db.execute(
        "DO $$ BEGIN FOR i IN 1..3 LOOP PERFORM "
        + train("many", "flowers", epochs="1").removeprefix("SELECT * FROM ")
        + "; END LOOP; END $$"
    )
    assert value(db, "SELECT count(*) FROM delc.runs") == before + 3
