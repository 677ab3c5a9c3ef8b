"""pg_dump of one database, psql into another: everything is there and work goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, record, rows, value, workplace

QUICK = {"network": "'linear'", "epochs": "2"}
PREDICTIONS = (
    "SELECT f.id, delc.predict('flowers', f), delc.predict_probability('flowers@1', f, 'setosa') FROM flowers f"
)
COUNTED = (
    "runs", "metrics", "run_inputs", "run_outputs", "datasets", "dataset_versions", "dataset_version_parents",
    "models", "model_versions", "model_aliases", "layers", "layer_edges", "snapshots",
)  # fmt: skip


@pytest.fixture(scope="module")
def original(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        "UPDATE flowers SET petal = petal + 0.01 WHERE id <= 20",
        "SELECT delc.commit_dataset('flowers')",
        train("flowers", "flowers@1", checkpoint_every="4"),
        train("flowers", "flowers", **QUICK),
        "SELECT delc.set_alias('flowers@1', 'default')",
        "SELECT * FROM delc.evaluate('flowers', 'flowers')",
    ]
    with workplace(cluster, template, *statements) as connection:
        connection.autocommit = True
        failure(connection, train("any", "nowhere"))
        yield connection


@pytest.fixture(scope="module")
def restored(cluster: Cluster, original: Connection) -> Iterator[Connection]:
    script = cluster.pg_dump(original.info.dbname)
    cluster.create_database("delc_restored")
    cluster.psql("delc_restored", script)
    with cluster.connect("delc_restored") as connection:
        yield connection
    cluster.drop_database("delc_restored")


@pytest.mark.parametrize("table", COUNTED)
def test_every_row_is_there(original: Connection, restored: Connection, table: str) -> None:
    query = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)), count(*) FROM delc.{table} AS t"
    assert rows(restored, query) == rows(original, query)
    assert value(restored, f"SELECT count(*) FROM delc.{table}") > 0


def test_parameters_are_the_same_bit_for_bit(original: Connection, restored: Connection) -> None:
    query = "SELECT snapshot_id, name, chunk, delc.tensor_send(value) FROM delc.parameters ORDER BY 1, 2, 3"
    assert rows(restored, query) == rows(original, query)


def test_models_predict_the_same(original: Connection, restored: Connection) -> None:
    found = rows(restored, PREDICTIONS + " ORDER BY f.id")
    assert found == rows(original, PREDICTIONS + " ORDER BY f.id")
    assert len(found) == 150


def test_data_sets_read_the_same(original: Connection, restored: Connection) -> None:
    for version in ("flowers@1", "flowers@2"):
        query = f"SELECT * FROM delc.dataset_rows(NULL::flowers, '{version}', 'train')"
        assert rows(restored, query) == rows(original, query)


def test_stored_metrics_are_read_without_running_again(original: Connection, restored: Connection) -> None:
    query = "SELECT * FROM delc.evaluate('flowers')"
    assert rows(restored, query) == rows(original, query)


def test_lineage_is_the_same(original: Connection, restored: Connection) -> None:
    query = "SELECT * FROM delc.lineage ORDER BY run_id, source, result"
    assert rows(restored, query) == rows(original, query)


def test_new_versions_go_on_from_the_last(original: Connection, restored: Connection) -> None:
    latest = value(original, "SELECT max(id) FROM delc.runs")
    trained = record(restored, train("flowers", "flowers", **QUICK))
    assert trained["model"] == "flowers@3"
    assert trained["run_id"] > latest
    assert record(restored, train("other", "flowers@1", **QUICK))["model"] == "other@1"


def test_data_sets_go_on_from_the_last_version(restored: Connection) -> None:
    restored.execute("UPDATE flowers SET petal = 0 WHERE id = 1")
    assert record(restored, "SELECT * FROM delc.commit_dataset('flowers')")["dataset"] == "flowers@3"
    assert record(restored, dataset("again", "flowers", "species"))["dataset"] == "again@1"


def test_failures_are_recorded_there_too(restored: Connection) -> None:
    failure(restored, train("restored", "nowhere"))
    assert value(restored, "SELECT outcome FROM delc.runs WHERE subject = 'restored'") == "failed"


def test_what_was_restored_can_be_dumped_again(cluster: Cluster, restored: Connection) -> None:
    again = cluster.pg_dump(restored.info.dbname)
    assert "CREATE EXTENSION IF NOT EXISTS delc" in again
    assert "COPY delc.stored_tensors" in again
