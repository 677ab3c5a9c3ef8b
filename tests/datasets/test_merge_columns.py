"""Merges of versions that do not have the same columns."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support.cluster import Connection
from support.datasets import Row, call, commit, create, message, value


@pytest.fixture
def spots(db: Connection) -> Connection:
    """Spots 1 to 4 with x and place on main and on a branch b; the table is as both."""
    db.execute("CREATE TABLE spots (id integer PRIMARY KEY, x integer, place text)")
    db.execute("INSERT INTO spots SELECT i, i * 10, 'p' || i FROM generate_series(1, 4) AS i")
    create(db, "spots", "spots", validation=0, test=0)
    db.execute("SELECT delc.branch_dataset('spots', 'b')")
    return db


def change(db: Connection, branch: str, *commands: str) -> None:
    """Commits the table to a branch after some commands, which it forgets afterwards."""
    db.execute("CREATE TEMPORARY TABLE kept AS TABLE spots")
    for command in commands:
        db.execute(command.encode())
    commit(db, branch)
    db.execute("DROP TABLE spots; CREATE TABLE spots (id integer PRIMARY KEY, x integer, place text)")
    db.execute("INSERT INTO spots TABLE kept; DROP TABLE kept")


def correct(db: Connection, name: str, query: str, **options: Any) -> Row:
    return call(db, "correct_dataset", name=name, query=query, **options)


def append(db: Connection, name: str, query: str) -> Row:
    return call(db, "append_dataset", name=name, query=query)


def merge(db: Connection, target: str = "spots", source: str = "spots@b", **options: Any) -> list[Row]:
    given = "".join(f", {name} => %({name})s" for name in options)
    with db.cursor(row_factory=dict_row) as cursor:
        text = f"SELECT * FROM delc.merge_dataset(%(t)s, %(s)s{given})"
        return cursor.execute(text.encode(), {"t": target, "s": source, **options}).fetchall()


def rows(db: Connection, version: str = "spots") -> dict[int, Row]:
    """The rows of a version by key, without it."""
    text = value(db, "SELECT delc.dataset_query(%s)", version)
    with db.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(text.encode()).fetchall()
    return {row.pop("id"): row for row in found}


DROP = "ALTER TABLE spots DROP place"
BOTH_WAYS = pytest.mark.parametrize(("ours", "theirs"), [("spots", "spots@b"), ("spots@b", "spots")])


@BOTH_WAYS
def test_a_value_changed_in_a_column_that_the_other_side_dropped_is_a_conflict(
    spots: Connection, ours: str, theirs: str
) -> None:
    change(spots, "spots", DROP)
    correct(spots, "spots@b", "SELECT 1 AS id, 'seen' AS place")
    correct(spots, "spots@b", "SELECT 2 AS id, 21 AS x")
    (conflict,) = merge(spots, ours, theirs)
    assert conflict["key"] == {"id": 1}
    kept, dropped = ("theirs", "ours") if ours == "spots" else ("ours", "theirs")
    assert (conflict["base"]["place"], conflict[kept]["place"]) == ("p1", "seen")
    assert "place" not in conflict[dropped]


@BOTH_WAYS
def test_a_dropped_column_stays_where_a_row_is_resolved_for_the_side_that_has_it(
    spots: Connection, ours: str, theirs: str
) -> None:
    change(spots, "spots", DROP)
    correct(spots, "spots", "SELECT 3 AS id, 31 AS x")
    correct(spots, "spots@b", "SELECT 1 AS id, 'seen' AS place")
    append(spots, "spots@b", "SELECT 5 AS id, 50 AS x, 'p5' AS place")
    merge(spots, ours, theirs, prefer="theirs" if ours == "spots" else "ours")
    assert rows(spots, ours) == {
        1: {"x": 10, "place": "seen"}, 2: {"x": 20, "place": "p2"}, 3: {"x": 31, "place": "p3"},
        4: {"x": 40, "place": "p4"}, 5: {"x": 50, "place": "p5"}
    }  # fmt: skip


def test_a_dropped_column_goes_where_all_rows_are_resolved_for_the_side_that_dropped_it(spots: Connection) -> None:
    change(spots, "spots", DROP)
    correct(spots, "spots@b", "SELECT 1 AS id, 11 AS x, 'seen' AS place")
    correct(spots, "spots@b", "SELECT 2 AS id, 21 AS x")
    merge(spots, prefer="ours")
    assert rows(spots) == {1: {"x": 10}, 2: {"x": 21}, 3: {"x": 30}, 4: {"x": 40}}


def test_a_row_added_with_a_value_in_a_dropped_column_is_a_conflict(spots: Connection) -> None:
    change(spots, "spots", DROP)
    append(spots, "spots@b", "SELECT 5 AS id, 50 AS x, 'p5' AS place UNION ALL SELECT 6, 60, NULL")
    assert [row["key"] for row in merge(spots)] == [{"id": 5}]
    merge(spots, resolutions="SELECT 5 AS id, 'theirs' AS resolution")
    found = rows(spots)
    assert (found[5], found[6]) == ({"x": 50, "place": "p5"}, {"x": 60, "place": None})
    assert found[1] == {"x": 10, "place": "p1"}


def test_a_notice_says_what_becomes_of_the_column(spots: Connection) -> None:
    change(spots, "spots", DROP)
    correct(spots, "spots@b", "SELECT 1 AS id, 'seen' AS place")
    notices: list[str | None] = []
    spots.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    merge(spots)
    assert 'column "place" is dropped in "spots@2", and has values in "spots@3" that are new since' in notices[-1]


@BOTH_WAYS
def test_rows_that_got_another_type_alone_take_the_values_of_the_other_side(
    spots: Connection, ours: str, theirs: str
) -> None:
    change(spots, "spots", "ALTER TABLE spots ALTER x TYPE text")
    correct(spots, "spots@b", "SELECT 1 AS id, 11 AS x")
    correct(spots, "spots@b", "SELECT 2 AS id", remove=True)
    append(spots, "spots@b", "SELECT 5 AS id, 50 AS x, 'p5' AS place")
    (row,) = merge(spots, ours, theirs)
    assert row["rows"] == 4
    assert {key: row["x"] for key, row in rows(spots, ours).items()} == {1: "11", 3: "30", 4: "40", 5: "50"}


def test_a_value_changed_on_both_sides_of_another_type_is_a_conflict(spots: Connection) -> None:
    change(spots, "spots", "ALTER TABLE spots ALTER x TYPE text")
    correct(spots, "spots", "SELECT i AS id, '1' || i AS x FROM generate_series(1, 2) AS i")
    correct(spots, "spots@b", "SELECT i AS id, 11 AS x FROM generate_series(1, 2) AS i")
    assert [row["key"] for row in merge(spots)] == [{"id": 2}]


def test_a_column_of_another_type_takes_its_casts_one_after_the_other(spots: Connection) -> None:
    correct(spots, "spots", "SELECT 4 AS id, 1 AS x")
    spots.execute("SELECT delc.branch_dataset('spots', 'c')")
    change(spots, "spots", "UPDATE spots SET x = 1 WHERE id = 4", "ALTER TABLE spots ALTER x TYPE numeric(9,2)")
    correct(spots, "spots@c", "SELECT 1 AS id, 11 AS x")
    spots.execute("UPDATE delc.datasets SET source = 'SELECT id, x::text AS x, place FROM spots_2'")
    spots.execute(("CREATE TABLE spots_2 AS " + value(spots, "SELECT delc.dataset_query('spots')")).encode())
    commit(spots, "spots")
    merge(spots, source="spots@c")
    assert {key: row["x"] for key, row in rows(spots).items()} == {1: "11.00", 2: "20.00", 3: "30.00", 4: "1.00"}


TEN_TIMES = "ALTER TABLE spots ALTER x TYPE bigint USING x * 10"


def test_values_are_not_cast_where_the_new_type_came_with_other_values(spots: Connection) -> None:
    change(spots, "spots", TEN_TIMES)
    correct(spots, "spots@b", "SELECT 1 AS id, 11 AS x")
    correct(spots, "spots@b", "SELECT 2 AS id", remove=True)
    append(spots, "spots@b", "SELECT 5 AS id, 50 AS x, 'p5' AS place")
    assert [row["key"] for row in merge(spots)] == [{"id": 1}, {"id": 2}, {"id": 5}]
    merge(spots, prefer="theirs")
    assert {key: row["x"] for key, row in rows(spots).items()} == {1: 11, 3: 300, 4: 400, 5: 50}


def test_rows_that_have_what_a_cast_gives_are_unchanged_though_others_have_not(spots: Connection) -> None:
    change(
        spots, "spots", "ALTER TABLE spots ALTER x TYPE text", "UPDATE spots SET x = 'ten' WHERE id = 1",
        "UPDATE spots SET place = 'here' WHERE id = 4",
    )  # fmt: skip
    correct(spots, "spots@b", "SELECT i AS id, 'seen' AS place FROM generate_series(1, 2) AS i")
    correct(spots, "spots@b", "SELECT 3 AS id, 33 AS x")
    notices: list[str | None] = []
    spots.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert [row["key"] for row in merge(spots)] == [{"id": 1}, {"id": 3}]
    assert 'column "x" has another type in "spots@2", with values that are no casts' in str(notices[-1])
    (row,) = merge(spots, prefer="ours")
    assert row["rows"] == 4
    assert {key: tuple(row.values()) for key, row in rows(spots).items()} == {
        1: ("ten", "p1"), 2: ("20", "seen"), 3: ("30", "p3"), 4: ("40", "here")
    }  # fmt: skip


def test_rows_that_the_other_side_added_are_cast_where_most_values_were(spots: Connection) -> None:
    change(spots, "spots", "ALTER TABLE spots ALTER x TYPE text", "UPDATE spots SET x = 'ten' WHERE id = 1")
    append(spots, "spots@b", "SELECT 5 AS id, 50 AS x, 'p5' AS place")
    correct(spots, "spots@b", "SELECT 3 AS id", remove=True)
    (row,) = merge(spots)
    assert row["rows"] == 4
    assert {key: row["x"] for key, row in rows(spots).items()} == {1: "ten", 2: "20", 4: "40", 5: "50"}


def test_a_row_that_both_added_is_a_conflict_where_one_side_cast_most_values(spots: Connection) -> None:
    change(
        spots, "spots", "ALTER TABLE spots ALTER x TYPE text", "UPDATE spots SET x = 'ten' WHERE id = 1",
        "INSERT INTO spots VALUES (5, '51', 'p5'), (6, '60', 'p6')",
    )  # fmt: skip
    append(spots, "spots@b", "SELECT i AS id, i * 10 AS x, 'p' || i AS place FROM generate_series(5, 6) AS i")
    assert {"id": 5} in [row["key"] for row in merge(spots)]


def test_a_notice_names_the_column_whose_values_are_no_casts(spots: Connection) -> None:
    change(spots, "spots", TEN_TIMES)
    correct(spots, "spots@b", "SELECT 2 AS id, 'seen' AS place")
    notices: list[str | None] = []
    spots.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert [row["key"] for row in merge(spots)] == [{"id": 2}]
    assert notices[-1] == (
        'column "x" has another type in "spots@2", with values that are no casts of the old ones.'
        " Rows with such values count as changed there."
    )


def test_values_without_a_cast_are_refused_where_they_are_chosen(spots: Connection) -> None:
    change(spots, "spots", "ALTER TABLE spots ALTER x TYPE date USING date '2024-01-01' + x")
    correct(spots, "spots@b", "SELECT 1 AS id, 11 AS x")
    assert [row["key"] for row in merge(spots)] == [{"id": 1}]
    with pytest.raises(psycopg.DataError, match='"x" that were chosen cannot be date') as error, spots.transaction():
        merge(spots, prefer="theirs")
    assert "There is no cast from integer" in message(error.value)
    merge(spots, prefer="ours")
    assert str(rows(spots)[1]["x"]) == "2024-01-11"


@pytest.mark.parametrize(("retyped", "told"), [("integer USING 7", "invalid input syntax"), ("varchar(2)", "too long")])
def test_values_that_a_cast_refuses_or_cuts_are_conflicts(spots: Connection, retyped: str, told: str) -> None:
    change(spots, "spots", f"ALTER TABLE spots ALTER place TYPE {retyped}")
    append(spots, "spots@b", "SELECT 5 AS id, 50 AS x, 'five' AS place")
    assert [row["key"] for row in merge(spots)] == [{"id": 5}]
    with pytest.raises(psycopg.DataError, match='"place" that were chosen cannot be') as error:
        merge(spots, prefer="theirs")
    assert told in message(error.value)


ADD = "ALTER TABLE spots ADD seen integer DEFAULT 0"


def test_the_same_column_with_the_same_default_is_no_conflict(spots: Connection) -> None:
    for branch in ("spots", "spots@b"):
        change(spots, branch, ADD)
    correct(spots, "spots", "SELECT 1 AS id, 1 AS seen")
    correct(spots, "spots@b", "SELECT 2 AS id, 2 AS seen")
    correct(spots, "spots@b", "SELECT 3 AS id, 31 AS x")
    correct(spots, "spots@b", "SELECT 4 AS id", remove=True)
    (row,) = merge(spots)
    assert (row["rows"], row["added"], row["removed"]) == (3, 2, 3)
    assert rows(spots) == {
        1: {"x": 10, "place": "p1", "seen": 1}, 2: {"x": 20, "place": "p2", "seen": 2},
        3: {"x": 31, "place": "p3", "seen": 0}
    }  # fmt: skip


def test_different_values_in_a_column_that_both_added_are_conflicts_of_those_rows(spots: Connection) -> None:
    for branch, seen in (("spots", 1), ("spots@b", 2)):
        change(spots, branch, "ALTER TABLE spots ADD seen integer", f"UPDATE spots SET seen = {seen} WHERE id <= 2",
               "UPDATE spots SET seen = 7 WHERE id = 3")  # fmt: skip
    assert [row["key"] for row in merge(spots)] == [{"id": 1}, {"id": 2}]
    merge(spots, resolutions="SELECT * FROM (VALUES (1, 'ours'), (2, 'theirs')) AS v(id, resolution)")
    assert {key: row["seen"] for key, row in rows(spots).items()} == {1: 1, 2: 2, 3: 7, 4: None}


def test_different_defaults_are_conflicts_of_all_rows(spots: Connection) -> None:
    change(spots, "spots", ADD)
    change(spots, "spots@b", "ALTER TABLE spots ADD seen integer DEFAULT 1")
    assert len(merge(spots)) == 4
    merge(spots, prefer="theirs")
    assert {row["seen"] for row in rows(spots).values()} == {1}


def test_columns_of_different_names_are_both_taken(spots: Connection) -> None:
    change(spots, "spots", ADD)
    change(spots, "spots@b", "ALTER TABLE spots ADD area text DEFAULT 'north'")
    correct(spots, "spots@b", "SELECT 1 AS id, 11 AS x")
    correct(spots, "spots", "SELECT 2 AS id", remove=True)
    append(spots, "spots", "SELECT 5 AS id, 50 AS x, 'p5' AS place, 5 AS seen")
    (row,) = merge(spots)
    assert row["rows"] == 4
    assert rows(spots) == {
        1: {"x": 11, "place": "p1", "seen": 0, "area": "north"},
        3: {"x": 30, "place": "p3", "seen": 0, "area": "north"},
        4: {"x": 40, "place": "p4", "seen": 0, "area": "north"},
        5: {"x": 50, "place": "p5", "seen": 5, "area": None},
    }


@BOTH_WAYS
def test_a_default_on_one_side_and_changes_on_the_other_come_together(
    spots: Connection, ours: str, theirs: str
) -> None:
    change(spots, "spots", ADD)
    correct(spots, "spots@b", "SELECT 1 AS id, 11 AS x")
    correct(spots, "spots@b", "SELECT 2 AS id", remove=True)
    merge(spots, ours, theirs)
    assert rows(spots, ours) == {
        1: {"x": 11, "place": "p1", "seen": 0}, 3: {"x": 30, "place": "p3", "seen": 0},
        4: {"x": 40, "place": "p4", "seen": 0}
    }  # fmt: skip


def test_a_row_with_more_than_the_default_and_removed_on_the_other_side_is_a_conflict(spots: Connection) -> None:
    change(spots, "spots", ADD)
    correct(spots, "spots", "SELECT 1 AS id, 1 AS seen")
    correct(spots, "spots@b", "SELECT i AS id FROM generate_series(1, 2) AS i", remove=True)
    assert [row["key"] for row in merge(spots)] == [{"id": 1}]


def test_a_column_that_came_back_on_one_side_keeps_its_values_in_rows_changed_on_the_other(spots: Connection) -> None:
    change(spots, "spots", DROP)
    spots.execute("SELECT delc.branch_dataset('spots', 'c')")
    commit(spots, "spots")
    correct(spots, "spots@c", "SELECT 1 AS id, 11 AS x")
    merge(spots, source="spots@c")
    assert rows(spots)[1] == {"x": 11, "place": "p1"}
    assert rows(spots)[2] == {"x": 20, "place": "p2"}
