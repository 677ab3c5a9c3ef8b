"""train(…, from_model => …): training begins with the weights of another version."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, PRICES, dataset, train
from support.models import parameters
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

NETWORK = """'[{"name": "fc1", "kind": "linear", "out_features": 16}, {"name": "norm1", "kind": "batch_norm1d"},
              {"name": "relu1", "kind": "relu"}, {"name": "fc2", "kind": "linear"}]'"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The model flowers, and data sets with the same, fewer and other labels."""
    select = "SELECT id, width, height, petal"
    statements = [
        FLOWERS,
        PRICES,
        dataset("flowers", "flowers", "species"),
        dataset("two", f"{select}, species FROM flowers WHERE species <> ''virginica''", "species", key="'id'"),
        dataset("other", f"{select}, CASE WHEN width > 1 THEN ''wide'' ELSE ''slim'' END AS species FROM flowers",
                "species", key="'id'"),
        dataset("narrow", "SELECT id, width, species FROM flowers", "species", key="'id'"),
        dataset("price", "SELECT id, size, rooms, price FROM prices", "price", key="'id'"),
        dataset("dear", "SELECT id, size, rooms, 10 * price AS price FROM prices", "price", key="'id'"),
        train("flowers", "flowers", network=NETWORK, epochs="3"),
        train("price", "price", epochs="3"),
    ]  # fmt: skip
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def warm(model: str, dataset: str, parent: str, **options: str) -> str:
    """SQL that trains from another version's weights, by default without changing them."""
    named = {"epochs": "1", "batch_size": "16", "learning_rate": "1e-30", "optimizer": "'sgd'"} | options
    listed = "".join(f", {option} => {expression}" for option, expression in named.items())
    return f"SELECT * FROM delc.train('{model}', '{dataset}', from_model => '{parent}'{listed})"


@pytest.mark.parametrize("name", ["flowers", "price"])
def test_the_loss_continues_where_the_parent_ended(db: Connection, name: str) -> None:
    last = "SELECT value FROM delc.learning_curves WHERE metric = 'loss' AND split = 'validation' AND run_id = %s"
    run_id = value(db, "SELECT run_id FROM delc.model_summary WHERE model = %s", f"{name}@1")
    ended = rows(db, last + " ORDER BY epoch DESC LIMIT 1", run_id)[0][0]
    everything = {"freeze": "ARRAY['norm1']"} if name == "flowers" else {}
    continued = record(db, warm("next", name, name, **everything))
    assert continued["validation_loss"] == pytest.approx(ended, abs=1e-6)


def test_weights_features_and_labels_are_the_parents(db: Connection) -> None:
    record(db, warm("flowers", "flowers", "flowers", freeze="ARRAY['norm1']"))
    assert parameters(db, "flowers@2") == parameters(db, "flowers@1")
    documents = "SELECT features, target -> 'labels', network FROM delc.model_versions ORDER BY id DESC LIMIT 1"
    first = "SELECT features, target -> 'labels', network FROM delc.model_versions ORDER BY id LIMIT 1"
    assert row(db, documents) == row(db, first)


def test_training_goes_on(db: Connection) -> None:
    start = value(db, "SELECT delc.metric_of(id, 'loss') FROM delc.model_versions ORDER BY id LIMIT 1")
    result = record(db, warm("flowers", "flowers", "flowers@1", learning_rate="0.01", epochs="5"))
    assert result["validation_loss"] < start


def test_lineage_names_the_parent(db: Connection) -> None:
    record(db, warm("finer", "flowers", "flowers", message="'smaller steps'"))
    found = row(
        db, "SELECT edge.relation, edge.message FROM delc.model_version_parents AS edge"
        " JOIN delc.model_versions AS version ON version.id = edge.base WHERE version.number = 1",
    )  # fmt: skip
    assert found == ("warm start", "smaller steps")
    assert "flowers@1" in [name for (name,) in rows(db, "SELECT name FROM delc.lineage_of('model', 'finer', 'up')")]


def test_frozen_layers_stay_as_they_are_with_their_statistics(db: Connection) -> None:
    record(db, warm("flowers", "flowers", "flowers", learning_rate="0.1", epochs="2", freeze="ARRAY['fc1', 'norm*']"))
    before, after = parameters(db, "flowers@1"), parameters(db, "flowers@2")
    assert {name for name in before if before[name] != after[name]} == {"fc2.weight", "fc2.bias"}


def test_replaced_layers_begin_anew(db: Connection) -> None:
    options = {"replace": "ARRAY['fc2']", "freeze": "ARRAY['norm1']", "seed": "5"}
    record(db, warm("flowers", "flowers", "flowers", **options))
    before, after = parameters(db, "flowers@1"), parameters(db, "flowers@2")
    assert {name for name in before if before[name] != after[name]} == {"fc2.weight", "fc2.bias"}
    assert value(db, "SELECT relation FROM delc.model_version_parents") == "warm start"


def test_fewer_labels_keep_the_head(db: Connection) -> None:
    record(db, warm("two", "two", "flowers"))
    assert value(db, "SELECT delc.predict('two', f) FROM flowers AS f WHERE id = 2") == "virginica"


def test_other_labels_get_a_head_of_their_own(db: Connection) -> None:
    result = record(db, warm("other", "other", "flowers", learning_rate="0.05", epochs="10", optimizer="'adam'"))
    assert value(db, "SELECT target -> 'labels' FROM delc.model_versions WHERE run_id = %s", result["run_id"]) == [
        "slim", "wide",
    ]  # fmt: skip
    assert result["validation_metric"] > 0.9
    shape = "SELECT output_shape FROM delc.layers WHERE name = 'fc2' ORDER BY version_id DESC LIMIT 1"
    assert value(db, shape) == [2]


def test_a_number_keeps_the_scale_that_the_parent_learnt(db: Connection) -> None:
    record(db, warm("dear", "dear", "price"))
    first, second = rows(db, "SELECT target -> 'center' FROM delc.model_versions WHERE task = 'regression' ORDER BY id")
    assert first == second


def test_another_task_replaces_the_head(db: Connection) -> None:
    db.execute(dataset("width", "SELECT id, width * 2 AS double, width, height, petal FROM flowers", "double",
                       key="'id'"))  # fmt: skip
    assert record(db, warm("width", "width", "flowers"))["task"] == "regression"


def test_a_snapshot_can_be_the_beginning(db: Connection) -> None:
    record(db, train("flowers", "flowers", network=NETWORK, epochs="2", checkpoint_every="1"))
    record(db, warm("next", "flowers", "flowers@2#1", freeze="ARRAY['norm1']"))
    assert parameters(db, "next@1") == parameters(db, "flowers@2#1") != parameters(db, "flowers@2")
    assert value(db, "SELECT delc.drop_model('next')") == 1


REFUSED = [
    ({"from_model": "'flowers@9'"}, "42704", 'no version "9"'),
    ({"from_model": "'flovers'"}, "42704", 'Did you mean "flowers"?'),
    ({"from_model": "'flowers@1#9'"}, "42704", "no snapshot of epoch 9"),
    ({"freeze": "ARRAY['fc9']"}, "22023", 'Did you mean "fc'),
    ({"replace": "ARRAY['conv*']"}, "22023", 'unknown layer "conv*"'),
    ({"replace": "ARRAY[NULL]::text[]"}, "22023", "a layer is NULL"),
    ({"freeze": "ARRAY[NULL]::text[]"}, "22023", "freeze"),
    ({"freeze": "ARRAY['*']"}, "22023", "leaves no layer to train"),
    ({"network": "'cnn'"}, "22023", "copy_model"),
    ({"features": """'{"width": "numeric"}'"""}, "22023", "features are given"),
    ({"dataset": "'narrow'"}, "42704", "height"),
]


@pytest.mark.parametrize(("options", "state", "says"), REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_what_does_not_fit_is_refused(db: Connection, options: dict[str, str], state: str, says: str) -> None:
    arguments = {"model": "'any'", "dataset": "'flowers'", "from_model": "'flowers'", "epochs": "1"} | options
    listed = ", ".join(f"{name} => {expression}" for name, expression in arguments.items())
    error = failure(db, f"SELECT delc.train({listed})")
    assert error.sqlstate == state
    assert says in message(error)


def test_replace_without_a_model_is_refused(db: Connection) -> None:
    error = failure(db, "SELECT delc.train('any', 'flowers', replace => ARRAY['fc1'])")
    assert "from_model" in message(error)
