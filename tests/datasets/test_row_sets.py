"""Sets of row numbers: what is put in is in them, in whichever form a chunk is kept, and broken bytes are errors."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.datasets import message, value

MOST = 2**48 - 1
SET = "SELECT delc.row_set(i) FROM unnest(%s::bigint[]) AS i"
UNION = "SELECT delc.row_set_union(s) FROM unnest(%s::bytea[]) AS s"

near_a_border = st.sampled_from([0, 65_535, 65_536, 131_071, 131_072, 2**32, MOST]).flatmap(
    lambda border: st.integers(max(border - 3, 0), min(border + 3, MOST))
)
rows = st.lists(st.integers(0, 300_000) | near_a_border | st.integers(0, MOST), max_size=60)
in_one_database = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def row_set(db: Connection, members: list[int]) -> bytes:
    made: bytes = value(db, SET, members)
    return made


def members(db: Connection, made: bytes) -> list[int]:
    return [row[0] for row in db.execute("SELECT delc.row_set_members(%s)", (made,)).fetchall()]


@in_one_database
@given(rows.filter(bool))
def test_a_set_has_what_was_put_in(db: Connection, given: list[int]) -> None:
    made = row_set(db, given)
    assert members(db, made) == sorted(set(given))
    assert value(db, "SELECT delc.row_set_count(%s)", made) == len(set(given))


@in_one_database
@given(rows.filter(bool), rows)
def test_a_row_is_asked_for(db: Connection, given: list[int], asked: list[int]) -> None:
    made = row_set(db, given)
    found = db.execute(
        "SELECT i, delc.row_set_contains(%s, i) FROM unnest(%s::bigint[]) AS i", (made, [*given, *asked])
    ).fetchall()
    assert all(is_in == (row in set(given)) for row, is_in in found)


@in_one_database
@given(st.lists(rows.filter(bool), min_size=1, max_size=5))
def test_a_union_has_the_members_of_all(db: Connection, given: list[list[int]]) -> None:
    union = value(db, UNION, [row_set(db, each) for each in given])
    everything = sorted({row for each in given for row in each})
    assert members(db, union) == everything
    assert value(db, "SELECT delc.row_set_count(%s)", union) == len(everything)


@pytest.mark.parametrize("step", [1, 2, 15, 16, 17, 600, 70_000])
def test_dense_and_sparse_sets_are_alike(db: Connection, step: int) -> None:
    series = f"generate_series(5, 200000, {step}) AS i"
    db.execute(f"CREATE TEMP TABLE made ON COMMIT DROP AS SELECT delc.row_set(i) AS rows FROM {series}".encode())
    union = "(SELECT delc.row_set_union(rows) FROM made)"
    for rows_in in ("rows", union):
        count = value(db, f"SELECT count(*) FROM {series}")
        assert value(db, f"SELECT delc.row_set_count({rows_in}) FROM made") == count
        wrong = f"delc.row_set_contains((SELECT {rows_in} FROM made), i) <> (i >= 5 AND mod(i - 5, {step}) = 0)"
        assert value(db, f"SELECT count(*) FROM generate_series(0, 200000) AS i WHERE {wrong}") == 0
    db.execute("DROP TABLE made")


def test_a_union_of_many_large_sets_is_as_that_of_few(db: Connection) -> None:
    # 320 sets of 128 kB: more than is kept side by side.
    union = (
        "SELECT delc.row_set_union(CASE WHEN mod(n, 2) = 0 THEN even ELSE third END) FROM generate_series(1, 320) AS n,"
        " (SELECT delc.row_set(i) AS even FROM generate_series(0, 1000000, 2) AS i) AS a,"
        " (SELECT delc.row_set(i) AS third FROM generate_series(0, 1000000, 3) AS i) AS b"
    )
    assert value(db, f"SELECT delc.row_set_count(({union}))") == 666_668
    wrong = f"delc.row_set_contains(({union}), i) <> (mod(i, 2) = 0 OR mod(i, 3) = 0)"
    assert value(db, f"SELECT count(*) FROM generate_series(0, 1000100) AS i WHERE i <= 1000000 AND {wrong}") == 0


def test_a_scattered_set_takes_two_bytes_for_a_row(db: Connection) -> None:
    size = value(db, "SELECT length(delc.row_set(i)) FROM generate_series(1, 1000000, 100) AS i")
    assert size < 2 * 10_000 + 16 * 13 + 16


def test_a_dense_set_takes_a_bit_for_a_row(db: Connection) -> None:
    size = value(db, "SELECT length(delc.row_set(i)) FROM generate_series(1, 1000000) AS i")
    assert size < 16 * (8192 + 12) + 16


def test_without_rows_there_is_no_set_and_nothing_is_in_it(db: Connection) -> None:
    assert value(db, SET, []) is None
    assert value(db, UNION, [None]) is None
    assert value(db, "SELECT delc.row_set_contains(NULL, 1)") is False
    assert value(db, "SELECT delc.row_set_contains(NULL, NULL)") is None


@pytest.mark.parametrize("row", [-1, MOST + 1])
def test_numbers_that_no_row_has_are_refused(db: Connection, row: int) -> None:
    assert value(db, "SELECT delc.row_set_contains((SELECT delc.row_set(1)), %s)", row) is False
    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match=f"row number {row} is out of range"):
        row_set(db, [row])


def test_bytes_that_are_no_set_are_an_error(db: Connection) -> None:
    with pytest.raises(psycopg.errors.DataCorrupted) as error:
        value(db, "SELECT delc.row_set_contains('\\x00', 1)")
    assert "invalid set of row numbers" in message(error.value)


@in_one_database
@given(st.data())
def test_damaged_sets_are_errors_or_sets(db: Connection, data: st.DataObject) -> None:
    made = bytearray(row_set(db, [1, 7, 65_536, *range(200_000, 205_000)]))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, min(len(made), 60) - 1))] = data.draw(st.integers(0, 255))
    made = made[: data.draw(st.integers(0, len(made)))]
    statements = (
        "SELECT count(*) FROM generate_series(0, 300000, 50) AS i WHERE delc.row_set_contains(%s, i)",
        "SELECT count(*) FROM delc.row_set_members(%s)",
        "SELECT delc.row_set_count(%s)",
        "SELECT length(delc.row_set_union(s)) FROM (VALUES (%s)) AS v(s)",
    )
    for statement in statements:
        try:
            with db.transaction():
                value(db, statement, bytes(made))
        except psycopg.errors.DataCorrupted:
            pass
