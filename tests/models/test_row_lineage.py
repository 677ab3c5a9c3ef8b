"""From one row to the models that were trained on it, and from a model back to its rows and their history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, rolled_back, row, rows, value, workplace

SMALL = """'{"architecture": "mlp", "hidden": [4]}'"""
QUICK = {"network": SMALL, "epochs": "1"}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Two versions of flowers, of which the second has other rows in a hundredth of the places; models on both."""
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("m", "flowers", **QUICK),
        "SELECT * FROM delc.correct_dataset('flowers', 'SELECT id, petal + 1 AS petal FROM flowers WHERE id <= 30')",
        train("m", "flowers", **QUICK),
        "SELECT delc.copy_model('m@1', 'copy')",
        "SELECT delc.merge_models('merged', ARRAY['m@1', 'm@2'])",
        "SELECT * FROM delc.evaluate('m@2', 'flowers@2')",
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def key_in(db: Connection, split: str, changed: bool) -> int:
    """The id of a row of a split that the second version changed, or did not."""
    text = value(db, "SELECT delc.dataset_query('flowers', %s, true)", split)
    found: int = value(db, f"SELECT min(id) FROM ({text}) AS r WHERE (id <= 30) = %s", changed)
    return found


def uses(db: Connection, key: int, columns: str = "model, use, split, version, via") -> list[tuple[Any, ...]]:
    return rows(db, f"SELECT {columns} FROM delc.models_of_row('flowers', to_jsonb(%s::integer))", key)


def test_a_training_row_was_used_by_all_that_came_of_the_training(db: Connection) -> None:
    assert uses(db, key_in(db, "train", changed=False)) == [
        ("m@1", "trained", "train", "flowers@1", None),
        ("m@2", "trained", "train", "flowers@2", None),
        ("copy@1", "trained", "train", "flowers@1", None),
        ("merged@1", "trained", "train", "flowers@1", "m@1"),
        ("merged@1", "trained", "train", "flowers@2", "m@2"),
    ]


def test_validation_rows_decide_when_training_stops(db: Connection) -> None:
    found = uses(db, key_in(db, "validation", changed=False))
    assert {use for _, use, *_ in found} == {"validated"}


def test_test_rows_are_held_out_and_evaluated(db: Connection) -> None:
    assert uses(db, key_in(db, "test", changed=False)) == [
        ("m@1", "held out", "test", "flowers@1", None),
        ("m@2", "held out", "test", "flowers@2", None),
        ("copy@1", "held out", "test", "flowers@1", None),
        ("m@2", "evaluated", "test", "flowers@2", None),
    ]


def test_each_model_is_told_with_the_state_that_it_saw(db: Connection) -> None:
    key = key_in(db, "train", changed=True)
    petals = dict(rows(db, "SELECT model, (state ->> 'petal')::real FROM delc.models_of_row('flowers', %s)", str(key)))
    (source,) = row(db, "SELECT petal FROM flowers WHERE id = %s", key)
    assert petals["m@1"] == pytest.approx(source)
    assert petals["m@2"] == pytest.approx(source + 1)


def test_a_warm_start_on_other_rows_still_comes_from_the_row(db: Connection) -> None:
    key = key_in(db, "train", changed=False)
    db.execute("SELECT * FROM delc.correct_dataset('flowers', %s, remove => true)", (f"SELECT {key} AS id",))
    db.execute("SELECT * FROM delc.train('later', 'flowers', from_model => 'm@2', epochs => 1)")
    assert ("later@1", "trained", "train", "flowers@2", "m@2") in uses(db, key)
    assert uses(db, key)[-1][0] == "later@1"


def test_a_row_that_was_held_out_before_and_trained_on_now_shows_both(db: Connection) -> None:
    key = key_in(db, "test", changed=False)
    seed = next(
        seed
        for seed in range(1, 50)
        if row(db, "SELECT * FROM delc.split_dataset('flowers', seed => %s)", seed)
        and key in {found for found, *_ in rows(db, value(db, "SELECT delc.dataset_query('flowers', 'train')"))}
    )
    assert seed
    db.execute("SELECT * FROM delc.train('later', 'flowers', from_model => 'm@2', epochs => 1)")
    found = {model: use for model, use, *_ in uses(db, key) if use != "evaluated"}
    assert (found["m@2"], found["later@1"]) == ("held out", "trained")


def test_versions_of_a_data_set_are_asked_alone(db: Connection) -> None:
    key = key_in(db, "train", changed=False)
    found = rows(db, "SELECT model FROM delc.models_of_row('flowers@1', to_jsonb(%s::integer))", key)
    assert found == [("m@1",), ("copy@1",), ("merged@1",)]


def test_models_of_a_sample_are_models_of_its_rows(db: Connection) -> None:
    db.execute("SELECT * FROM delc.sample_dataset('flowers@2', 'few', fraction => 0.5)")
    db.execute("SELECT * FROM delc.sample_dataset('flowers@2', 'flowers@half', fraction => 0.5)")
    for dataset_name, model in (("few", "small"), ("flowers@half", "half")):
        db.execute(train(model, dataset_name, **QUICK))
    ids = {
        name: {found for found, *_ in rows(db, value(db, "SELECT delc.dataset_query(%s, 'train')", name))}
        for name in ("flowers@2", "few", "flowers@half")
    }
    assert ids["few"] == ids["flowers@half"] < ids["flowers@2"]
    inside, outside = min(ids["few"]), min(ids["flowers@2"] - ids["few"])
    assert {("small@1", "trained", "train", "few@1", None), ("half@1", "trained", "train", "flowers@3", None)} <= set(
        uses(db, inside)
    )
    assert not {model for model, *_ in uses(db, outside)} & {"small@1", "half@1"}


def test_a_sample_that_may_not_be_read_is_told(
    new_role: Callable[..., str], connect_as: Callable[..., Connection], fresh_db: Connection
) -> None:
    fresh_db.execute(FLOWERS)
    fresh_db.execute(dataset("flowers", "flowers", "species"))
    fresh_db.execute("SELECT * FROM delc.sample_dataset('flowers', 'few', rows => 10)")
    role = new_role("delc_user")
    fresh_db.execute("SELECT delc.grant_dataset('flowers', %s)", (role,))
    reader = connect_as(role)
    notices: list[str] = []
    reader.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    assert rows(reader, "SELECT * FROM delc.models_of_row('flowers', '1')") == []
    assert notices == ['models of data set "few", a sample, are not listed, because you may not read it']


# ---- and back ----


def test_a_model_leads_back_to_its_rows_in_their_order(db: Connection) -> None:
    for split in ("train", "validation", "test", None):
        text = value(db, "SELECT delc.training_query('m@1', %s)", split)
        assert text == value(db, "SELECT delc.dataset_query('flowers@1', %s, true)", split)


def test_rows_of_any_data_set_come_as_json(db: Connection) -> None:
    found = rows(db, "SELECT key, state FROM delc.training_rows('m@2', 'train')")
    text = value(db, "SELECT delc.training_query('m@2', 'train')")
    expected = rows(db, f"SELECT to_jsonb(r) FROM ({text}) AS r")
    assert sorted(key["id"] for key, _ in found) == sorted(state["id"] for (state,) in expected)
    assert {state["id"]: state for _, state in found} == {state["id"]: state for (state,) in expected}
    splits = dict(rows(db, "SELECT row_split, count(*) FROM delc.training_rows('m@2') GROUP BY 1"))
    assert splits == dict(zip(("train", "validation", "test"), row(db, COUNTS), strict=True))


COUNTS = "SELECT train, validation, test FROM delc.dataset_versions WHERE number = 2"


def test_a_model_that_was_not_trained_here_has_no_rows(db: Connection) -> None:
    for function in ("training_query", "training_rows"):
        text = message(failure(db, f"SELECT delc.{function}('merged')"))
        assert '"merged@1" was not trained on a data set' in text
        assert "delc.lineage_of('model', 'merged@1', 'up')" in text


WALK = """
    WITH RECURSIVE prediction AS (
        SELECT flower.id, delc.predict('m', flower) AS label, delc.find_snapshot('m') AS snapshot_id
        FROM flowers AS flower WHERE flower.id = %s
    ), up AS (
        SELECT 'model' AS kind, version.id, model.name || '@' || version.number AS name
        FROM prediction
        JOIN delc.snapshots AS snapshot ON snapshot.id = prediction.snapshot_id
        JOIN delc.model_versions AS version ON version.id = snapshot.version_id
        JOIN delc.models AS model ON model.id = version.model_id
        UNION
        SELECT edge.from_kind, edge.from_id, edge.from_name
        FROM up JOIN delc.lineage_edges AS edge ON edge.to_kind = up.kind AND edge.to_id = up.id
    )
    SELECT up.name, history.change, history.state, run.operation, model.model, model.use
    FROM up
    CROSS JOIN prediction
    CROSS JOIN LATERAL delc.row_history(up.name, to_jsonb(prediction.id)) AS history
    JOIN delc.runs AS run ON run.id = history.run_id
    JOIN LATERAL delc.models_of_row(up.name, to_jsonb(prediction.id)) AS model ON model.version = history.version
    WHERE up.kind = 'dataset' AND history.version = up.name
    ORDER BY up.name, model.model
"""


def test_one_query_walks_from_a_prediction_to_the_states_of_its_row_and_back(db: Connection) -> None:
    key = key_in(db, "train", changed=True)
    found = rows(db, WALK, key)
    assert [(name, change, operation, model, use) for name, change, _, operation, model, use in found] == [
        ("flowers@1", "added", "create_dataset", "copy@1", "trained"),
        ("flowers@1", "added", "create_dataset", "m@1", "trained"),
        ("flowers@1", "added", "create_dataset", "merged@1", "trained"),
        ("flowers@2", "changed", "correct_dataset", "m@2", "trained"),
        ("flowers@2", "changed", "correct_dataset", "merged@1", "trained"),
    ]
    assert {state["id"] for _, _, state, *_ in found} == {key}


def test_only_who_may_read_the_data_set_sees_what_its_rows_were_used_for(
    cluster: Cluster, place: Connection, new_role: Callable[..., str]
) -> None:
    role = new_role("delc_user")
    with cluster.connect(place.info.dbname, user=role) as stranger:
        for call in ("models_of_row('flowers', '1')", "training_query('m')", "training_rows('m')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not read data set"):
                stranger.execute(f"SELECT * FROM delc.{call}")
