"""What is rolled back leaves nothing: no rows, no tables, and no other session has seen anything of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, record, rolled_back, rows, value, workplace

QUICK = {"network": "'linear'", "epochs": "1", "checkpoint_every": "1"}
EVERYTHING = """
    SELECT relname, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', oid::regclass), false,
                                                         true, '')))[1]::text
    FROM pg_class WHERE relnamespace IN ('delc'::regnamespace, 'delc_data'::regnamespace) AND relkind = 'r'
    ORDER BY relnamespace, relname
"""
OPERATIONS = {
    "create_dataset": dataset("new", "flowers", "species"),
    "commit_dataset": "UPDATE flowers SET petal = petal + 1; SELECT delc.commit_dataset('flowers')",
    "train": train("flowers", "flowers", **QUICK),
    "evaluate": "SELECT * FROM delc.evaluate('flowers', 'flowers')",
    "set_alias": "SELECT delc.set_alias('flowers', 'x')",
    "drop_model": "SELECT delc.drop_model('flowers')",
    "grant_dataset": "SELECT delc.grant_dataset('flowers', 'delc_user')",
}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [FLOWERS, dataset("flowers", "flowers", "species"), train("flowers", "flowers", **QUICK)]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture(scope="module")
def other(cluster: Cluster, place: Connection) -> Iterator[Connection]:
    """Another session."""
    with cluster.connect(place.info.dbname) as connection:
        yield connection


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_rolled_back_leaves_nothing_in_no_session(place: Connection, other: Connection, operation: str) -> None:
    before = rows(other, EVERYTHING)
    with rolled_back(place) as db:
        db.execute(OPERATIONS[operation])
        assert rows(db, EVERYTHING) != before or operation in ("grant_dataset",)
        assert rows(other, EVERYTHING) == before
    assert rows(other, EVERYTHING) == before
    with rolled_back(place) as db:
        assert rows(db, EVERYTHING) == before


def test_a_data_set_rolled_back_can_be_made_again(place: Connection) -> None:
    with rolled_back(place) as db:
        db.execute(dataset("again", "flowers", "species"))
    with rolled_back(place) as db:
        assert record(db, dataset("again", "flowers", "species"))["dataset"] == "again@1"


def test_a_data_set_rolled_back_is_unknown(place: Connection, other: Connection) -> None:
    with rolled_back(place) as db:
        db.execute(dataset("hidden", "flowers", "species"))
        assert failure(other, train("any", "hidden", **QUICK)).sqlstate == "42704"
    with rolled_back(place) as db:
        assert failure(db, train("any", "hidden", **QUICK)).sqlstate == "42704"


def test_a_model_is_committed_with_the_rows_it_was_trained_on_or_not_at_all(
    place: Connection, other: Connection
) -> None:
    with rolled_back(place) as db:
        db.execute("INSERT INTO flowers SELECT id + 1000, width, height, petal, species FROM flowers")
        db.execute("SELECT delc.commit_dataset('flowers')")
        db.execute(train("together", "flowers", **QUICK))
        assert value(db, "SELECT max(rows) FROM delc.dataset_versions") == 300
    assert value(other, "SELECT max(rows) FROM delc.dataset_versions") == 150
    assert value(other, "SELECT count(*) FROM delc.models WHERE name = 'together'") == 0
