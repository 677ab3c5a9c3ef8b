"""Lossy schemes: told beforehand, done only when asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, rolled_back, rows, value, workplace

NETWORK = """'{"architecture": "mlp", "hidden": [128, 128]}'"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", epochs="6", checkpoint_every="3", network=NETWORK),
        train("kept", "flowers", epochs="2", checkpoint_every="1", keep_optimizer="true"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def test_the_report_has_a_row_for_each_scheme(db: Connection) -> None:
    found = rows(db, "SELECT scheme, share, agreement FROM delc.archive_report('base', 'flowers')")
    assert [scheme for scheme, _, _ in found] == [
        "exact", "float16", "bfloat16", "fixed(16)", "fixed(8)", "uniform(8)", "uniform(4)", "distribution(8)",
        "distribution(4)",
    ]  # fmt: skip
    assert found[0][1:] == (1, 1)
    assert all(share < 1 for _, share, _ in found[1:]), found


def test_the_report_changes_nothing(db: Connection) -> None:
    before = rows(db, "SELECT id, value::text FROM delc.stored_tensors ORDER BY id")
    db.execute("SELECT * FROM delc.archive_report('base', 'flowers')")
    assert rows(db, "SELECT id, value::text FROM delc.stored_tensors ORDER BY id") == before


def test_rounding_changes_checkpoints_and_says_so(db: Connection) -> None:
    rounded = "delc.round_snapshots('base', 'bfloat16')"
    found = rows(db, f"SELECT snapshot, bytes < bytes_before, largest_change > 0 FROM {rounded}")
    assert found == [("base@1#3", True, True)]
    assert rows(db, "SELECT epoch, scheme FROM delc.snapshots WHERE scheme IS NOT NULL") == [(3, "bfloat16")]
    assert value(db, "SELECT count(*) FROM delc.verify_archive()") == 0


def test_what_the_version_predicts_with_is_rounded_only_when_asked_for(db: Connection) -> None:
    before = value(db, "SELECT array_agg(delc.predict_probability('base', f, 'virginica')) FROM flowers AS f")
    db.execute("SELECT delc.round_snapshots('base', 'uniform', 4)")
    assert value(db, "SELECT array_agg(delc.predict_probability('base', f, 'virginica')) FROM flowers AS f") == before
    db.execute("SELECT delc.round_snapshots('base', 'uniform', 4, with_latest => true)")
    assert value(db, "SELECT array_agg(delc.predict_probability('base', f, 'virginica')) FROM flowers AS f") != before


def test_sixteen_values_take_half_a_byte_each(db: Connection) -> None:
    db.execute("SELECT delc.round_snapshots('base', 'uniform', 4, with_latest => true)")
    stored = """
        SELECT max(8.0 * delc.stored_bytes(value) / elements) FROM delc.stored_tensors
        WHERE elements = 128 * 128 AND encoding = 'dense'
    """
    assert value(db, stored) < 4.5


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("'base', 'float8'", 'scheme "float8"'),
        ("'base', 'fixed'", "fixed with None bits"),
        ("'base', 'uniform', 9", "uniform with 9 bits"),
        ("'base', 'bfloat16', 8", "bfloat16 takes no bits"),
        ("'kept', 'bfloat16'", "keeps the state of its training"),
        ("NULL, 'bfloat16'", "scope is NULL"),
    ],
)
def test_what_cannot_be_rounded_is_said(db: Connection, call: str, text: str) -> None:
    assert text in message(failure(db, f"SELECT delc.round_snapshots({call})"))
