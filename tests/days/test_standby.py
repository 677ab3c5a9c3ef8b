"""A streaming replica: what only reads works there, what writes says why not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, rows, value, workplace

PREDICTIONS = "SELECT id, delc.predict_probability('flowers', f, 'setosa') FROM flowers AS f ORDER BY id"
SETS = "SELECT * FROM delc.predict_rows('flowers', 'SELECT * FROM flowers', top => 3)"
MEASURED = "SELECT metric, class, predicted, value FROM delc.evaluate('flowers', 'flowers', store => false)"


@pytest.fixture(scope="module")
def pair(cluster: Cluster, template: str) -> Iterator[tuple[Connection, Connection]]:
    """A session on the primary and one on the replica, for which nothing was prepared."""
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("flowers", "flowers", epochs="2"),
        "SELECT * FROM delc.evaluate('flowers', 'flowers')",
    ]
    with workplace(cluster, template, *statements) as primary:
        primary.commit()
        primary.autocommit = True
        with cluster.standby() as standby:
            cluster.wait_for_standby(standby)
            with standby.connect(primary.info.dbname) as replica:
                yield primary, replica


def test_predict_works(pair: tuple[Connection, Connection]) -> None:
    primary, replica = pair
    assert value(replica, "SELECT pg_is_in_recovery()") is True
    assert rows(replica, PREDICTIONS) == rows(primary, PREDICTIONS)


def test_predict_rows_works(pair: tuple[Connection, Connection]) -> None:
    primary, replica = pair
    assert rows(replica, SETS) == rows(primary, SETS)


def test_embed_works(pair: tuple[Connection, Connection]) -> None:
    primary, replica = pair
    embedded = "SELECT delc.embed('flowers', f)::text FROM flowers AS f WHERE id = 3"
    assert rows(replica, embedded) == rows(primary, embedded)


def test_evaluate_works_when_it_stores_nothing(pair: tuple[Connection, Connection]) -> None:
    primary, replica = pair
    found, expected = rows(replica, MEASURED), rows(primary, MEASURED)
    assert [line for line in found if line[0] != "latency_ms"] == [line for line in expected if line[0] != "latency_ms"]


def test_stored_metrics_and_the_log_can_be_read(pair: tuple[Connection, Connection]) -> None:
    primary, replica = pair
    for query in ("SELECT * FROM delc.evaluate('flowers')", "TABLE delc.lineage", "TABLE delc.leaderboard"):
        assert rows(replica, query) == rows(primary, query)


def test_evaluate_says_how_to_store_nothing(pair: tuple[Connection, Connection]) -> None:
    error = failure(pair[1], "SELECT * FROM delc.evaluate('flowers', 'flowers')")
    assert error.sqlstate == "55000"
    assert "store => false" in message(error)


@pytest.mark.parametrize(
    "call",
    [
        train("any", "flowers", epochs="1"), dataset("any", "flowers", "species"), "SELECT delc.drop_model('flowers')",
        "SELECT delc.set_alias('flowers', 'x')",
    ],
)  # fmt: skip
def test_what_writes_is_refused_and_the_session_goes_on(pair: tuple[Connection, Connection], call: str) -> None:
    _, replica = pair
    error = failure(replica, call)
    assert error.sqlstate in ("25006", "55000")
    assert value(replica, "SELECT delc.predict('flowers', f) FROM flowers AS f WHERE id = 3") is not None


def test_an_error_there_is_as_clear_as_elsewhere(pair: tuple[Connection, Connection]) -> None:
    error = failure(pair[1], "SELECT delc.predict('flover', f) FROM flowers AS f")
    assert 'Did you mean "flowers"?' in message(error)


def test_a_version_made_on_the_primary_is_used_as_soon_as_it_arrives(
    cluster: Cluster, pair: tuple[Connection, Connection]
) -> None:
    primary, replica = pair
    before = rows(replica, PREDICTIONS)
    primary.execute(train("flowers", "flowers", epochs="4"))
    position = value(primary, "SELECT pg_current_wal_lsn()::text")
    while not value(replica, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position):
        pass
    assert rows(replica, PREDICTIONS) == rows(primary, PREDICTIONS) != before
