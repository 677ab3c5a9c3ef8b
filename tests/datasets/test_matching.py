"""What a commit finds by digests is what a join by key with a comparison of all images finds."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.datasets import commit, create, message, read, value
from support.python_function import run_inside

in_one_database = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

COLUMNS = "k1 integer, k2 text, a numeric, b float8, c text, d boolean, e uuid, f jsonb"
RESULT = 'here boolean, repeated boolean, old_row bigint, old_split "char"'
MATCHED = (
    "SELECT k1, k2, a::text, b::text, c, d, e, f::text, here, old_row, old_split FROM"
    f" delc.match_rows('TABLE source', 'TABLE stored', '{{1,2}}', 3) AS m({COLUMNS}, {RESULT})"
)
JOINED = """
    SELECT s.k1, s.k2, s.a::text, s.b::text, s.c, s.d, s.e, s.f::text, s.here, o.delc_row, o.delc_split
    FROM (SELECT *, true AS here FROM source) AS s FULL JOIN stored AS o ON s.k1 = o.k1 AND s.k2 = o.k2
    WHERE s.here IS NULL OR o.delc_row IS NULL OR NOT delc.same_images(
        s.k1, o.k1, s.k2, o.k2, s.a, o.a, s.b, o.b, s.c, o.c, s.d, o.d, s.e, o.e, s.f, o.f)
"""

Values = tuple[Any, ...]
lengths = st.sampled_from([0, 1, 6, 7, 8, 13, 14, 15, 400, 447, 448, 449, 3000])
long_texts = st.builds(lambda size, letter: "x" * size + letter, lengths, st.sampled_from(["", "a", "b"]))
key_values = st.tuples(
    st.integers(-2, 2) | st.sampled_from([2**31 - 1, -(2**31)]) | st.none(), st.sampled_from(["", "a", "A", "ab", None])
)
others = st.tuples(
    st.sampled_from(["1.0", "1.00", "NaN", None]),
    st.sampled_from(["0", "-0", "NaN", "1", None]),
    long_texts | st.none(),
    st.booleans() | st.none(),
    st.sampled_from(["00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001", None]),
    st.sampled_from(["[0, 1]", '{"a": 1.0}', '{"a": 1.00}', None]),
)
rows = st.dictionaries(key_values, others, max_size=12)


def make_tables(db: Connection) -> None:
    db.execute("DROP TABLE IF EXISTS pg_temp.source, pg_temp.stored")
    own = 'delc_row bigint, delc_version integer, delc_split "char"'
    db.execute(f"CREATE TEMP TABLE source ({COLUMNS}); CREATE TEMP TABLE stored ({own}, {COLUMNS})".encode())


def fill(db: Connection, source: list[Values], stored: list[Values]) -> None:
    make_tables(db)
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO source VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", source)
        numbered = [(number, 1, "tve"[number % 3], *row) for number, row in enumerate(stored)]
        cursor.executemany("INSERT INTO stored VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", numbered)


def found(db: Connection, statement: str) -> list[str]:
    return sorted(map(repr, db.execute(statement.encode()).fetchall()))


@in_one_database
@given(rows, rows)
def test_unrelated_rows_are_matched_as_in_a_join(
    db: Connection, source: dict[Values, Values], stored: dict[Values, Values]
) -> None:
    fill(db, [key + row for key, row in source.items()], [key + row for key, row in stored.items()])
    assert found(db, MATCHED) == found(db, JOINED)


@in_one_database
@given(rows.filter(bool), st.data())
def test_changed_rows_are_matched_as_in_a_join(
    db: Connection, stored: dict[Values, Values], data: st.DataObject
) -> None:
    source = dict(stored)
    for key in data.draw(st.lists(st.sampled_from(sorted(stored, key=repr)), max_size=3)):
        at = data.draw(st.integers(0, 5))
        source[key] = (*source[key][:at], data.draw(others)[at], *source[key][at + 1 :])
    fill(db, [key + row for key, row in source.items()], [key + row for key, row in stored.items()])
    assert found(db, MATCHED) == found(db, JOINED)


def test_many_rows_are_matched_as_in_a_join(db: Connection) -> None:
    make_tables(db)
    values = "i, 'k' || i, i / 8.0, i / 7.0::float8, repeat('x', i % 600), i % 2 = 0, NULL, jsonb_build_array(i)"
    numbers = "generate_series(1, 20000) AS i ORDER BY md5(i::text)"
    db.execute(f"INSERT INTO stored SELECT i, 1, 't', {values} FROM {numbers}".encode())
    db.execute(f"INSERT INTO source SELECT {values} FROM generate_series(500, 20500) AS i".encode())
    db.execute("UPDATE source SET c = c || 'y' WHERE k1 % 100 = 0")
    db.execute("UPDATE source SET e = gen_random_uuid() WHERE k1 = 777")
    matched = found(db, MATCHED)
    assert matched == found(db, JOINED)
    assert len(matched) == 499 + 500 + 196 + 1


def test_what_comes_behind_a_repeated_key_is_told(db: Connection) -> None:
    row = (1, "a", None, None, None, None, None, None)
    fill(db, [row, row, (1, "a", None, None, "other", None, None, None)], [row])
    matched = f"delc.match_rows('TABLE source', 'TABLE stored', '{{1,2}}', 1) AS m({COLUMNS}, {RESULT})"
    assert db.execute(f"SELECT repeated, old_row FROM {matched}".encode()).fetchall() == [(True, 0), (True, 0)]


def test_what_is_kept_of_stored_rows_fits_into_the_memory_limit(db: Connection) -> None:
    make_tables(db)
    matched = f"delc.match_rows('TABLE source', 'TABLE stored', '{{1,2}}', {2**63 - 1}) AS m({COLUMNS}, {RESULT})"
    db.execute("SET delc.memory_limit = '16MB'")
    assert value(db, f"SELECT count(*) FROM {matched}") == 0
    db.execute("INSERT INTO stored (delc_row, delc_split, k1) SELECT i, 't', i FROM generate_series(1, 299594) AS i")
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="more than 299593 stored rows") as error:
        db.execute(f"SELECT count(*) FROM {matched}".encode())
    assert "Raise delc.memory_limit" in message(error.value)


def test_rows_are_not_matched_without_a_list_of_columns(db: Connection) -> None:
    make_tables(db)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="called without a list of its columns") as error:
        db.execute("SELECT delc.match_rows('TABLE source', 'TABLE stored', '{1,2}', 3)")
    assert "AS m(id bigint" in message(error.value)


def test_values_stored_out_of_line_are_compared(db: Connection) -> None:
    db.execute("CREATE TABLE documents (id integer PRIMARY KEY, body text)")
    db.execute("ALTER TABLE documents ALTER body SET STORAGE external")
    db.execute("INSERT INTO documents SELECT i, repeat(i::text, 20000) FROM generate_series(1, 20) AS i")
    create(db, "documents", "documents")
    db.execute("ALTER TABLE documents ALTER body SET STORAGE extended; UPDATE documents SET body = body || ''")
    assert commit(db, "documents")["added"] == 0
    db.execute("UPDATE documents SET body = overlay(body PLACING '!' FROM 19999) WHERE id = 7")
    assert commit(db, "documents")["added"] == 1
    assert sorted(read(db, "documents")) == db.execute("SELECT * FROM documents ORDER BY id").fetchall()


def test_partitions_of_other_shapes_are_read_by_their_columns(db: Connection) -> None:
    db.execute("CREATE TABLE parts (id integer, region text, n integer) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (50)")
    db.execute("CREATE TABLE high (gone integer, n integer, region text, id integer)")
    db.execute("ALTER TABLE high DROP COLUMN gone")
    db.execute("ALTER TABLE parts ATTACH PARTITION high FOR VALUES FROM (50) TO (100)")
    db.execute("INSERT INTO parts SELECT i, 'r' || i, i FROM generate_series(0, 99) AS i")
    create(db, "parts", "parts", key="id")
    db.execute("UPDATE low SET n = -1 WHERE id < 3; UPDATE high SET region = 'x' WHERE id < 53")
    assert commit(db, "parts")["added"] == 6
    db.execute("ALTER TABLE parts ADD later text DEFAULT 'since then'; UPDATE parts SET n = -2 WHERE id % 10 = 0")
    assert commit(db, "parts")["rows"] == 100
    db.execute("DELETE FROM parts WHERE id = 99")
    assert commit(db, "parts")["removed"] == 1
    assert sorted(read(db, "parts")) == db.execute("SELECT * FROM parts ORDER BY id").fetchall()


@pytest.mark.parametrize(
    ("key", "written_otherwise"),
    [
        ("numeric", "id * 1.00"),
        ("float8", "CASE WHEN id = 0 THEN '-0' ELSE id END"),
        ("float4", "CASE WHEN id = 0 THEN '-0' ELSE id END"),
        ("text COLLATE any_case", "upper(id)"),
        ("bpchar", "(id || '  ')::bpchar"),
        ("interval", "justify_hours(id)"),
    ],
)
def test_equal_keys_that_are_written_otherwise_are_the_same_row(
    db: Connection, key: str, written_otherwise: str
) -> None:
    db.execute("CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    values = {"text COLLATE any_case": "'k' || i", "bpchar": "'k' || i", "interval": "make_interval(hours => i)"}
    db.execute(f"CREATE TABLE t (id {key} PRIMARY KEY, n integer)".encode())
    db.execute(f"INSERT INTO t SELECT {values.get(key, 'i')}, i FROM generate_series(0, 99) AS i".encode())
    create(db, "t", "t")
    before = splits_by_number(db)
    db.execute(f"UPDATE t SET id = {written_otherwise}".encode())
    row = commit(db, "t")
    assert row["added"] == row["removed"] > 0
    assert splits_by_number(db) == before


def splits_by_number(db: Connection) -> dict[int, str]:
    """The split of each row by its second column."""
    return {row[1]: split for split in ("train", "validation", "test") for row in read(db, "t", split)}


def test_types_whose_equal_values_are_alike_are_known_to_postgresql_as_such(db: Connection) -> None:
    known = run_inside(db, "from delc.datasets import matching\nreturn sorted(matching.EQUAL_IS_ALIKE)")
    alike = """
        SELECT count(*) FROM unnest(%s::regtype[]) AS key(type)
        JOIN pg_opclass AS class ON class.opcdefault AND class.opcintype =
            CASE key.type WHEN 'character varying'::regtype THEN 'text' ELSE key.type END
        JOIN pg_am AS method ON method.oid = class.opcmethod AND method.amname = 'btree'
        JOIN pg_amproc AS proc ON proc.amprocfamily = class.opcfamily AND proc.amprocnum = 4
             AND proc.amproclefttype = class.opcintype AND proc.amprocrighttype = class.opcintype
    """
    assert value(db, alike, known) == len(known)


MATCHES = """
from dataclasses import replace
from delc.datasets import difference, matching, source, writing
from delc.datasets.columns import describe_columns
target = writing.begin("t")
found = {column.name: column for column in describe_columns("SELECT * FROM t")}
names = target.latest.column_names
rows = source.Source("", "SELECT * FROM t")
definition = writing.define(target, rows, found, names, keys_are_sure=False)
return matching.can_match(replace(target.latest, rows=args[0]), definition)
"""


def matches(db: Connection, rows: int = 100) -> bool:
    decided: bool = run_inside(db, MATCHES, rows)
    return decided


@pytest.mark.parametrize(
    ("key", "is_matched"),
    [
        ("integer", True),
        ("varchar(9)", True),
        ('text COLLATE "C"', True),
        ("text COLLATE any_case", False),
        ("numeric", False),
        ("character(9)", False),
        ("positive", True),
        ("positive_number", False),
    ],
)
def test_only_keys_whose_equal_values_are_alike_are_matched_by_digests(
    db: Connection, key: str, is_matched: bool
) -> None:
    db.execute("CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    db.execute("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    db.execute("CREATE DOMAIN positive_number AS numeric CHECK (VALUE > 0)")
    db.execute(f"CREATE TABLE t (id {key} PRIMARY KEY)".encode())
    create(db, "t", "t")
    assert matches(db) is is_matched


def test_a_version_that_does_not_fit_into_memory_is_joined(db: Connection) -> None:
    db.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    create(db, "t", "t")
    db.execute("SET LOCAL delc.memory_limit = '100MB'")
    most = 25 * 1024 * 1024 // 56
    assert matches(db, most)
    assert not matches(db, most + 1)


def rows_with_splits(db: Connection, version: str) -> list[tuple[Values, str]]:
    """In the order of their numbers within each split."""
    return [(row, split) for split in ("train", "validation", "test") for row in read(db, version, split)]


def test_both_ways_make_the_same_version(db: Connection) -> None:
    db.execute(
        "CREATE TABLE t AS SELECT i AS id, i % 7 AS x, 'c' || i % 3 AS class FROM generate_series(1, 80000) AS i"
    )
    for name in ("by_digests", "joined"):
        create(db, name, "t", key="id", target="class")
    db.execute("UPDATE t SET class = 'c9' WHERE id % 50 = 0; DELETE FROM t WHERE id % 100 = 1")
    db.execute("INSERT INTO t SELECT i, 0, 'c1' FROM generate_series(100001, 100300) AS i")
    row = commit(db, "by_digests")
    assert (row["rows"], row["added"], row["removed"]) == (79_500, 1_900, 2_400)
    db.execute("SET LOCAL delc.memory_limit = '16MB'")  # a quarter of it is less than 80,000 rows need
    commit(db, "joined")
    assert rows_with_splits(db, "by_digests") == rows_with_splits(db, "joined")
    assert sorted(read(db, "joined")) == db.execute("SELECT * FROM t ORDER BY id").fetchall()


def test_a_source_that_locks_its_rows_can_be_committed(db: Connection) -> None:
    db.execute("CREATE TABLE t AS SELECT i AS id, i AS x FROM generate_series(1, 9) AS i")
    create(db, "t", "SELECT * FROM t FOR SHARE", key="id")
    db.execute("UPDATE t SET x = 0 WHERE id = 1")
    assert commit(db, "t")["added"] == 1


def test_a_source_is_read_once(db: Connection) -> None:
    db.execute("CREATE SEQUENCE calls")
    create(db, "t", "SELECT i AS id, nextval('calls') > 0 AS called FROM generate_series(1, 300) AS i", key="id")
    before = value(db, "SELECT last_value FROM calls")
    commit(db, "t")
    assert value(db, "SELECT last_value FROM calls") - before == 300


@pytest.mark.parametrize(
    ("source", "keys", "result", "said"),
    [
        ("SELECT 1", "{1}", "a bigint", "integer, and bigint in the result"),
        ("SELECT 1, 2", "{1}", "a integer", "has 2 columns instead of 1"),
        ("SELECT 1", "{}", "a integer", "no key"),
        ("SELECT 1", "{2}", "a integer", "no column 2"),
        ("SELECT 1", "{NULL}", "a integer", "is NULL"),
        ("DELETE FROM stored", "{1}", "a integer", "does not return rows"),
    ],
)
def test_what_cannot_be_matched_is_an_error(db: Connection, source: str, keys: str, result: str, said: str) -> None:
    db.execute('CREATE TEMP TABLE stored (delc_row bigint, delc_version integer, delc_split "char", a integer)')
    with pytest.raises(psycopg.Error) as error:
        db.execute(
            f"SELECT * FROM delc.match_rows('{source}', 'TABLE stored', '{keys}', 0) AS m({result}, {RESULT})".encode()
        )
    assert said in message(error.value)


@pytest.mark.parametrize("row", ["-1", "281474976710656", "NULL"])
def test_a_stored_row_without_a_number_is_an_error(db: Connection, row: str) -> None:
    stored = f"SELECT ({row})::bigint, 1, ''t''::\"char\", 1"
    matched = f"SELECT * FROM delc.match_rows('SELECT 1', '{stored}', '{{1}}', 0) AS m(a integer, {RESULT})"
    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match="no valid number"):
        db.execute(matched.encode())


def test_a_result_that_is_none_is_an_error(db: Connection) -> None:
    with pytest.raises(psycopg.errors.DatatypeMismatch, match="cannot be matched") as error:
        db.execute("SELECT * FROM delc.match_rows('SELECT 1', 'SELECT 1', '{1}', 0) AS m(a integer, b integer)")
    assert "four more" in message(error.value)


def test_a_commit_can_be_cancelled_while_rows_are_matched(fresh_db: Connection) -> None:
    fresh_db.execute("CREATE TABLE t AS SELECT 1::bigint AS i")
    create(fresh_db, "t", "TABLE t", key="i")
    fresh_db.execute("DROP TABLE t; CREATE VIEW t AS SELECT generate_series(1, 1000000000000) AS i")
    fresh_db.execute("SET statement_timeout = '1s'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        commit(fresh_db, "t")
