"""delc.resume_training(): going on from a snapshot equals a training that was never interrupted, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.models import parameters
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

NETWORK = """'{"architecture": "mlp", "hidden": [16], "dropout": 0.3}'"""
KEPT = {"keep_optimizer": "true", "network": NETWORK, "seed": "3"}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """A data set whose kinds are learnt, and one whose labels are noise, where a training stops early."""
    statements = [
        FLOWERS,
        "CREATE TABLE noise AS SELECT i AS id, sin(i * 12.9898)::real AS x, hashint4(i) % 2 = 0 AS y"
        " FROM generate_series(1, 100) AS i",
        dataset("flowers", "flowers", "species"),
        dataset("noise", "noise", "y", key="'id'"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


OPTIMIZERS = [
    {"optimizer": "'sgd'", "optimizer_arguments": """'{"momentum": 0.9}'"""},
    {"optimizer": "'adam'"},
    {"optimizer": "'adamw'", "weight_decay": "0.01", "schedule": "'cosine'"},
    {"optimizer": "'nadam'", "schedule": "'one_cycle'"},
    {"optimizer": "'radam'"},
    {"optimizer": "'rmsprop'", "optimizer_arguments": """'{"momentum": 0.5, "centered": true}'"""},
    {"optimizer": "'adagrad'"},
    {"optimizer": "'adam'", "schedule": """'{"name": "reduce_on_plateau", "patience": 0, "threshold": 0.5}'"""},
    {"optimizer": "'adam'", "optimizer_arguments": """'{"layers": {"hidden*": {"learning_rate": 0.01}}}'"""},
    {"gradient_clip": "0.1", "class_weights": "'balanced'", "batch_size": "7"},
]


@pytest.mark.parametrize("options", OPTIMIZERS, ids=[next(iter(case.values())).strip("'") for case in OPTIMIZERS])
def test_the_resumed_run_equals_the_uninterrupted_one(db: Connection, options: dict[str, str]) -> None:
    chosen = KEPT | options
    if "layers" in options.get("optimizer_arguments", ""):
        name = value(db, "SELECT 1")
        record(db, train("probe", "flowers", network=NETWORK, epochs="1"))
        name = rows(db, "SELECT name FROM delc.layers WHERE parameters > 0 ORDER BY position")[0][0]
        chosen["optimizer_arguments"] = chosen["optimizer_arguments"].replace("hidden*", name)
    whole = record(db, train("whole", "flowers", **chosen, epochs="6", checkpoint_every="2"))
    resumed = record(db, "SELECT * FROM delc.resume_training('whole@1#2')")
    assert parameters(db, resumed["model"]) == parameters(db, "whole@1")
    assert parameters(db, "whole@2#4") == parameters(db, "whole@1#4") != parameters(db, "whole@1")
    kept = ("task", "epochs", "best_epoch", "train_loss", "validation_loss", "validation_metric", "parameters")
    assert {name: resumed[name] for name in kept} == {name: whole[name] for name in kept}


def test_running_statistics_and_frozen_layers_go_on_too(db: Connection) -> None:
    network = """'[{"name": "fc1", "kind": "linear", "out_features": 8}, {"name": "norm1", "kind": "batch_norm1d"},
                  "relu", {"name": "fc2", "kind": "linear"}, {"name": "norm2", "kind": "batch_norm1d"}, "relu",
                  {"name": "fc3", "kind": "linear"}]'"""
    network = network.replace('"fc2", "kind": "linear"', '"fc2", "kind": "linear", "out_features": 8')
    record(db, train("first", "flowers", network=network, epochs="1"))
    record(
        db, "SELECT * FROM delc.train('tuned', 'flowers', from_model => 'first', freeze => ARRAY['fc1', 'norm1'],"
        " epochs => 4, checkpoint_every => 2, keep_optimizer => true)",
    )  # fmt: skip
    record(db, "SELECT * FROM delc.resume_training('tuned@1#2')")
    assert parameters(db, "tuned@2") == parameters(db, "tuned@1") != parameters(db, "tuned@1#2")
    assert parameters(db, "tuned@2")["norm1.running_mean"] == parameters(db, "first@1")["norm1.running_mean"]


def test_more_epochs_than_were_planned_can_follow(db: Connection) -> None:
    record(db, train("short", "flowers", **KEPT, epochs="2"))
    record(db, train("long", "flowers", **KEPT, epochs="5"))
    record(db, "SELECT * FROM delc.resume_training('short', epochs => 5)")
    assert parameters(db, "short@2") == parameters(db, "long@1")


def test_a_resumed_run_can_be_resumed(db: Connection) -> None:
    record(db, train("short", "flowers", **KEPT, epochs="2"))
    record(db, "SELECT * FROM delc.resume_training('short@1', epochs => 3)")
    record(db, "SELECT * FROM delc.resume_training('short@2#latest', epochs => 5)")
    record(db, train("long", "flowers", **KEPT, epochs="5"))
    assert parameters(db, "short@3") == parameters(db, "long@1")


def test_another_session_resumes_to_the_same_numbers(cluster: Cluster, place: Connection) -> None:
    """The first session trains and commits, so that the other one finds nothing in memory."""
    with cluster.connect(place.info.dbname) as here, cluster.connect(place.info.dbname) as there:
        record(here, train("elsewhere", "flowers", **KEPT, epochs="4", checkpoint_every="2"))
        record(there, "SELECT * FROM delc.resume_training('elsewhere@1#2')")
        assert parameters(here, "elsewhere@2") == parameters(here, "elsewhere@1")
        here.execute("SELECT delc.drop_model('elsewhere')")


@pytest.mark.parametrize("epoch", [1, 3])
def test_early_stopping_remembers_the_best_epoch(db: Connection, epoch: int) -> None:
    options = KEPT | {"early_stopping": "3", "checkpoint_every": "1", "epochs": "200"}
    whole = record(db, train("noise", "noise", **options))
    last = whole["epochs"] - epoch
    resumed = record(db, f"SELECT * FROM delc.resume_training('noise@1#{last}')")
    assert (resumed["best_epoch"], resumed["epochs"]) == (whole["best_epoch"], whole["epochs"])
    assert resumed["validation_loss"] == whole["validation_loss"]
    assert parameters(db, "noise@2") == parameters(db, "noise@1")


def test_lineage_says_which_snapshot_was_resumed(db: Connection) -> None:
    record(db, train("whole", "flowers", **KEPT, epochs="4", checkpoint_every="2"))
    record(db, "SELECT * FROM delc.resume_training('whole@1#2', message => 'again')")
    found = rows(
        db, "SELECT edge.relation, edge.message, snapshot.epoch FROM delc.model_version_parents AS edge"
        " JOIN delc.snapshots AS snapshot ON snapshot.id = edge.snapshot_id",
    )  # fmt: skip
    assert found == [("resumed", "again", 2)]
    assert row(db, "SELECT source, result FROM delc.lineage WHERE source_kind = 'model'") == ("whole@1", "whole@2")


def test_the_state_is_plain_tensors(db: Connection) -> None:
    record(db, train("whole", "flowers", **KEPT, epochs="1"))
    found = rows(db, "SELECT DISTINCT slot FROM delc.optimizer_states ORDER BY 1")
    assert found == [("exp_avg",), ("exp_avg_sq",), ("step",)]
    assert value(db, "SELECT state -> 'epoch' FROM delc.training_states") == 1


def test_nothing_is_kept_unless_asked(db: Connection) -> None:
    record(db, train("plain", "flowers", epochs="2", checkpoint_every="1"))
    assert value(db, "SELECT count(*) FROM delc.training_states") == 0
    error = failure(db, "SELECT delc.resume_training('plain@1#1')")
    assert error.sqlstate == "55000"
    assert "keep_optimizer" in message(error)


def test_a_snapshot_without_state_names_those_that_have_it(db: Connection) -> None:
    options = KEPT | {"early_stopping": "3", "epochs": "200"}
    trained = record(db, train("noise", "noise", **options))
    error = failure(db, "SELECT delc.resume_training('noise')")
    assert f"noise@1#{trained['epochs']}" in message(error)


def test_epochs_that_are_done_are_refused(db: Connection) -> None:
    record(db, train("whole", "flowers", **KEPT, epochs="2"))
    error = failure(db, "SELECT delc.resume_training('whole@1')")
    assert error.sqlstate == "22023"
    assert "epochs is 2, but 2 epochs of the training are done" in message(error)


def test_a_resumed_run_that_fails_leaves_nothing(db: Connection) -> None:
    record(db, train("whole", "flowers", **KEPT, epochs="2"))
    failure(db, "SELECT delc.resume_training('whole@1', epochs => -1)")
    counts = "SELECT (SELECT count(*) FROM delc.model_versions), (SELECT count(*) FROM delc.snapshots)"
    assert row(db, counts) == (1, 1)
