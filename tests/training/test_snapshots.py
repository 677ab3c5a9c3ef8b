"""Snapshots of a training: found by epoch, predicted with, evaluated, dropped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The model flowers and noise with a snapshot of every epoch."""
    statements = [
        FLOWERS,
        "CREATE TABLE noise AS SELECT i AS id, sin(i * 12.9898)::real AS x, hashint4(i) % 2 = 0 AS y"
        " FROM generate_series(1, 100) AS i",
        dataset("flowers", "flowers", "species"),
        dataset("noise", "noise", "y", key="'id'"),
        train("flowers", "flowers", checkpoint_every="1", epochs="4"),
        train("noise", "noise", checkpoint_every="1", epochs="12", keep_optimizer="true"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def probability(db: Connection, model: str) -> float:
    found: float = value(db, "SELECT delc.predict_probability(%s, f, 'setosa') FROM flowers AS f WHERE id = 3", model)
    return found


def test_each_snapshot_predicts_for_itself(db: Connection) -> None:
    found = [probability(db, f"flowers@1#{epoch}") for epoch in (1, 2, 3, 4)]
    assert len(set(found)) == 4
    assert found[3] == probability(db, "flowers@1") == probability(db, "flowers#latest")


def test_sets_of_rows_and_embeddings_take_snapshots(db: Connection) -> None:
    found = [
        rows(db, "SELECT key, probability FROM delc.predict_rows(%s, 'TABLE flowers') WHERE key = '3'", name)
        for name in ("flowers@1#1", "flowers@1")
    ]
    assert found[0] != found[1]
    embed = "SELECT delc.embed(%s, f) FROM flowers AS f WHERE id = 3"
    assert value(db, embed, "flowers@1#1") != value(db, embed, "flowers@1")


def test_the_best_snapshot_has_the_lowest_validation_loss(db: Connection) -> None:
    losses = rows(
        db, "SELECT epoch, value FROM delc.learning_curves WHERE metric = 'loss' AND split = 'validation' AND run_id ="
        " (SELECT run_id FROM delc.model_summary WHERE model = 'noise@1')",
    )  # fmt: skip
    best = min(losses, key=lambda pair: pair[1])[0]
    embed = "SELECT delc.predict_probability(%s, n, 'true') FROM noise AS n WHERE id = 1"
    assert value(db, embed, "noise#best") == value(db, embed, f"noise@1#{best}")


def test_a_snapshot_is_evaluated_apart_from_its_version(db: Connection) -> None:
    metric = "SELECT value FROM delc.evaluate(%s, 'flowers') WHERE metric = 'log_loss' AND class IS NULL"
    early, late = value(db, metric, "flowers@1#1"), value(db, metric, "flowers@1")
    assert early > late
    stored = "SELECT value FROM delc.evaluate(%s) WHERE metric = 'log_loss' AND class IS NULL"
    assert (value(db, stored, "flowers@1#1"), value(db, stored, "flowers@1")) == (early, late)
    assert rows(db, "SELECT model, value FROM delc.leaderboard WHERE metric = 'log_loss'") == [("flowers@1", late)]
    assert value(db, "SELECT delc.metric_of(id, 'log_loss') FROM delc.model_versions ORDER BY id LIMIT 1") == late


def test_an_alias_and_a_snapshot_go_together(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('flowers@1', 'champion')")
    assert probability(db, "flowers@champion#1") == probability(db, "flowers@1#1")
    assert "names a snapshot" in message(failure(db, "SELECT delc.set_alias('flowers@1#1', 'early')"))


def test_an_unknown_snapshot_names_those_that_exist(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('flowers@1#9', f) FROM flowers AS f")
    assert error.sqlstate == "42704"
    assert "1, 2, 3, 4" in message(error)


@pytest.mark.parametrize("name", ["flowers#", "flowers#last", "flowers@1#-1", "flowers@1#1#2", "flowers#99999999999"])
def test_what_names_no_snapshot_is_refused(db: Connection, name: str) -> None:
    assert failure(db, "SELECT delc.predict(%s, f) FROM flowers AS f", name).sqlstate == "22023"


def test_a_snapshot_can_be_dropped(db: Connection) -> None:
    before = value(db, "SELECT count(*) FROM delc.parameters")
    assert value(db, "SELECT delc.drop_snapshot('flowers@1#2')") == "flowers@1#2"
    assert value(db, "SELECT count(*) FROM delc.parameters") == before - 4
    assert failure(db, "SELECT delc.predict('flowers@1#2', f) FROM flowers AS f").sqlstate == "42704"


def test_its_optimizer_state_goes_with_it(db: Connection) -> None:
    db.execute("SELECT delc.drop_snapshot('noise@1#2')")
    assert row(db, "SELECT count(*), count(DISTINCT snapshot_id) FROM delc.training_states") == (11, 11)


def test_the_snapshot_in_use_cannot_be_dropped(db: Connection) -> None:
    error = failure(db, "SELECT delc.drop_snapshot('flowers@1#4')")
    assert error.sqlstate == "2BP01"
    assert "predicts with it" in message(error)


def test_a_snapshot_that_others_were_made_from_cannot_be_dropped(db: Connection) -> None:
    record(db, "SELECT * FROM delc.resume_training('noise@1#3', epochs => 4)")
    error = failure(db, "SELECT delc.drop_snapshot('noise@1#3')")
    assert error.sqlstate == "2BP01"
    assert "noise@2" in message(error)


def test_drop_model_does_not_take_snapshots(db: Connection) -> None:
    assert "drop_snapshot" in message(failure(db, "SELECT delc.drop_model('flowers@1#1')"))
