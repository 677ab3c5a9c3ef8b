"""Cancel and statement_timeout stop long work soon, and the session goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.sessions import STOPS_WITHIN_SECONDS, running, wait_for_progress
from support.workplace import failure, value, workplace

MANY = "SELECT n AS id, 1.0::real AS width, 2.0::real AS height, 3.0::real AS petal, ''setosa'' AS species"
MANY += " FROM (SELECT generate_series(1, 300000000) AS n) AS numbers"
"""Rows that come one by one, for longer than any test waits."""

WORK = {
    "training": train("endless", "flowers", epochs="1000000"),
    "packing": f"SELECT count(*) FROM delc.predict_rows('flowers', '{MANY}')",
    "evaluation": f"SELECT * FROM delc.evaluate('flowers', '{MANY}')",
    "evaluation that is not stored": f"SELECT * FROM delc.evaluate('flowers', '{MANY}', store => false)",
    "prediction row by row": "SELECT count(delc.predict('flowers', ARRAY[n, n, n]))"
    " FROM (SELECT generate_series(1, 300000000) AS n) AS numbers",
    "making a data set": f"SELECT delc.create_dataset('many', '{MANY}', key => 'id', target => 'species')",
}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [FLOWERS, dataset("flowers", "flowers", "species"), train("flowers", "flowers", epochs="2")]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.mark.parametrize("work", WORK)
def test_a_timeout_stops_work_and_the_session_goes_on(place: Connection, work: str) -> None:
    place.execute("SET statement_timeout = '400ms'")
    place.commit()
    started = time.monotonic()
    error = failure(place, WORK[work])
    elapsed = time.monotonic() - started
    place.rollback()
    assert error.sqlstate == "57014"
    assert 0.4 <= elapsed < 0.4 + STOPS_WITHIN_SECONDS
    assert value(place, "SELECT delc.predict('flowers', f) FROM flowers AS f WHERE id = 3") is not None
    place.execute("RESET statement_timeout")
    place.commit()


@pytest.mark.parametrize("work", ["training", "evaluation"])
def test_a_cancel_stops_work_and_the_session_goes_on(cluster: Cluster, place: Connection, work: str) -> None:
    database = place.info.dbname
    with cluster.connect(database) as watcher, running(cluster, database, WORK[work]) as statement:
        wait_for_progress(watcher, statement, "training" if work == "training" else "predicting")
        watcher.execute("SELECT pg_cancel_backend(%s)", [statement.pid])
        error = statement.ended(within=STOPS_WITHIN_SECONDS)
        assert error is not None
        assert error.sqlstate == "57014"
        assert value(statement.connection, "SELECT count(*) FROM flowers") == 150
        assert value(statement.connection, "SELECT count(*) FROM delc.progress") == 0


def test_a_cancel_in_an_exception_block_is_not_swallowed_by_python(place: Connection) -> None:
    """WHEN OTHERS does not catch a cancel, so it must arrive as one and not as an error of Python's."""
    place.execute("SET statement_timeout = '300ms'")
    call = WORK["training"].removeprefix("SELECT * FROM ")
    block = f"DO $$ BEGIN PERFORM {call}; EXCEPTION WHEN OTHERS THEN NULL; END $$"
    error = failure(place, block)
    place.rollback()
    assert error.sqlstate == "57014"
