"""The workload of Apache MADlib's tutorial "AutoML" (Hyperband on iris), which MADlib does not run on plain PostgreSQL.

Two networks (4-10-10-3 and 4-10-10-10-3), each with Adam and SGD at learning rates drawn from 0.001 to 0.1 by their
order of size, and batches of 8 and 16 rows; at most 9 iterations, and one of three trials goes on (R = 9, eta = 3).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sklearn.datasets import load_iris

from support.cluster import Cluster, Connection
from support.workplace import rows, value, workplace

SEARCH = """
    evaluate m from (select a where a.name like "iris mlp_%")
    with config = "automl"
    vary config.optimizer in ["adam", "sgd"] and config.learning_rate auto(0.001, 0.1) and config.batch_size in [8, 16]
    keep top(3, m["accuracy"], 9) as "iris"
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    iris = load_iris()
    create = (
        "CREATE TABLE iris (id integer PRIMARY KEY, sepal_length real, sepal_width real, petal_length real,"
        " petal_width real, species text)"
    )
    with workplace(cluster, template, create) as connection:
        with connection.cursor() as cursor, cursor.copy("COPY iris FROM STDIN") as copy:
            for number, (numbers, code) in enumerate(zip(iris.data.tolist(), iris.target, strict=True)):
                copy.write_row([number, *numbers, str(iris.target_names[code])])
        connection.execute("SELECT delc.create_dataset('iris', 'iris', target => 'species', validation => 0.2)")
        for number, hidden in (("1", "[10, 10]"), ("2", "[10, 10, 10]")):
            connection.execute(
                f"SELECT delc.train('iris mlp_{number}', 'iris', epochs => 1,"
                f' network => \'{{"architecture": "mlp", "hidden": {hidden}}}\')'.encode()
            )
        connection.execute("SELECT delc.save_config('automl', '{\"start\": \"fresh\", \"search\": {\"samples\": 6}}')")
        yield connection


def test_a_model_table_times_configurations_runs_and_finds_a_good_model(place: Connection) -> None:
    found = rows(place, "SELECT model, state, value, iterations FROM delc.dql(%s, seed => 1)", SEARCH)
    assert len(found) == 2 * 2 * 2 * 6
    assert {model for model, *_ in found[:3]} == {"iris@1", "iris@2", "iris@3"}
    assert found[0][2] >= 0.9
    assert sum(iterations for *_, iterations in found) < 0.4 * 9 * len(found)
    outcomes = "SELECT count(*), count(model_version_id) FROM delc.trials"
    assert rows(place, outcomes) == [(48, 3)]
    best = value(place, "SELECT count(*) FROM delc.predict_rows('iris@1', 'SELECT * FROM iris')")
    assert best == 150
