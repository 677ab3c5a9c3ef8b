"""verify_archive() finds what is damaged, and reading it is an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, rolled_back, rows, workplace


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", epochs="3", checkpoint_every="1", learning_rate="0.0005"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


@pytest.mark.parametrize("archived", [False, True])
def test_a_sound_archive_has_nothing_to_report(db: Connection, archived: bool) -> None:
    if archived:
        db.execute("SELECT delc.archive(objective => 'smallest')")
    assert rows(db, "SELECT * FROM delc.verify_archive()") == []


def test_changed_numbers_are_named(db: Connection) -> None:
    db.execute("""
        UPDATE delc.stored_tensors SET value = value OPERATOR(delc.+) 1
        WHERE id = (SELECT tensor_id FROM delc.snapshot_parameters AS p JOIN delc.snapshots AS s ON s.id = p.snapshot_id
                    WHERE s.epoch = 2 AND p.learnable ORDER BY name LIMIT 1)
    """)
    ((parameter, problem),) = rows(db, "SELECT parameter, problem FROM delc.verify_archive()")
    assert parameter.startswith("base@1#2 ")
    assert "checksum" in problem


def test_predicting_with_changed_numbers_is_an_error_that_names_the_parameter(db: Connection) -> None:
    db.execute("""
        UPDATE delc.stored_tensors SET value = value OPERATOR(delc.+) 1
        WHERE id = (SELECT tensor_id FROM delc.snapshot_parameters AS p JOIN delc.snapshots AS s ON s.id = p.snapshot_id
                    WHERE s.epoch = 2 AND p.learnable ORDER BY name LIMIT 1)
    """)
    error = failure(db, "SELECT delc.predict('base@1#2', f) FROM flowers AS f LIMIT 1")
    assert error.sqlstate == "XX001"
    assert '"base@1#2"' in message(error)
    assert ".weight" in message(error) or ".bias" in message(error)
