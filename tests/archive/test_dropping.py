"""Dropping versions and snapshots that others are stored as differences from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import rolled_back, rows, value, workplace

SLOW = {"network": """'{"architecture": "mlp", "hidden": [48]}'""", "learning_rate": "0.0005"}
NUMBERS = """
    SELECT snapshot.epoch, parameter.name, md5(delc.to_npy(parameter.value)) FROM delc.parameters AS parameter
    JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE model.name = 'base' AND version.number = 2 ORDER BY 1, 2
"""
UNUSED = """
    SELECT count(*) FROM delc.stored_tensors AS stored
    WHERE NOT EXISTS (SELECT FROM delc.snapshot_parameters AS p WHERE p.tensor_id = stored.id)
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", **SLOW),
        train("base", "flowers", epochs="6", checkpoint_every="1", **SLOW),
        "SELECT delc.archive(objective => 'smallest')",
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def test_checkpoints_follow_one_another(db: Connection) -> None:
    assert value(db, "SELECT max(hops) FROM delc.stored_tensors") > 2


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_what_was_stored_as_a_difference_from_a_dropped_snapshot_stays_as_it_is(db: Connection, epoch: int) -> None:
    before = [found for found in rows(db, NUMBERS) if found[0] != epoch]
    db.execute(f"SELECT delc.drop_snapshot('base@2#{epoch}')")
    assert rows(db, NUMBERS) == before
    assert value(db, UNUSED) == 0
    assert value(db, "SELECT max(hops) FROM delc.stored_tensors") > 1


def test_checkpoints_can_go_one_after_the_other(db: Connection) -> None:
    before = [found for found in rows(db, NUMBERS) if found[0] == 6]
    for epoch in (3, 1, 5, 2, 4):
        db.execute(f"SELECT delc.drop_snapshot('base@2#{epoch}')")
    assert rows(db, NUMBERS) == before
    assert value(db, "SELECT count(*) FROM delc.verify_archive()") == 0


def test_a_dropped_version_takes_its_tensors_along(db: Connection) -> None:
    before = rows(db, NUMBERS)
    db.execute("SELECT delc.drop_model('base@1')")
    assert rows(db, NUMBERS) == before
    assert value(db, UNUSED) == 0


def test_nothing_is_left_of_the_last_version(db: Connection) -> None:
    db.execute("SELECT delc.drop_model('base')")
    assert value(db, "SELECT count(*) FROM delc.stored_tensors") == 0


def test_a_copy_shares_the_tensors_of_its_origin_and_keeps_them_alive(db: Connection) -> None:
    stored = value(db, "SELECT count(*) FROM delc.stored_tensors")
    db.execute("SELECT delc.copy_model('base@1', 'copy')")
    assert value(db, "SELECT count(*) FROM delc.stored_tensors") == stored
