"""Taking further versions."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import add_customers, call, commit, create, keys, make_customers, message, query_text, read, value


def stored_rows(db: Connection) -> int:
    dataset_id = value(db, "SELECT max(id) FROM delc.datasets")
    count: int = value(db, f"SELECT count(*) FROM delc_data.d{dataset_id}")
    return count


def source_rows(db: Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT * FROM customers ORDER BY id").fetchall()


def test_only_what_differs_is_stored(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    db.execute("UPDATE customers SET age = 99 WHERE id <= 5; DELETE FROM customers WHERE id > 98")
    add_customers(db, 101, 103)
    row = commit(db, "customers", message="May")
    assert (row["dataset"], row["rows"], row["added"], row["removed"]) == ("customers@2", 101, 8, 7)
    assert stored_rows(db) == 108
    assert sorted(read(db, "customers")) == source_rows(db)


def test_old_versions_stay_as_they_were(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    first, text = read(db, "customers"), query_text(db, "customers")
    db.execute("UPDATE customers SET age = 99 WHERE id <= 50")
    commit(db, "customers")
    second = read(db, "customers")
    db.execute("DELETE FROM customers WHERE id <= 75")
    commit(db, "customers")
    assert (read(db, "customers@1"), read(db, "customers@2")) == (first, second)
    assert db.execute(text.encode()).fetchall() == first
    assert len(read(db, "customers@3")) == 25


def test_nothing_is_made_when_nothing_changed(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    notices: list[str] = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    row = commit(db, "customers")
    assert (row["dataset"], row["rows"], row["added"], row["removed"]) == ("customers@1", 100, 0, 0)
    assert notices == ['the source of data set "customers" has not changed; its latest version stays customers@1']


def test_a_row_that_comes_back_is_stored_again(db: Connection) -> None:
    make_customers(db, 10)
    create(db, "customers", "customers")
    db.execute("CREATE TEMPORARY TABLE gone AS SELECT * FROM customers WHERE id = 3")
    db.execute("DELETE FROM customers WHERE id = 3")
    commit(db, "customers")
    db.execute("INSERT INTO customers SELECT * FROM gone")
    commit(db, "customers")
    assert [len(read(db, f"customers@{i}")) for i in (1, 2, 3)] == [10, 9, 10]


def test_everything_can_go_and_come_again(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    db.execute("DELETE FROM customers")
    assert commit(db, "customers")["rows"] == 0
    add_customers(db, 1, 100)
    row = commit(db, "customers")
    assert (row["train"], row["validation"], row["test"]) == (70, 10, 20)
    assert read(db, "customers@2") == []


def test_an_empty_data_set_fills(db: Connection) -> None:
    make_customers(db, 0)
    create(db, "customers", "customers", target="churned")
    add_customers(db, 1, 100)
    row = commit(db, "customers")
    assert (row["train"], row["validation"], row["test"]) == (70, 10, 20)


def test_types_without_equality_are_compared(db: Connection) -> None:
    db.execute("CREATE TABLE documents (id integer PRIMARY KEY, body json, place point)")
    db.execute("INSERT INTO documents SELECT i, '{}', '(1,2)' FROM generate_series(1, 9) AS i")
    create(db, "documents", "documents", key="id")
    db.execute("UPDATE documents SET body = '{ }' WHERE id = 1")
    db.execute("UPDATE documents SET place = '(1,3)' WHERE id = 2")
    db.execute("UPDATE documents SET body = NULL WHERE id = 3")
    assert commit(db, "documents")["added"] == 3


def test_equal_numbers_that_are_written_otherwise_differ(db: Connection) -> None:
    db.execute("CREATE TABLE numbers (id integer PRIMARY KEY, n numeric, f float8)")
    db.execute("INSERT INTO numbers VALUES (1, 1.0, 0), (2, 1.0, 'NaN'), (3, 1.0, 1)")
    create(db, "numbers", "numbers")
    db.execute("UPDATE numbers SET n = 1.00 WHERE id = 1; UPDATE numbers SET f = '-0' WHERE id = 3")
    assert commit(db, "numbers")["added"] == 2


def test_keys_of_several_columns_are_matched(db: Connection) -> None:
    db.execute("CREATE TABLE sales AS SELECT 'r' || i % 2 AS region, i AS id, 0 AS x FROM generate_series(1, 10) AS i")
    create(db, "sales", "sales", key="region, id")
    db.execute("UPDATE sales SET region = 'r2' WHERE id = 1; UPDATE sales SET x = 1 WHERE id = 2")
    row = commit(db, "sales")
    assert (row["rows"], row["added"], row["removed"]) == (10, 2, 2)


@pytest.mark.parametrize("key", ["i::text::citext", "i::text::mood", "ARRAY[i]", "i::money"])
def test_keys_are_matched_by_their_own_equality_whatever_the_search_path(db: Connection, key: str) -> None:
    db.execute("CREATE SCHEMA s; CREATE EXTENSION citext SCHEMA s; CREATE TYPE s.mood AS ENUM ('1', '2', '3')")
    db.execute("SET LOCAL search_path = s, public")
    db.execute(f"CREATE TABLE public.t AS SELECT {key} AS id, i FROM generate_series(1, 3) AS i".encode())
    create(db, "t", "public.t", key="id")
    db.execute("SET LOCAL search_path = pg_catalog")
    assert commit(db, "t")["added"] == 0


def test_columns_may_change_their_order(db: Connection) -> None:
    db.execute("CREATE VIEW v AS SELECT 1 AS id, 2 AS x")
    create(db, "v", "v", key="id")
    db.execute("DROP VIEW v; CREATE VIEW v AS SELECT 3 AS x, 1 AS id")
    commit(db, "v")
    assert read(db, "v") == [(1, 3)]


def test_a_data_set_without_key_takes_no_further_version(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS a")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has no key") as error:
        commit(db, "x")
    assert "key =>" in message(error.value)


def test_a_source_that_is_gone_is_named(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    db.execute("DROP TABLE customers")
    with pytest.raises(psycopg.errors.UndefinedObject, match=r'no relation "public\.customers"') as error:
        commit(db, "customers")
    assert "Give the relation its name back, or make versions by hand" in str(error.value.diag.message_hint)


def without_primary_key(db: Connection) -> None:
    make_customers(db, 10)
    db.execute("ALTER TABLE customers DROP CONSTRAINT customers_pkey")
    create(db, "customers", "customers", key="id")


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO customers SELECT * FROM customers WHERE id = 3",
        "INSERT INTO customers SELECT * FROM customers WHERE id = 3; UPDATE customers SET age = 99 WHERE id = 3",
        "INSERT INTO customers SELECT id, 'other', age, churned FROM customers WHERE id = 3",
        "INSERT INTO customers SELECT 11, region, age, churned FROM customers WHERE id IN (3, 4)",
    ],
)
def test_keys_that_have_become_repeated_are_refused(db: Connection, change: str) -> None:
    without_primary_key(db)
    db.execute(change.encode())
    with pytest.raises(psycopg.errors.DataException, match='customers" is not unique'):
        commit(db, "customers")


LOOSE_KEYS = {
    "collation": ("text COLLATE loose", 'k COLLATE "C"'),
    "operator class": ("citext", "k text_ops"),
}


@pytest.fixture
def loose(db: Connection) -> Connection:
    db.execute("CREATE EXTENSION citext")
    db.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    return db


@pytest.mark.parametrize("kind", LOOSE_KEYS)
def test_a_unique_index_that_tells_more_apart_than_the_keys_type_is_not_trusted(loose: Connection, kind: str) -> None:
    key_type, indexed = LOOSE_KEYS[kind]
    loose.execute(f"CREATE TABLE t (k {key_type} NOT NULL, v integer); CREATE UNIQUE INDEX ON t ({indexed})".encode())
    loose.execute("INSERT INTO t VALUES ('a', 1), ('A', 2), ('b', 3)")
    refused = r'key \(k\) of data set "t" is not unique'
    with pytest.raises(psycopg.errors.DataException, match=refused), loose.transaction():
        create(loose, "t", "t", key="k")
    loose.execute("DELETE FROM t WHERE v = 2")
    create(loose, "t", "t", key="k")
    loose.execute("INSERT INTO t VALUES ('A', 2)")
    with pytest.raises(psycopg.errors.DataException, match=refused), loose.transaction():
        commit(loose, "t")
    loose.execute("DELETE FROM t WHERE v = 2; UPDATE t SET v = v + 10")
    assert (commit(loose, "t")["rows"], sorted(read(loose, "t"))) == (2, [("a", 11), ("b", 13)])


COLLATIONS = ['"C"', "de_DE", "strict", "loose"]


@pytest.fixture
def collations(loose: Connection) -> Connection:
    loose.execute("CREATE COLLATION strict (provider = icu, locale = 'und'); CREATE COLLATION de_DE (LOCALE = 'C')")
    return loose


@pytest.mark.parametrize("before", COLLATIONS)
@pytest.mark.parametrize("other_key", ["integer", "numeric"])
def test_keys_are_told_apart_as_at_first_whatever_collation_their_column_gets(
    collations: Connection, before: str, other_key: str
) -> None:
    """With a key of integers rows are matched by digests, with one of numerics by a join."""
    collations.execute(
        f"CREATE TABLE t (k text COLLATE {before}, n {other_key}, v integer, PRIMARY KEY (k, n));"
        " INSERT INTO t VALUES ('a', 1, 1), ('b', 1, 2), ('B', 2, 3)".encode()
    )
    create(collations, "t", "t")
    for number, after in enumerate(COLLATIONS, 2):
        collations.execute(f"ALTER TABLE t ALTER k TYPE text COLLATE {after}".encode())
        collations.execute("UPDATE t SET v = v + 10 WHERE k = 'b' AND n = 1")
        assert (commit(collations, "t")["added"], sorted(read(collations, "t"))) == (
            1, [("B", 2, 3), ("a", 1, 1), ("b", 1, 2 + 10 * (number - 1))]
        )  # fmt: skip
        changed = f"SELECT 'a'::text COLLATE {after} AS k, 1 AS n, {number} AS v"
        assert call(collations, "correct_dataset", name="t", query=changed)["added"] == 1
        collations.execute("SELECT delc.commit_dataset('t')")


def test_keys_that_are_one_by_the_collation_of_the_data_set_are_refused(collations: Connection) -> None:
    collations.execute("CREATE TABLE t (k text COLLATE loose PRIMARY KEY, v integer); INSERT INTO t VALUES ('a', 1)")
    create(collations, "t", "t")
    collations.execute("""ALTER TABLE t ALTER k TYPE text COLLATE "C"; INSERT INTO t VALUES ('A', 2)""")
    with pytest.raises(psycopg.errors.DataException, match="not unique") as error:
        commit(collations, "t")
    assert "(A) is there 2 times. Column k is compared by public.loose." in message(error.value)


def test_a_source_that_changes_the_data_set_itself_is_refused(db: Connection) -> None:
    db.execute("CREATE TABLE t (k integer PRIMARY KEY, v integer); INSERT INTO t VALUES (1, 1)")
    db.execute("CREATE FUNCTION rows() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t'")
    create(db, "t", "SELECT * FROM rows()", key="k")
    db.execute("""
        UPDATE t SET v = 2;
        CREATE OR REPLACE FUNCTION rows() RETURNS SETOF t LANGUAGE plpgsql AS $body$
        BEGIN
            PERFORM delc.append_dataset('t', 'SELECT max(k) + 1 AS k, 7 AS v FROM delc.dataset_rows(NULL::t, ''t'')');
            RETURN QUERY SELECT * FROM t;
        END $body$""")
    told = 'data set "t" is changed by the query that a version of it is being made from'
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=told), db.transaction():
        commit(db, "t")
    for function in ("append_dataset", "correct_dataset"):
        query = "SELECT k + 100 AS k, v FROM rows()" if function == "append_dataset" else "SELECT * FROM rows()"
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=told), db.transaction():
            call(db, function, name="t", query=query)
    assert read(db, "t") == [(1, 1)]
    db.execute("CREATE OR REPLACE FUNCTION rows() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t'")
    assert commit(db, "t")["dataset"] == "t@2"


def test_keys_that_have_become_null_are_refused(db: Connection) -> None:
    without_primary_key(db)
    db.execute("ALTER TABLE customers ALTER COLUMN id DROP NOT NULL; UPDATE customers SET id = NULL WHERE id = 3")
    with pytest.raises(psycopg.errors.DataException, match="is NULL in 1 row"):
        commit(db, "customers")


@pytest.mark.parametrize(
    ("name", "error"), [("custmers", 'Did you mean "customers"?'), ("customers@1", "names a version")]
)
def test_an_unknown_name_is_told_with_the_nearest(db: Connection, name: str, error: str) -> None:
    make_customers(db, 1)
    create(db, "customers", "customers")
    with pytest.raises(psycopg.Error) as raised:
        commit(db, name)
    assert error in message(raised.value)


def test_versions_know_parent_author_reason_and_run(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", message="first")
    add_customers(db, 101, 110)
    row = commit(db, "customers", message="more")
    found = db.execute(
        "SELECT v.number, v.kind, v.message, v.created_by, v.run_id, p.number FROM delc.dataset_versions v"
        " LEFT JOIN delc.dataset_version_parents l ON l.version_id = v.id"
        " LEFT JOIN delc.dataset_versions p ON p.id = l.parent_id ORDER BY v.number DESC LIMIT 1"
    ).fetchone()
    assert found == (2, "acquisition", "more", "postgres", row["run_id"], 1)


def test_the_log_tells_which_version_came_of_which(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    add_customers(db, 101, 110)
    run = commit(db, "customers")["run_id"]
    read_version = value(db, "SELECT dataset_version_id FROM delc.run_inputs WHERE run_id = %s", run)
    made_version = value(db, "SELECT dataset_version_id FROM delc.run_outputs WHERE run_id = %s", run)
    numbers = "SELECT number FROM delc.dataset_versions WHERE id = %s"
    assert (value(db, numbers, read_version), value(db, numbers, made_version)) == (1, 2)


def test_a_history_of_many_versions_is_read_right(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    expected = {1: source_rows(db)}
    for number in range(2, 12):
        db.execute("UPDATE customers SET age = age + 1 WHERE id %% 10 = %s", (number % 10,))
        db.execute("DELETE FROM customers WHERE id = %s", (number,))
        add_customers(db, 100 + number, 100 + number)
        commit(db, "customers")
        expected[number] = source_rows(db)
    for number, rows in expected.items():
        assert sorted(read(db, f"customers@{number}")) == rows
    assert keys(db, "customers") == keys(db, "customers@11")
