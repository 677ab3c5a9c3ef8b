"""Archiving: tensors in less space, with every number as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, rolled_back, row, rows, value, workplace

NETWORK = """'{"architecture": "mlp", "hidden": [64, 64]}'"""
NUMBERS = "SELECT snapshot_id, name, chunk, md5(delc.to_npy(value)) FROM delc.parameters ORDER BY 1, 2, 3"
STORED = "SELECT sum(delc.stored_bytes(value))::bigint FROM delc.stored_tensors"
PREDICTIONS = "SELECT array_agg(delc.predict('{}', f) ORDER BY id) FROM flowers AS f"


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """A model with checkpoints, two that were trained on from it, and one of its own."""
    slow = {"network": NETWORK, "learning_rate": "0.0005"}
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", epochs="6", checkpoint_every="1", **slow),
        train("tuned", "flowers", from_model="'base'", epochs="2", learning_rate="0.0001", network="'mlp'"),
        train("tuned", "flowers", from_model="'base'", epochs="3", learning_rate="0.0001", network="'mlp'"),
        train("other", "flowers", seed="7", **slow),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def test_archiving_changes_no_number(db: Connection) -> None:
    before = rows(db, NUMBERS)
    db.execute("SELECT delc.archive()")
    assert rows(db, NUMBERS) == before


def test_archiving_saves_space(db: Connection) -> None:
    before = value(db, STORED)
    db.execute("SELECT delc.archive(objective => 'smallest')")
    assert value(db, STORED) < 0.8 * before


def test_each_tensor_is_a_row_of_the_result(db: Connection) -> None:
    db.execute("CREATE TEMP TABLE found AS SELECT * FROM delc.archive(objective => 'smallest')")
    assert value(db, "SELECT count(*) FROM found") == value(db, "SELECT count(*) FROM delc.stored_tensors")
    assert value(db, "SELECT sum(bytes) FROM found") == value(db, STORED)
    assert value(db, "SELECT count(*) FROM found WHERE stored_as = 'sub' AND base IS NOT NULL") > 0


def test_a_checkpoint_is_the_difference_from_its_neighbour(db: Connection) -> None:
    found = dict(rows(db, "SELECT parameter, base FROM delc.archive('base', objective => 'smallest')"))
    weights = [name for name in found if name.endswith("hidden2.weight")]
    assert weights, found
    assert sum(found[name] is not None for name in weights) == len(weights) - 1


def test_predictions_stay_the_same(db: Connection) -> None:
    before = [value(db, PREDICTIONS.format(model)) for model in ("base", "tuned@1", "other")]
    db.execute("SELECT delc.archive(objective => 'smallest')")
    assert [value(db, PREDICTIONS.format(model)) for model in ("base", "tuned@1", "other")] == before


def test_a_dry_run_changes_nothing(db: Connection) -> None:
    before = rows(db, "SELECT id, base_id, encoding, xmin::text FROM delc.stored_tensors ORDER BY id")
    expected = rows(db, "SELECT parameter, bytes FROM delc.archive(objective => 'smallest', dry_run => true)")
    assert rows(db, "SELECT id, base_id, encoding, xmin::text FROM delc.stored_tensors ORDER BY id") == before
    assert expected


def test_archiving_again_changes_nothing(db: Connection) -> None:
    db.execute("SELECT delc.archive()")
    before = rows(db, "SELECT id, base_id, encoding, ctid::text FROM delc.stored_tensors ORDER BY id")
    db.execute("SELECT delc.archive()")
    assert rows(db, "SELECT id, base_id, encoding, ctid::text FROM delc.stored_tensors ORDER BY id") == before


def test_archiving_after_a_new_version_stores_that_one(db: Connection) -> None:
    db.execute("SELECT delc.archive(objective => 'smallest')")
    db.execute(train("tuned", "flowers", from_model="'base'", epochs="1", learning_rate="0.0001", network="'mlp'"))
    assert value(db, "SELECT count(*) FROM delc.stored_tensors WHERE encoding = 'fast'") > 0
    before = rows(db, NUMBERS)
    db.execute("SELECT delc.archive(objective => 'smallest')")
    assert value(db, "SELECT count(*) FROM delc.stored_tensors WHERE encoding = 'fast'") == 0
    assert rows(db, NUMBERS) == before


def test_equal_tensors_are_stored_once(db: Connection) -> None:
    for name in ("one", "twin"):
        db.execute(train(name, "flowers", seed="3", network=NETWORK))
    before, numbers = value(db, "SELECT count(*) FROM delc.stored_tensors"), rows(db, NUMBERS)
    db.execute("SELECT delc.archive('twin')")
    assert value(db, "SELECT count(*) FROM delc.stored_tensors") == before
    db.execute("SELECT delc.archive()")
    assert value(db, "SELECT count(*) FROM delc.stored_tensors") == before - 6
    assert rows(db, NUMBERS) == numbers


def test_chains_are_no_longer_than_allowed(db: Connection) -> None:
    db.execute("SELECT delc.archive(objective => 'smallest', longest_chain => 2)")
    assert value(db, "SELECT max(hops) FROM delc.stored_tensors") <= 2


def test_hops_count_the_differences_on_the_way(db: Connection) -> None:
    db.execute("SELECT delc.archive(objective => 'smallest')")
    wrong = "SELECT count(*) FROM delc.stored_tensors AS s JOIN delc.stored_tensors AS b ON b.id = s.base_id"
    assert value(db, f"{wrong} WHERE s.hops <> b.hops + 1") == 0


def test_a_budget_keeps_the_newest_version_quick(db: Connection) -> None:
    db.execute("""SELECT delc.archive(budget => '{"latest": 1, "other": 10}')""")
    newest = "SELECT longest_chain FROM delc.archive_summary WHERE snapshot LIKE 'tuned@2%'"
    assert value(db, newest) == 0


def test_a_dry_run_has_the_rows_that_archiving_gives(db: Connection) -> None:
    db.execute("SELECT delc.copy_model('base@1', 'copy')")
    again = (
        "INSERT INTO delc.stored_tensors (value, encoding, dtype, elements, checksum)"
        " SELECT value, encoding, dtype, elements, checksum FROM delc.stored_tensors WHERE hops = 0 RETURNING id"
    )
    for (tensor,) in rows(db, again):
        db.execute(
            "UPDATE delc.snapshot_parameters SET tensor_id = %(new)s FROM delc.snapshots AS snapshot,"
            " delc.model_versions AS version, delc.models AS model, delc.stored_tensors AS old,"
            " delc.stored_tensors AS new"
            " WHERE snapshot.id = snapshot_id AND version.id = version_id AND model.id = model_id"
            " AND model.name = 'copy'"
            " AND old.id = tensor_id AND new.id = %(new)s AND (old.checksum, old.dtype, old.elements)"
            " = (new.checksum, new.dtype, new.elements)",
            {"new": tensor},
        )
    planned = "SELECT parameter, stored_as FROM delc.archive(dry_run => {}) ORDER BY parameter"
    foreseen = rows(db, planned.format("true"))
    assert len(foreseen) < value(db, "SELECT count(*) FROM delc.snapshot_parameters")
    assert foreseen == rows(db, planned.format("false"))


def test_what_would_pass_the_memory_limit_is_refused(db: Connection) -> None:
    db.execute("SET LOCAL delc.memory_limit = '32MB'")
    db.execute("SELECT delc.archive()")
    wide = """'{"architecture": "mlp", "hidden": [600, 600]}'"""
    db.execute(train("wide", "flowers", network=wide, epochs="1"))
    error = failure(db, "SELECT delc.archive()")
    assert error.sqlstate == "54000"
    assert "more than delc.memory_limit" in message(error)


def test_large_tensors_are_stored_for_quick_reading_where_the_budget_is_tight(db: Connection) -> None:
    wide = """'{"architecture": "mlp", "hidden": [300, 300]}'"""
    db.execute(train("wide", "flowers", network=wide, epochs="1"))
    planned = "SELECT stored_as FROM delc.archive('wide', objective => 'fastest', dry_run => true)"
    assert value(db, f"{planned} WHERE parameter LIKE '%hidden2.weight'") == "fast"


def test_a_budget_that_nothing_keeps_is_an_error(db: Connection) -> None:
    error = failure(db, """SELECT delc.archive(budget => '{"milliseconds": 0.0001}')""")
    assert error.sqlstate == "22023"
    assert "too small" in message(error)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("'nobody'", 'unknown model "nobody"'),
        ("'base@9'", 'no version "9"'),
        ("'base#1'", "names a snapshot"),
        ("'x%'", 'unknown model "x%"'),
        ("objective => 'small'", 'objective "small"'),
        ("method => 'add'", 'method "add"'),
        ("retrieval => 'all'", 'retrieval scheme "all"'),
        ("longest_chain => -1", "longest_chain is -1"),
        ("halves => NULL", "halves is NULL"),
        ("planner => 'wurst'", 'planner "wurst"'),
        ("budget => '0.5'", "0.5 is no budget"),
        ("budget => '1e999'", "is no budget"),
        ("""budget => '{"old": 2}'""", 'class of snapshots "old"'),
        ("objective => 'smallest', budget => '2'", "budget has no meaning"),
    ],
)
def test_what_cannot_be_done_is_said(db: Connection, call: str, text: str) -> None:
    assert text in message(failure(db, f"SELECT delc.archive({call})"))


def test_a_rolled_back_archiving_leaves_nothing(db: Connection) -> None:
    before = rows(db, "SELECT id, base_id, encoding, ctid::text FROM delc.stored_tensors ORDER BY id")
    db.execute("SAVEPOINT here")
    db.execute("SELECT delc.archive(objective => 'smallest')")
    db.execute("ROLLBACK TO here")
    assert rows(db, "SELECT id, base_id, encoding, ctid::text FROM delc.stored_tensors ORDER BY id") == before


def test_the_archiving_is_a_run(db: Connection) -> None:
    db.execute("SELECT delc.archive('base')")
    runs = "SELECT subject, outcome FROM delc.runs WHERE operation = 'archive' ORDER BY id DESC LIMIT 1"
    assert row(db, runs) == ("base", "succeeded")


def test_other_sessions_see_the_old_form_until_it_is_committed(cluster: Cluster, db: Connection) -> None:
    db.execute("SELECT delc.archive(objective => 'smallest')")
    with cluster.connect(db.info.dbname) as other:
        assert value(other, "SELECT count(*) FROM delc.stored_tensors WHERE base_id IS NOT NULL") == 0
        assert value(other, PREDICTIONS.format("base")) == value(db, PREDICTIONS.format("base"))


def test_what_a_copy_shares_with_a_model_of_others_stays_as_they_had_it(db: Connection, new_role: Any) -> None:
    db.execute("SELECT delc.archive('base', objective => 'smallest')")
    stored = "SELECT id, encoding, ctid::text FROM delc.stored_tensors ORDER BY id"
    db.execute("SELECT delc.copy_model('base@1', 'copied')")
    db.execute("UPDATE delc.models SET owner = 'somebody else' WHERE name = 'base'")
    role = new_role("delc_trainer")
    db.execute(f"UPDATE delc.models SET owner = '{role}' WHERE name = 'copied'")
    before = rows(db, stored)
    db.execute(f"SET LOCAL ROLE {role}")
    assert rows(db, "SELECT * FROM delc.archive('copied', objective => 'fastest')") == []
    db.execute("RESET ROLE")
    assert rows(db, stored) == before


def test_who_owns_no_model_archives_nothing(db: Connection, new_role: Any) -> None:
    db.execute(f"SET LOCAL ROLE {new_role('delc_trainer')}")
    assert rows(db, "SELECT * FROM delc.archive()") == []


def test_an_archive_can_be_analyzed(db: Connection) -> None:
    db.execute("SELECT delc.archive(objective => 'smallest')")
    db.execute("ANALYZE delc.stored_tensors")
    assert value(db, "SELECT count(*) FROM pg_stats WHERE tablename = 'stored_tensors' AND attname = 'hops'") == 1
