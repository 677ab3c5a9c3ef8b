"""Rows are compared as they are stored, byte by byte."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import message, value


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("0::float8", "'-0'::float8"),
        ("1.0::numeric", "1.00::numeric"),
        ("'NaN'::float4", "0::float4"),
        ("'a'::text", "'A'::text"),
        ("NULL::integer", "0"),
        ("1", "NULL::integer"),
        ("ARRAY[1, NULL]", "ARRAY[1, 0]"),
        ("'[0,1]'::json", "'[0, 1]'::json"),
        ("'1 day'::interval", "'24 hours'::interval"),
        ("repeat('a', 100000)", "repeat('a', 99999) || 'b'"),
        ("ROW(1, 'x')", "ROW(1, 'y')"),
    ],
)
def test_what_is_stored_otherwise_differs(db: Connection, left: str, right: str) -> None:
    assert value(db, f"SELECT delc.same_images({left}, {right})") is False
    assert value(db, f"SELECT delc.same_images(1, 1, {left}, {right})") is False
    for side in (left, right):
        assert value(db, f"SELECT delc.same_images({side}, {side}, 2, 2)") is True


def test_compressed_and_plain_values_are_alike(db: Connection) -> None:
    db.execute("CREATE TEMP TABLE t (a text, b text) ON COMMIT DROP; ALTER TABLE t ALTER b SET STORAGE external")
    db.execute("INSERT INTO t SELECT repeat('long ', 10000), repeat('long ', 10000)")
    assert value(db, "SELECT delc.same_images(a, b) FROM t") is True
    assert value(db, "SELECT delc.same_images(a, b || 'er') FROM t") is False


def test_a_domain_is_like_its_type(db: Connection) -> None:
    db.execute("CREATE DOMAIN age AS integer CHECK (VALUE >= 0)")
    assert value(db, "SELECT delc.same_images(7::age, 7)") is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("1", "takes pairs"), ("1, 2::bigint", "different types"), ("VARIADIC ARRAY[1, 2]", "takes pairs")],
)
def test_what_cannot_be_compared_is_an_error(db: Connection, arguments: str, said: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        value(db, f"SELECT delc.same_images({arguments})")
    assert said in message(error.value)


def test_a_wide_row_is_compared_in_every_column(db: Connection) -> None:
    columns = ", ".join(f"i + {k} AS c{k}" for k in range(130))
    db.execute(f"CREATE TABLE wide AS SELECT i, {columns} FROM generate_series(1, 5) AS i".encode())
    db.execute("SELECT delc.create_dataset('wide', 'wide', key => 'i')")
    db.execute("UPDATE wide SET c129 = 0 WHERE i = 3")
    assert value(db, "SELECT added FROM delc.commit_dataset('wide')") == 1
