"""Versions of models: numbers, aliases, dropping, and what may depend on what."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

QUICK = {"network": "'linear'", "epochs": "1"}
VERSIONS = "SELECT model FROM delc.model_summary ORDER BY model"


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Three versions of the model flowers."""
    statements = [FLOWERS, dataset("flowers", "flowers", "species"), *3 * [train("flowers", "flowers", **QUICK)]]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def predict(db: Connection, model: str) -> str:
    return value(db, "SELECT delc.predict(%s, f) FROM flowers AS f WHERE id = 3", model)


def test_a_version_is_summed_up_in_a_row(db: Connection) -> None:
    db.execute(train("other", "flowers", message="'first try'", **QUICK))
    found = record(db, "SELECT * FROM delc.model_summary WHERE name = 'other'")
    expected = {
        "version": 1, "model": "other@1", "task": "classification", "dataset": "flowers@1", "parameters": 12,
        "snapshots": 1, "aliases": None, "message": "first try", "created_by": "postgres",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["stored_bytes"] > 12 * 4


def test_an_alias_names_a_version_and_can_move_to_another(db: Connection) -> None:
    assert value(db, "SELECT delc.set_alias('flowers@1', 'champion')") == "flowers@1"
    assert value(db, "SELECT delc.set_alias('flowers@2', 'champion')") == "flowers@2"
    assert rows(db, "SELECT version FROM delc.model_summary WHERE aliases = '{champion}'") == [(2,)]
    assert predict(db, "flowers@champion") == predict(db, "flowers@2")


def test_a_version_can_have_several_aliases_and_be_named_by_one(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('flowers@1', 'a'), delc.set_alias('flowers@1', 'b')")
    assert value(db, "SELECT delc.set_alias('flowers@b', 'c')") == "flowers@1"
    assert value(db, "SELECT aliases FROM delc.model_summary WHERE model = 'flowers@1'") == ["a", "b", "c"]


@pytest.mark.parametrize("alias", ["", "a@b", " x", "x" * 64])
def test_what_cannot_be_an_alias_is_refused(db: Connection, alias: str) -> None:
    error = failure(db, "SELECT delc.set_alias('flowers', %s)", alias)
    assert error.sqlstate == "22023"
    assert "cannot be the name of an alias" in message(error)


@pytest.mark.parametrize("alias", ["7", "007"])
def test_a_number_cannot_be_an_alias(db: Connection, alias: str) -> None:
    error = failure(db, "SELECT delc.set_alias('flowers', %s)", alias)
    assert error.sqlstate == "22023"


@pytest.mark.parametrize("call", ["set_alias('flowers', NULL)", "set_alias(NULL, 'a')", "drop_model(NULL)"])
def test_null_is_refused(db: Connection, call: str) -> None:
    error = failure(db, f"SELECT delc.{call}")
    assert error.sqlstate == "22023"
    assert "NULL" in message(error)


def test_an_unknown_alias_is_named_with_the_nearest(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('flowers@1', 'champion')")
    error = failure(db, "SELECT delc.predict('flowers@champoin', f) FROM flowers AS f")
    assert error.sqlstate == "42704"
    assert 'Did you mean "flowers@champion"?' in message(error)


def test_one_version_can_be_dropped(db: Connection) -> None:
    assert value(db, "SELECT delc.drop_model('flowers@2')") == 1
    assert rows(db, VERSIONS) == [("flowers@1",), ("flowers@3",)]


def test_a_whole_model_can_be_dropped(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('flowers@1', 'default')")
    assert value(db, "SELECT delc.drop_model('flowers')") == 3
    assert rows(db, VERSIONS) == []
    for table in ("models", "layers", "layer_edges", "snapshots", "parameters", "model_aliases"):
        assert value(db, f"SELECT count(*) FROM delc.{table}") == 0, table


def test_the_number_of_a_dropped_version_is_not_used_again(db: Connection) -> None:
    db.execute("SELECT delc.drop_model('flowers@3')")
    assert record(db, train("flowers", "flowers", **QUICK))["model"] in ("flowers@3", "flowers@4")


def test_the_log_stays_when_a_model_is_dropped(db: Connection) -> None:
    before = value(db, "SELECT count(*) FROM delc.runs WHERE operation = 'train'")
    db.execute("SELECT delc.drop_model('flowers')")
    assert value(db, "SELECT count(*) FROM delc.runs WHERE operation = 'train'") == before


def test_a_version_that_others_were_made_from_is_not_dropped(db: Connection) -> None:
    db.execute("INSERT INTO delc.model_version_parents (base, derived, relation) VALUES (1, 2, 'retrained')")
    error = failure(db, "SELECT delc.drop_model('flowers@1')")
    assert error.sqlstate == "2BP01"
    assert "flowers@2" in message(error)


def test_a_data_set_that_models_were_trained_on_is_not_dropped(db: Connection) -> None:
    error = failure(db, "SELECT delc.drop_dataset('flowers')")
    assert error.sqlstate == "2BP01"
    assert "Models: flowers." in message(error)


def test_an_unknown_model_cannot_be_dropped(db: Connection) -> None:
    error = failure(db, "SELECT delc.drop_model('flover')")
    assert error.sqlstate == "42704"
    assert 'Did you mean "flowers"?' in message(error)


def test_trainings_at_the_same_time_number_their_versions_one_after_the_other(
    cluster: Cluster, place: Connection
) -> None:
    made: list[str] = []

    def train_in_another_session() -> None:
        with cluster.connect(place.info.dbname) as other:
            made.append(record(other, train("parallel", "flowers", **QUICK))["model"])
            other.execute("SELECT delc.drop_model('parallel@2')")

    with rolled_back(place) as db:
        first = record(db, train("parallel", "flowers", **QUICK))["model"]
        session = threading.Thread(target=train_in_another_session)
        session.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while not value(db, waiting):
            db.execute("SELECT pg_stat_clear_snapshot()")
        db.commit()
    session.join()
    assert (first, made) == ("parallel@1", ["parallel@2"])
    with rolled_back(place) as db:
        db.execute("SELECT delc.drop_model('parallel')")
        db.commit()


def test_the_owner_is_the_role_that_trained_first(db: Connection) -> None:
    assert row(db, "SELECT name, owner FROM delc.models") == ("flowers", "postgres")
