"""A version used while another session drops it: each ends as if one had come after the other, or may try again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from psycopg import IsolationLevel

import delc.client
from support.cluster import Cluster, Connection
from support.sessions import Running, running
from support.workplace import failure, message, prepared, value

COMMITTED, REPEATABLE = IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
USES = {
    "copy_model": "SELECT delc.copy_model('m@2', 'copy')",
    "merge_models": "SELECT delc.merge_models('merged', ARRAY['m@2', 'm@1'])",
    "commit_parameters": "SELECT delc.commit_parameters('m', 'm@2',"
    " 'SELECT name, value FROM delc.export_parameters(''m@1'')')",
    "set_alias": "SELECT delc.set_alias('m@2', 'champion')",
    "attach_file": "SELECT delc.attach_file('m@2', 'notes.txt', 'abc'::bytea)",
    "import_parameters": "SELECT delc.import_parameters('n', 'SELECT * FROM delc.export_parameters(''m@1'')',"
    " based_on => 'm@2')",
}
DROPS = {
    "drop_model": "SELECT delc.drop_model('m@2')",
    "drop_all": "SELECT delc.drop_model('m')",
    "prune_model": "SELECT count(*) FROM delc.prune_model('m', keep_last => 1, keep_best => 0, dry_run => false)",
}


CASES = [
    *((use, "drop_model", COMMITTED) for use in USES),
    ("copy_model", "drop_model", REPEATABLE),
    ("merge_models", "drop_all", COMMITTED),
    ("set_alias", "prune_model", COMMITTED),
    ("copy_model", "prune_model", REPEATABLE),
]
"""Each use against each drop takes too long; these differ in what they lock."""


@pytest.fixture(scope="module")
def template(cluster: Cluster, template: str) -> Iterator[str]:
    """A database with three versions of "m"."""
    with prepared(cluster, template) as name:
        with cluster.connect(name) as connection:
            delc.client.register(connection)
            layers = [{"name": "out", "kind": "linear", "out_features": 2}]
            for number in range(3):
                state = {"out.weight": torch.full((2, 4), float(number)), "out.bias": torch.zeros(2)}
                delc.client.push(
                    connection, "m", state, network=layers, input_shape=[4], labels=["a", "b"], target="label"
                )
            connection.execute("DELETE FROM delc.model_version_parents")  # only the test's own use keeps a version
        yield name


@pytest.fixture
def model(fresh_db: Connection) -> Connection:
    """A clone of it."""
    return fresh_db


@pytest.fixture
def first(cluster: Cluster, fresh_database: str, model: Connection) -> Iterator[Connection]:
    """A transaction that comes first and is still open."""
    with cluster.connect(fresh_database, autocommit=False) as connection:
        yield connection


def wait_until_waiting(db: Connection, statement: Running) -> None:
    """The statement has come as far as the lock that the first transaction holds, or has ended."""
    while statement.is_running and not value(db, WAITING, statement.pid):
        pass


def level_of(level: IsolationLevel) -> str:
    return f"SET default_transaction_isolation = '{level.name.lower().replace('_', ' ')}'"


@pytest.mark.parametrize(("use", "drop", "level"), CASES)
def test_a_version_that_is_being_used_is_not_dropped_beneath_its_user(
    cluster: Cluster, fresh_database: str, model: Connection, first: Connection, use: str, drop: str,
    level: IsolationLevel,
) -> None:  # fmt: skip
    first.execute(USES[use])
    with running(cluster, fresh_database, DROPS[drop], level_of(level)) as second:
        wait_until_waiting(model, second)
        first.commit()
        error = second.ended()
    if error is not None:
        assert error.sqlstate in ("2BP01", "40001"), message(error)
        assert error.sqlstate == "40001" or "cannot be dropped because" in message(error)
    check_whole(model)


@pytest.mark.parametrize(("use", "drop", "level"), CASES)
def test_a_version_that_is_being_dropped_is_not_used_any_more(
    cluster: Cluster, fresh_database: str, model: Connection, first: Connection, use: str, drop: str,
    level: IsolationLevel,
) -> None:  # fmt: skip
    first.execute(DROPS[drop])
    with running(cluster, fresh_database, USES[use], level_of(level)) as second:
        wait_until_waiting(model, second)
        first.commit()
        error = second.ended()
    assert error is not None
    assert error.sqlstate in ("42704", "40001"), message(error)
    check_whole(model)


def check_whole(db: Connection) -> None:
    """Every version has its parameters, and a drop that had to wait succeeds or says what keeps it."""
    without = """
        SELECT count(*) FROM delc.model_versions AS version WHERE NOT EXISTS (
            SELECT FROM delc.snapshots AS snapshot
            JOIN delc.parameters AS parameter ON parameter.snapshot_id = snapshot.id
            WHERE snapshot.version_id = version.id AND snapshot.is_latest)
    """
    assert value(db, without) == 0


def test_a_run_whose_version_went_meanwhile_can_be_tried_again(
    cluster: Cluster, fresh_database: str, model: Connection, first: Connection
) -> None:
    columns = "ARRAY[i, 0, 0, 0]::real[] AS input, 'a' AS label"
    model.execute(f"CREATE TABLE t AS SELECT {columns} FROM generate_series(1, 9) AS i")
    first.execute(DROPS["drop_model"])
    query = "SELECT count(*) FROM delc.evaluate('m@2', 'SELECT input, label FROM t')"
    with running(cluster, fresh_database, query) as second:
        wait_until_waiting(model, second)
        first.commit()
        error = second.ended()
    assert error is not None
    assert error.sqlstate in ("40001", "42704"), message(error)


@pytest.mark.parametrize("alias", ["latest", "LATEST", "Latest"])
def test_a_name_that_reads_like_the_newest_version_is_no_alias(model: Connection, alias: str) -> None:
    error = failure(model, f"SELECT delc.set_alias('m', '{alias}')")
    assert error.sqlstate == "22023"


DATA_DROPS = {
    "version": "SELECT delc.drop_dataset_version('d@1')",
    "prune": "SELECT count(*) FROM delc.prune_dataset('d', keep_last => 1)",
    "data set": "SELECT delc.drop_dataset('d')",
}
TRAINING = "SELECT delc.train('n', 'd@1', network => 'linear', epochs => 1)"


@pytest.fixture
def data(model: Connection) -> Connection:
    """Two versions of "d"."""
    model.execute("CREATE TABLE t AS SELECT i AS id, i AS x, i AS y FROM generate_series(1, 40) AS i")
    model.execute("SELECT delc.create_dataset('d', 't', 'id', 'y')")
    model.execute("SELECT delc.correct_dataset('d', 'SELECT 1 AS id, 5 AS x')")
    return model


@pytest.mark.parametrize("drop", DATA_DROPS)
def test_a_training_whose_data_went_meanwhile_says_so(
    cluster: Cluster, fresh_database: str, data: Connection, first: Connection, drop: str
) -> None:
    first.execute(DATA_DROPS[drop])
    with running(cluster, fresh_database, TRAINING) as second:
        wait_until_waiting(data, second)
        first.commit()
        error = second.ended()
    assert error is not None
    assert error.sqlstate == "40001", message(error)
    assert "was dropped by another transaction meanwhile" in message(error)


@pytest.mark.parametrize("drop", DATA_DROPS)
def test_data_that_a_training_uses_meanwhile_stay(
    cluster: Cluster, fresh_database: str, data: Connection, first: Connection, drop: str
) -> None:
    first.execute(TRAINING)
    with running(cluster, fresh_database, DATA_DROPS[drop]) as second:
        wait_until_waiting(data, second)
        first.commit()
        error = second.ended()
    assert error is not None
    assert error.sqlstate == "40001", message(error)
    assert "another transaction has used" in message(error)
    assert value(data, "SELECT count(*) FROM delc.training_rows('n')") == 40
