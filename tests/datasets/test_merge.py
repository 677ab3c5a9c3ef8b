"""Three-way merge by key."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support.cluster import Connection
from support.datasets import Row, call, commit, create, make_customers, message, query_text, read, value


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


def test_a_column_of_one_side_comes_with_it(reshaped: Connection) -> None:
    correct(reshaped, "customers@b", "SELECT 2 AS id, true AS vip")
    (row,) = merge(reshaped)
    assert row["rows"] == 20
    found = reshaped.execute(query_text(reshaped, "customers").encode()).fetchall()
    assert {row[0]: row[2:] for row in found if row[0] < 4} == {
        1: (71, False, None), 2: (2, False, True), 3: (3, True, None)
    }  # fmt: skip
    assert len(read(reshaped, "customers@b")[0]) == 5


def test_a_column_that_one_side_dropped_is_gone(branched: Connection) -> None:
    branched.execute("ALTER TABLE customers DROP region")
    commit(branched, "customers")
    correct(branched, "customers@b", "SELECT 1 AS id, 71 AS age")
    merge(branched)
    assert sorted(read(branched, "customers"))[:2] == [(1, 71, False), (2, 2, False)]


def test_rows_of_the_other_side_get_the_type_that_one_side_gave_a_column(branched: Connection) -> None:
    branched.execute("ALTER TABLE customers ALTER age TYPE bigint")
    commit(branched, "customers")
    query = "SELECT 30 AS id, 'r' AS region, 17 AS age, true AS churned"
    call(branched, "append_dataset", name="customers@b", query=query)
    (row,) = merge(branched)
    assert (row["rows"], row["added"], row["removed"]) == (21, 1, 0)
    assert (ages(branched, "customers")[30], ages(branched, "customers")[2]) == (17, 2)
    of_type = "SELECT type FROM delc.dataset_columns WHERE version = 4 AND column_name = 'age'"
    assert value(branched, of_type) == "bigint"
    merge(branched, "customers@b", "customers")
    assert ages(branched, "customers@b") == ages(branched, "customers")


def test_a_column_that_both_sides_gave_another_type_is_refused(branched: Connection) -> None:
    for name, of_type in (("customers", "bigint"), ("customers@b", "text")):
        branched.execute(f"ALTER TABLE customers ALTER age TYPE {of_type}".encode())
        commit(branched, name)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="changed columns in different ways") as error:
        merge(branched)
    assert '"age" is bigint and text, and was numeric(5,1)' in message(error.value)


@pytest.mark.parametrize("wrong", ["(1, 'ours'), (7, 'ours')", "(1, 'ours'), (99, 'theirs')"])
def test_resolutions_of_keys_that_are_not_in_conflict_are_refused(branched: Connection, wrong: str) -> None:
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    correct(branched, "customers@b", "SELECT i AS id, 72 AS age FROM unnest('{1,7}'::integer[]) AS i")
    key = "7" if "7" in wrong else "99"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is not in conflict") as error:
        merge(branched, resolutions=f"SELECT * FROM (VALUES {wrong}) AS v(id, resolution)")
    assert f"({key})" in message(error.value)


def test_resolutions_where_nothing_is_merged_are_refused(branched: Connection) -> None:
    correct(branched, "customers@b", "SELECT 1 AS id, 72 AS age")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="there are no conflicts to resolve"):
        merge(branched, resolutions="SELECT 1 AS id, 'ours' AS resolution")


def cross(branched: Connection) -> None:
    """Each of main and b changes a row; then each merges the other's change."""
    correct(branched, "customers", "SELECT 1 AS id, 11 AS age")
    correct(branched, "customers@b", "SELECT 2 AS id, 22 AS age")
    branched.execute("SELECT delc.branch_dataset('customers', 'main0'), delc.branch_dataset('customers@b', 'b0')")
    merge(branched, source="customers@b0")
    merge(branched, "customers@b", "customers@main0")


def test_what_is_changed_after_merges_both_ways_stays(branched: Connection) -> None:
    cross(branched)
    correct(branched, "customers", "SELECT 2 AS id, 2 AS age")
    correct(branched, "customers@b", "SELECT 1 AS id, 1 AS age")
    merge(branched)
    found = ages(branched, "customers")
    assert (found[1], found[2]) == (1, 2)


def test_what_is_changed_on_both_sides_after_merges_both_ways_is_a_conflict(branched: Connection) -> None:
    cross(branched)
    correct(branched, "customers", "SELECT 1 AS id, 71 AS age")
    correct(branched, "customers@b", "SELECT 1 AS id, 72 AS age")
    (row,) = merge(branched)
    assert [row[side]["age"] for side in ("base", "ours", "theirs")] == [11, 71, 72]


def test_a_row_that_was_resolved_in_two_ways_is_a_conflict_with_no_base(branched: Connection) -> None:
    correct(branched, "customers", "SELECT 1 AS id, 11 AS age")
    correct(branched, "customers@b", "SELECT 1 AS id, 22 AS age")
    branched.execute("SELECT delc.branch_dataset('customers', 'main0'), delc.branch_dataset('customers@b', 'b0')")
    merge(branched, source="customers@b0", prefer="ours")
    merge(branched, "customers@b", "customers@main0", prefer="ours")
    (row,) = merge(branched)
    assert (row["base"], row["ours"]["age"], row["theirs"]["age"]) == (None, 11, 22)
    assert merge(branched, prefer="base")[0]["key"] == {"id": 1}
    assert merge(branched, prefer="theirs")[0]["rows"] == 20
    assert ages(branched, "customers")[1] == 22


def test_sides_that_were_given_the_same_columns_are_merged(reshaped: Connection) -> None:
    commit(reshaped, "customers")
    assert merge(reshaped)[0]["rows"] == 20
