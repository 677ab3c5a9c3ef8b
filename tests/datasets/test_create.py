"""Making data sets of tables, views and queries."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import create, keys, make_customers, message, query_text, read, value

NUMBERS = "SELECT i AS id, i * 10 AS x FROM generate_series(1, 10) AS i"


def columns(db: Connection, version: str) -> list[tuple[str, str, str]]:
    statement = "SELECT column_name, type, role FROM delc.dataset_columns WHERE dataset = %s ORDER BY position"
    return db.execute(statement, (version,)).fetchall()


def test_the_result_tells_version_rows_and_splits(db: Connection) -> None:
    make_customers(db)
    row = create(db, "customers", "customers", target="churned", message="first", description="who left")
    assert row.pop("seconds") > 0
    assert value(db, "SELECT operation FROM delc.runs WHERE id = %s", row.pop("run_id")) == "create_dataset"
    assert row == {
        "dataset": "customers@1",
        "rows": 100,
        "train": 70,
        "validation": 10,
        "test": 20,
        "added": 100,
        "removed": 0,
    }


def test_a_version_holds_every_row_once_whatever_the_split(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    assert sorted(read(db, "customers")) == db.execute("SELECT * FROM customers ORDER BY id").fetchall()
    parts = [keys(db, "customers", split) for split in ("train", "validation", "test")]
    assert sorted(chain.from_iterable(parts)) == list(range(1, 101))


@pytest.mark.parametrize("written", ["customers", "public.customers", " Public . CUSTOMERS ", '"customers"'])
def test_a_relation_is_stored_by_its_full_name(db: Connection, written: str) -> None:
    make_customers(db)
    create(db, "x", written)
    assert value(db, "SELECT source FROM delc.datasets") == "public.customers"


def test_a_relation_is_found_by_the_caller_s_search_path(db: Connection) -> None:
    db.execute('CREATE SCHEMA "My Schema"')
    db.execute('CREATE TABLE "My Schema"."My Table" ("The Id" integer PRIMARY KEY)')
    db.execute('SET LOCAL search_path = "My Schema"')
    create(db, "x", '"My Table"')
    assert value(db, "SELECT source FROM delc.datasets") == '"My Schema"."My Table"'


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE VIEW s AS SELECT 1 AS id",
        "CREATE MATERIALIZED VIEW s AS SELECT 1 AS id",
        "CREATE TEMPORARY TABLE s AS SELECT 1 AS id",
        "CREATE TABLE s (id integer) PARTITION BY LIST (id); CREATE TABLE s1 PARTITION OF s DEFAULT;"
        " INSERT INTO s VALUES (1)",
        "CREATE TABLE s (id integer); CREATE TABLE child () INHERITS (s); INSERT INTO child VALUES (1)",
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
        " CREATE FOREIGN TABLE s (id integer) SERVER files OPTIONS (program 'echo 1')",
    ],
)
def test_every_kind_of_relation_is_read(db: Connection, definition: str) -> None:
    db.execute(definition.encode())
    create(db, "x", "s", key="id")
    assert read(db, "x") == [(1,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS id",
        "select 1 AS id;",
        "  VALUES (1)",
        "TABLE one",
        "WITH t AS (SELECT 1 AS id) SELECT * FROM t",
        "(SELECT 1 AS id)",
        "SELECT 1 AS id -- a comment",
        "/* one */ SELECT 1 AS id ORDER BY id LIMIT 1 ;  ",
        "-- one\nSELECT 1 AS id",
    ],
)
def test_queries_are_read_as_they_are_written(db: Connection, query: str) -> None:
    db.execute("CREATE TABLE one AS SELECT 1 AS id")
    create(db, "x", query)
    assert read(db, "x") == [(1,)]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("SELECT $1 AS id", "there is no parameter"),
        ("SELECT 1 AS id; SELECT 2", "does not return rows"),
        ("INSERT INTO customers VALUES (1) RETURNING id", "neither the name of a relation nor a query"),
        ("WITH t AS (DELETE FROM customers RETURNING id) SELECT * FROM t", "does not return rows"),
        ("SELECT 1 INTO x", ""),
        ("SELECT", 'no relation "SELECT"'),
        ("(SELECT)", "no columns"),
        ("customers c", "neither the name of a relation nor a query"),
        ("", "no source"),
        ("  ", "no source"),
        ("custmers", 'Did you mean "customers"?'),
        ("nowhere.customers", 'no relation "nowhere.customers"'),
        ("a.b.c.d", "no relation"),
        ("customers_pkey", "has no rows to take"),
        ("SELECT id, id FROM customers", 'more than one column "id"'),
        ("SELECT 1, 2 AS b", "column 1 of the source has no name"),
        ("SELECT 1 AS delc_row", 'cannot have a column "delc_row"'),
        ("SELECT ctid FROM customers", 'cannot have a column "ctid"'),
        ("SELECT ROW(1, 2) AS pair", "has the type record, which cannot be stored"),
        ("SELECT array_agg(ROW(1)) AS pairs", "record[], which cannot be stored"),
        ("SELECT 1 / 0 AS id", "division by zero"),
    ],
)
def test_a_source_that_cannot_be_taken_is_explained(db: Connection, source: str, error: str) -> None:
    make_customers(db, 1)
    with pytest.raises(psycopg.Error) as raised:
        create(db, "x", source)
    assert error in message(raised.value)


def test_types_of_the_session_are_refused(db: Connection) -> None:
    db.execute("CREATE TYPE pg_temp.pair AS (a integer, b integer)")
    with pytest.raises(psycopg.errors.DatatypeMismatch, match="belongs to this session"):
        create(db, "x", "SELECT ROW(1, 2)::pg_temp.pair AS pair")


def test_columns_keep_their_types_modifiers_and_collations(db: Connection) -> None:
    db.execute("""
        CREATE SCHEMA other;
        CREATE TYPE other."Mood (s)" AS ENUM ('good', 'bad');
        CREATE DOMAIN other.percent AS numeric(5, 2) CHECK (VALUE <= 100);
        CREATE TYPE other.pair AS (a integer, b text);
        CREATE TABLE typed (
            id bigint PRIMARY KEY, amount numeric(10, 2), label varchar(7) COLLATE "C", code char(3),
            mood other."Mood (s)", moods other."Mood (s)"[], share other.percent, pair other.pair,
            embedding public.vector(3), weights delc.tensor, at timestamp(3), span interval day to second(2),
            document jsonb, bits bit varying(5), one "char", amounts numeric(4, 1)[][], place point,
            range int4range, name name, "Größe ""x""  " text COLLATE "POSIX")
    """)
    types = (
        "SELECT array_agg(format_type(atttypid, atttypmod) || attcollation ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > %s"
    )
    declared = value(db, types, "typed", 0)
    create(db, "typed", "typed")
    dataset_id = value(db, "SELECT id FROM delc.datasets")
    stored = value(db, types, f"delc_data.d{dataset_id}", 3)
    assert stored == ["numeric(5,2)0" if column == "other.percent0" else column for column in declared]
    assert [column[1] for column in columns(db, "typed@1")][4:10] == [
        'other."Mood (s)"',
        'other."Mood (s)"[]',
        "numeric(5,2)",
        "other.pair",
        "public.vector(3)",
        "delc.tensor",
    ]


def test_values_come_back_as_they_were(db: Connection) -> None:
    query = (
        "SELECT 1 AS id, 'NaN'::float8 AS n, '-0'::float4 AS z, 1.50::numeric AS d, NULL::text AS t, ''::text AS e,"
        " '[1,2,3]'::public.vector AS v, '{\"b\": 1,  \"a\": 2}'::json AS j,"
        " ARRAY[[1, NULL], [3, 4]] AS a, '\\x00ff'::bytea AS b"
    )
    create(db, "x", query)
    text = "SELECT r::text FROM ({}) AS r"
    assert value(db, text.format(query_text(db, "x"))) == value(db, text.format(query))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_any_bigint_is_a_seed(db: Connection, seed: int) -> None:
    assert create(db, "keyed", NUMBERS, key="id", seed=seed)["rows"] == 10
    assert create(db, "keyless", NUMBERS, seed=seed)["rows"] == 10


def test_a_query_may_lock_its_rows(db: Connection) -> None:
    make_customers(db)
    assert create(db, "x", "SELECT * FROM customers FOR UPDATE", key="id", target="churned")["rows"] == 100


def test_the_primary_key_is_the_key(db: Connection) -> None:
    db.execute("CREATE TABLE sales (note text, region text, id integer, PRIMARY KEY (region, id) INCLUDE (note))")
    create(db, "sales", "sales")
    assert value(db, "SELECT key_columns FROM delc.datasets") == ["region", "id"]


def test_key_and_targets_are_named_as_in_sql(db: Connection) -> None:
    db.execute('CREATE TABLE sales ("Customer No" integer, REGION text, a integer, "b,c" integer)')
    create(db, "sales", "sales", key='"Customer No", Region', target='A,"b,c"')
    assert [role for _, _, role in columns(db, "sales@1")] == ["key", "key", "target", "target"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"key": "idd"}, 'unknown key column "idd"'),
        ({"key": "idd"}, 'Did you mean "id"?'),
        ({"key": "id; DROP"}, "does not name columns"),
        ({"key": ""}, "does not name columns"),
        ({"key": "id, ID"}, "names a column twice"),
        ({"target": "churn"}, 'unknown target column "churn"'),
        ({"split": "part"}, 'unknown split column "part"'),
        ({"split": "id, region"}, "more than one column"),
        ({"validation": 0.9}, "leave no rows to train on"),
        ({"test": -1.0}, "test is -1.0, which is not a share of the rows"),
        ({"test": None}, "test is None"),
        ({"seed": None}, "seed is NULL"),
        ({"stratify": None}, "stratify is NULL"),
    ],
)
def test_options_that_cannot_be_are_explained(db: Connection, options: dict[str, Any], error: str) -> None:
    make_customers(db, 1)
    with pytest.raises(psycopg.Error) as raised:
        create(db, "x", "customers", **options)
    assert error in message(raised.value)


def test_a_key_needs_an_order(db: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="values of type json cannot be sorted and joined"):
        create(db, "x", "SELECT '1'::json AS id", key="id")


@pytest.mark.parametrize(
    "key", ["i", "i::text", "i::varchar(5)", "i::text::citext", "i::text::mood", "ARRAY[i]", "i::percent", "i::money",
            "int4range(i, i + 1)", "('10.0.0.' || i)::inet", "i::text::\"char\""]
)  # fmt: skip
def test_keys_of_many_types_work(db: Connection, key: str) -> None:
    db.execute("CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('1', '2', '3'); CREATE DOMAIN percent AS integer")
    create(db, "x", f"SELECT {key} AS id, i FROM generate_series(1, 3) AS i", key="id")
    assert value(db, "SELECT rows FROM delc.dataset_summary") == 3


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("SELECT i % 4 AS id FROM generate_series(0, 9) AS i", 'key (id) of data set "x" is not unique'),
        ("SELECT i % 4 AS id FROM generate_series(0, 9) AS i", "so are 4 keys in all"),
        ("SELECT CASE WHEN i <> 2 THEN 7 ELSE 1 END AS id FROM generate_series(1, 3) AS i", "(7) is there 2 times."),
        ("SELECT NULLIF(i, 2) AS id FROM generate_series(1, 3) AS i", 'column "id" of data set "x" is NULL in 1 row'),
        ("SELECT i::float8 AS id FROM unnest(ARRAY[0.0, -0.0]::float8[]) AS i", "not unique"),
    ],
)
def test_keys_that_identify_no_row_are_refused(db: Connection, source: str, error: str) -> None:
    with pytest.raises(psycopg.errors.DataException) as raised:
        create(db, "x", source, key="id")
    assert error in message(raised.value)


def test_keys_are_checked_where_the_table_s_index_does_not(db: Connection) -> None:
    db.execute("CREATE TABLE parent (id integer PRIMARY KEY); CREATE TABLE child () INHERITS (parent)")
    db.execute("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)")
    with pytest.raises(psycopg.errors.DataException, match="not unique"):
        create(db, "x", "parent")


def test_a_part_of_the_key_that_is_unique_is_enough(db: Connection) -> None:
    make_customers(db)
    create(db, "x", "customers", key="region, id")
    assert value(db, "SELECT rows FROM delc.dataset_summary") == 100


def test_rows_without_key_are_numbered(db: Connection) -> None:
    create(db, "x", "SELECT i % 3 AS a FROM generate_series(1, 30) AS i")
    assert sorted(keys(db, "x")) == [0] * 10 + [1] * 10 + [2] * 10
    assert value(db, "SELECT key_columns FROM delc.datasets") == []


def test_a_source_without_rows_makes_an_empty_version_with_a_notice(db: Connection) -> None:
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    row = create(db, "x", "SELECT 1 AS id WHERE false", key="id", target="id")
    assert (row["rows"], row["train"], read(db, "x")) == (0, 0, [])
    assert notices == ['data set "x" has no rows, because its source has none now']


def test_rows_are_read_in_an_order_that_has_nothing_to_do_with_their_key(db: Connection) -> None:
    create(db, "x", "SELECT i AS id FROM generate_series(1, 1000) AS i", key="id")
    order = keys(db, "x")
    assert sorted(order) == list(range(1, 1001))
    ascents = sum(a < b for a, b in pairwise(order))
    assert 400 < ascents < 600


def test_a_name_is_taken_once(db: Connection) -> None:
    create(db, "x", NUMBERS)
    with pytest.raises(psycopg.errors.DuplicateObject, match='data set "x" exists already'):
        create(db, "x", NUMBERS)


@pytest.mark.parametrize("name", ["a@1", "", None, " x", "ü" * 32])
def test_a_name_that_cannot_be_is_refused(db: Connection, name: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        create(db, name, NUMBERS)  # type: ignore[arg-type]


def test_unusual_names_of_everything_work(db: Connection) -> None:
    table, column, dataset = 'Kunden "größe"; --', 'a "b" $1 %s {x} \'', "日本語 'quoted' \"x\" %s $1;"
    quoted = [name.replace('"', '""') for name in (table, column)]
    declared = f'"{quoted[1]}" integer PRIMARY KEY, "SELECT" text, "{"ü" * 31}" text'
    db.execute(f'CREATE TABLE "{quoted[0]}" ({declared})'.encode())
    db.execute(f"INSERT INTO \"{quoted[0]}\" SELECT i, 'x', 'y' FROM generate_series(1, 20) AS i".encode())
    create(db, dataset, f'"{quoted[0]}"', target='"SELECT"')
    assert len(read(db, dataset)) == 20
    assert [name for name, _, _ in columns(db, f"{dataset}@1")] == [column, "SELECT", "ü" * 31]


def test_the_version_stays_when_the_source_changes_or_goes(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    before = read(db, "customers")
    db.execute("UPDATE customers SET age = 0")
    assert read(db, "customers") == before
    db.execute("DROP TABLE customers")
    assert read(db, "customers") == before


def test_the_summary_tells_a_data_set_s_size(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned", description="who left")
    summary = "SELECT version, rows, columns, owner, bytes > 8192, description FROM delc.dataset_summary"
    assert db.execute(summary).fetchone() == (1, 100, 4, "postgres", True, "who left")


def test_a_table_of_1600_columns_works_from_end_to_end(db: Connection) -> None:
    declared = ", ".join(f"c{i} smallint" for i in range(1, 1600))
    db.execute(f"CREATE TABLE wide (id integer PRIMARY KEY, {declared})".encode())
    values = ", ".join(f"(i + {c}) % 100" for c in range(1, 1600))
    db.execute(f"INSERT INTO wide SELECT i, {values} FROM generate_series(1, 50) AS i".encode())
    create(db, "wide", "wide", target="c1599")
    assert value(db, "SELECT count(*) FROM pg_class WHERE relname ~ '^d[0-9]+_part2$'") == 1
    assert sorted(read(db, "wide")) == db.execute("SELECT * FROM wide ORDER BY id").fetchall()
    db.execute("UPDATE wide SET c1599 = -1 WHERE id = 7; DELETE FROM wide WHERE id = 8")
    row = value(db, "SELECT delc.commit_dataset('wide')")
    assert row is not None
    assert sorted(read(db, "wide@2")) == db.execute("SELECT * FROM wide ORDER BY id").fetchall()
    assert len(read(db, "wide@1")) == 50
    assert value(db, "SELECT count(*) FROM delc.dataset_rows(NULL::wide, 'wide@1', 'train')") == 35


def test_rows_wider_than_a_page_are_stored_in_parts(db: Connection) -> None:
    query = "SELECT 1 AS id, " + ", ".join(f"{i}::float8 AS c{i}" for i in range(1500))
    create(db, "wide", query, key="id")
    assert read(db, "wide") == [(1, *map(float, range(1500)))]


def test_more_columns_than_a_data_set_has_are_refused(db: Connection) -> None:
    query = "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1601))
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="the source has 1601 columns"):
        create(db, "wide", query)


def test_arrays_of_100000_elements_are_stored(db: Connection) -> None:
    array = "(SELECT array_agg(n::real) FROM generate_series(1, 100000) AS n)"
    query = f"SELECT i AS id, {array} AS a FROM generate_series(1, 3) AS i"
    create(db, "x", query, key="id")
    assert [len(row[1]) for row in read(db, "x")] == [100000] * 3


def test_a_query_that_gives_other_rows_each_time_is_read_once(db: Connection) -> None:
    db.execute("CREATE SEQUENCE calls")
    query = "SELECT nextval('calls') AS id, i % 2 = 0 AS y FROM generate_series(1, 10) AS i"
    create(db, "x", query, key="id", target="y")
    assert sorted(keys(db, "x")) == list(range(1, 11))
