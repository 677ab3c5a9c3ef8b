"""delc.memory_limit: what does not fit is read as it is needed, and what cannot be had is an error in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.python_function import run_inside
from support.workplace import failure, message, record, rolled_back, value, workplace

LARGE = """
    CREATE TABLE large AS
    SELECT i AS id, ARRAY[(i % 2)::real, sin(i)::real] || array_fill(0.5::real, ARRAY[998]) AS signal, i % 2 = 1 AS odd
    FROM generate_series(1, 10000) AS i
"""
"""40 MB when packed."""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        LARGE,
        dataset("flowers", "flowers", "species"),
        dataset("large", "large", "odd", key="'id'"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        connection.execute("SET LOCAL delc.memory_limit = '32MB'")
        yield connection


def test_a_table_larger_than_the_limit_trains(db: Connection) -> None:
    options = {"network": "'linear'", "epochs": "2", "batch_size": "100"}
    streamed = record(db, train("streamed", "large", **options))
    db.execute("SET LOCAL delc.memory_limit = '4GB'")
    kept = record(db, train("kept", "large", **options))
    assert streamed["validation_metric"] == kept["validation_metric"] == 1.0
    assert streamed["train_loss"] == pytest.approx(kept["train_loss"], rel=0.5)


def test_streaming_gives_the_same_parameters_again(db: Connection) -> None:
    options = {"network": "'linear'", "epochs": "2", "batch_size": "100"}
    losses = [record(db, train("streamed", "large", **options))["train_loss"] for _ in range(2)]
    assert losses[0] == losses[1]


def test_a_table_larger_than_the_limit_is_predicted_and_evaluated(db: Connection) -> None:
    db.execute(train("large", "large", network="'linear'", epochs="1"))
    assert value(db, "SELECT count(*) FROM delc.predict_rows('large', 'SELECT id, signal FROM large')") == 10000
    rows = "SELECT value FROM delc.evaluate('large', 'large', split => NULL) WHERE metric = 'rows'"
    assert value(db, rows) == 10000


def test_a_network_above_the_limit_is_refused_before_it_is_made(db: Connection) -> None:
    network = """'{"architecture": "mlp", "hidden": [100000, 100000]}'"""
    error = failure(db, train("huge", "flowers", network=network))
    assert error.sqlstate == "54000"
    assert "more than delc.memory_limit (32 MB)" in message(error)
    assert "network" in str(error.diag.message_hint)


def test_a_batch_above_the_limit_is_refused_before_it_is_computed(db: Connection) -> None:
    network = """'{"architecture": "mlp", "hidden": [10000]}'"""
    db.execute(
        "CREATE TABLE tall AS SELECT i AS id, i::real AS x, i % 2 = 0 AS even FROM generate_series(1, 5000) AS i"
    )
    db.execute(dataset("tall", "tall", "even", key="'id'"))
    error = failure(db, train("huge", "tall", network=network, batch_size="3000"))
    assert error.sqlstate == "54000"
    assert "a batch of 3000 rows" in message(error)
    assert "batch_size" in str(error.diag.message_hint)


def test_one_row_above_the_limit_is_refused(db: Connection) -> None:
    db.execute("SET LOCAL delc.memory_limit = '16MB'")  # the least that can be set
    query = "SELECT 1 AS id, array_fill(1::real, ARRAY[5000000]) AS signal"
    db.execute(train("large", "large", network="'linear'", epochs="1"))
    error = failure(db, f"SELECT * FROM delc.predict_rows('large', '{query}')")
    assert error.sqlstate in ("22000", "54000")


def test_models_that_predict_by_row_give_way_to_others_when_memory_is_short(db: Connection) -> None:
    network = """'{"architecture": "mlp", "hidden": [1000, 1000]}'"""  # 4 MB; a quarter of the limit is 8 MB
    for name in "abcd":
        db.execute(train(name, "flowers", network=network, epochs="1"))
    asked = "SELECT array_agg(delc.predict(name, ARRAY[0, 10, 0]) ORDER BY name)"
    asked += " FROM unnest(ARRAY['a', 'b', 'c', 'd']) AS name"
    first, again = value(db, asked), value(db, asked)
    loaded = "import gc\nfrom delc.models.loaded import LoadedModel\ngc.collect()\n"
    count = "return sum(isinstance(each, LoadedModel) for each in gc.get_objects())"
    assert first == again
    assert run_inside(db, loaded + count) <= 2


def test_the_session_goes_on_after_the_limit_was_met(db: Connection) -> None:
    failure(db, train("huge", "flowers", network="""'{"architecture": "mlp", "hidden": [100000, 100000]}'"""))
    assert record(db, train("small", "flowers"))["model"] == "small@1"
