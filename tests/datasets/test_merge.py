"""Three-way merge by key."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support.cluster import Connection
from support.datasets import Row, call, commit, create, make_customers, message, read, value


@pytest.fixture
def branched(db: Connection) -> Connection:
    """Customers 1 to 20 on main and on a branch b."""
    make_customers(db, 20)
    create(db, "customers", "customers")
    db.execute("SELECT delc.branch_dataset('customers', 'b')")
    return db


def correct(db: Connection, name: str, query: str, **options: Any) -> Row:
    return call(db, "correct_dataset", name=name, query=query, **options)


def merge(db: Connection, target: str = "customers", source: str = "customers@b", **options: Any) -> list[Row]:
    given = ", ".join(f"{name} => %({name})s" for name in options)
    with db.cursor(row_factory=dict_row) as cursor:
        text = f"SELECT * FROM delc.merge_dataset(%(t)s, %(s)s{', ' if given else ''}{given})"
        return cursor.execute(text.encode(), {"t": target, "s": source, **options}).fetchall()


def ages(db: Connection, version: str) -> dict[int, Any]:
    return {row[0]: row[2] for row in read(db, version)}


def test_changes_of_both_sides_come_together(branched: Connection) -> None:
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    correct(branched, "customers", "SELECT 2 AS id", remove=True)
    correct(branched, "customers@b", "SELECT 3 AS id, 73 AS age")
    correct(branched, "customers@b", "SELECT 4 AS id", remove=True)
    call(
        branched,
        "append_dataset",
        name="customers@b",
        query="SELECT 30 AS id, 'r' AS region, 1 AS age, true AS churned",
    )
    (row,) = merge(branched, message="both")
    assert (row["dataset"], row["rows"], row["added"], row["removed"]) == ("customers@7", 19, 2, 2)
    found = ages(branched, "customers")
    assert (found[1], found[3], found[30]) == (71, 73, 1)
    assert not {2, 4} & set(found)
    log = branched.execute("SELECT kind, parents, message FROM delc.dataset_log WHERE version = 7").fetchone()
    assert log == ("merge", [3, 6], "both")
    assert ages(branched, "customers@1")[2] == 2


def test_conflicts_are_rows_and_nothing_is_merged(branched: Connection) -> None:
    correct(branched, "customers", "SELECT i AS id, 71 AS age FROM generate_series(1, 2) AS i")
    correct(branched, "customers@b", "SELECT 1 AS id, 72 AS age")
    correct(branched, "customers@b", "SELECT 2 AS id", remove=True)
    conflicts = merge(branched)
    assert [row["key"] for row in conflicts] == [{"id": 1}, {"id": 2}]
    assert [row["dataset"] for row in conflicts] == [None, None]
    first, second = conflicts
    assert (first["base"]["age"], first["ours"]["age"], first["theirs"]["age"]) == (1, 71, 72)
    assert (second["ours"]["age"], second["theirs"]) == (71, None)
    assert value(branched, "SELECT max(number) FROM delc.dataset_versions") == 4


@pytest.mark.parametrize(("side", "expected"), [("ours", (71, 71)), ("theirs", (72, None)), ("base", (1, 2))])
def test_a_side_resolves_all_conflicts(branched: Connection, side: str, expected: tuple[Any, Any]) -> None:
    correct(branched, "customers", "SELECT i AS id, 71 AS age FROM generate_series(1, 2) AS i")
    correct(branched, "customers@b", "SELECT 1 AS id, 72 AS age")
    correct(branched, "customers@b", "SELECT 2 AS id", remove=True)
    merge(branched, prefer=side)
    found = ages(branched, "customers")
    assert (found[1], found.get(2)) == expected
    assert len(found) == 20 - (expected[1] is None)


def test_resolutions_decide_key_by_key(branched: Connection) -> None:
    for name, age in (("customers", 71), ("customers@b", 72)):
        correct(branched, name, f"SELECT i AS id, {age} AS age FROM generate_series(1, 3) AS i")
    query = "VALUES (1, 'ours'), (2, 'theirs')"
    resolutions = f"SELECT * FROM ({query}) AS v(id, resolution)"
    assert [row["key"] for row in merge(branched, resolutions=resolutions)] == [{"id": 3}]
    merge(branched, resolutions=resolutions, prefer="base")
    found = ages(branched, "customers")
    assert (found[1], found[2], found[3]) == (71, 72, 3)


@pytest.mark.parametrize(
    ("resolutions", "told"),
    [
        ("SELECT 1 AS id", 'lack column "resolution"'),
        ("SELECT 1 AS id", "Such as SELECT id, 'theirs' AS resolution"),
        ("SELECT 1 AS id, 'mine' AS resolution", '"mine" is no resolution'),
        ("SELECT 1 AS id, 'ours' AS resolution FROM generate_series(1, 2)", "(1) is there 2 times"),
    ],
)
def test_resolutions_that_cannot_be_are_refused(branched: Connection, resolutions: str, told: str) -> None:
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    correct(branched, "customers@b", "SELECT 1 AS id, 72 AS age")
    with pytest.raises(psycopg.Error) as error:
        merge(branched, resolutions=resolutions)
    assert told in message(error.value)


def test_the_same_change_on_both_sides_is_no_conflict(branched: Connection) -> None:
    for name in ("customers", "customers@b"):
        correct(branched, name, "SELECT 1 AS id, 71 AS age")
    (row,) = merge(branched)
    assert (row["rows"], row["added"], row["removed"]) == (20, 0, 0)
    assert ages(branched, "customers")[1] == 71


def test_the_same_key_added_on_both_sides_is_a_conflict(branched: Connection) -> None:
    for name, age in (("customers", 71), ("customers@b", 72)):
        query = f"SELECT 30 AS id, 'r' AS region, {age} AS age, true AS churned"
        call(branched, "append_dataset", name=name, query=query)
    (conflict,) = merge(branched)
    assert (conflict["base"], conflict["ours"]["age"]) == (None, 71)
    (row,) = merge(branched, prefer="ours")
    assert row["rows"] == 21
    assert ages(branched, "customers")[30] == 71


def test_a_branch_without_changes_moves_forward(branched: Connection) -> None:
    correct(branched, "customers@b", "SELECT 1 AS id, 72 AS age")
    (row,) = merge(branched)
    assert row["dataset"] == "customers@2"
    assert ages(branched, "customers")[1] == 72
    (row,) = merge(branched)
    assert row["dataset"] == "customers@2"


def test_merges_can_follow_merges(branched: Connection) -> None:
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    correct(branched, "customers@b", "SELECT 2 AS id, 72 AS age")
    merge(branched)
    correct(branched, "customers@b", "SELECT i AS id, 73 AS age FROM generate_series(2, 3) AS i")
    merge(branched)
    merge(branched, "customers@b", "customers")
    assert ages(branched, "customers") == ages(branched, "customers@b")
    assert [ages(branched, "customers")[i] for i in (1, 2, 3)] == [71, 73, 73]
    branched.execute("DELETE FROM customers")
    assert commit(branched, "customers")["rows"] == 0


def test_a_row_that_was_restored_on_both_sides_of_a_change_is_kept(branched: Connection) -> None:
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    correct(branched, "customers", "SELECT 1 AS id, 1 AS age")
    correct(branched, "customers@b", "SELECT 2 AS id, 72 AS age")
    (row,) = merge(branched)
    assert row["rows"] == 20
    assert (ages(branched, "customers")[1], ages(branched, "customers")[2]) == (1, 72)


def test_unrelated_histories_are_not_merged(branched: Connection) -> None:
    create(branched, "other", "customers")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="have no version in common") as error:
        merge(branched, source="other")
    assert "delc.append_dataset('customers', delc.dataset_query('other@1'))" in message(error.value)


@pytest.fixture
def reshaped(branched: Connection) -> Connection:
    """The branch has a column more than main."""
    branched.execute("ALTER TABLE customers ADD vip boolean")
    commit(branched, "customers@b")
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    return branched


def test_sides_with_different_columns_are_not_merged(reshaped: Connection) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as error:
        merge(reshaped)
    assert '"vip" is not there and boolean' in message(error.value)


def test_sides_that_were_given_the_same_columns_are_merged(reshaped: Connection) -> None:
    commit(reshaped, "customers")
    assert merge(reshaped)[0]["rows"] == 20
