"""One row through the versions of a data set: who added, changed and removed it, on which branch, and what it held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from support.cluster import Connection
from support.datasets import Row, call, commit, create, keys, make_customers
from support.workplace import failure, message


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db, 40)
    create(db, "customers", "customers", target="churned", message="first look")
    return db


def history(db: Connection, dataset: str, key: Any) -> list[Row]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM delc.row_history(%s, %s)", (dataset, Jsonb(key))).fetchall()


def told(db: Connection, dataset: str, key: Any, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in history(db, dataset, key)]


def test_a_row_is_told_from_its_first_version_to_its_last(customers: Connection) -> None:
    customers.execute("UPDATE customers SET age = 33 WHERE id = 7")
    commit(customers, "customers", message="a birthday")
    call(customers, "correct_dataset", name="customers", query="SELECT 7 AS id, 'north' AS region", message="moved")
    customers.execute("DELETE FROM customers WHERE id = 7")
    commit(customers, "customers", message="left")
    found = history(customers, "customers", {"id": 7})
    assert [(row["version"], row["change"], row["kind"], row["message"], row["columns"]) for row in found] == [
        ("customers@1", "added", "acquisition", "first look", None),
        ("customers@2", "changed", "acquisition", "a birthday", ["age"]),
        ("customers@3", "changed", "correction", "moved", ["region"]),
        ("customers@4", "removed", "acquisition", "left", None),
    ]
    states = [row["state"] for row in found]
    assert states[0] == {"id": 7, "region": "region 3", "age": 7.0, "churned": False}
    assert (states[2]["region"], states[2]["age"], states[3]) == ("north", 33.0, None)
    assert len({row["split"] for row in found[:3]}) == 1
    runs = customers.execute("SELECT id, username FROM delc.runs WHERE outcome = 'succeeded' ORDER BY id").fetchall()
    assert [(row["run_id"], row["created_by"]) for row in found] == runs


def test_a_row_that_nothing_happened_to_was_only_added(customers: Connection) -> None:
    customers.execute("UPDATE customers SET age = 33 WHERE id = 7")
    commit(customers, "customers")
    assert told(customers, "customers", {"id": 8}, "version", "change") == [("customers@1", "added")]


def test_a_key_that_no_version_has_has_no_history(customers: Connection) -> None:
    assert history(customers, "customers", {"id": 4711}) == []


def test_branches_have_histories_of_their_own(customers: Connection) -> None:
    call(customers, "branch_dataset", version="customers", branch="cleaned")
    call(customers, "correct_dataset", name="customers@cleaned", query="SELECT 7 AS id, 1 AS age")
    call(customers, "correct_dataset", name="customers", query="SELECT 7 AS id", remove=True)
    assert told(customers, "customers", 7, "version", "change", "branches") == [
        ("customers@1", "added", ["cleaned", "main"]),
        ("customers@2", "changed", ["cleaned"]),
        ("customers@3", "removed", ["main"]),
    ]
    assert told(customers, "customers@cleaned", 7, "change") == [("added",), ("changed",)]
    assert told(customers, "customers@main", 7, "change") == [("added",), ("removed",)]
    assert told(customers, "customers@1", 7, "change", "branches") == [("added", ["cleaned", "main"])]


def test_a_merge_changes_what_the_other_branch_changed(customers: Connection) -> None:
    call(customers, "branch_dataset", version="customers", branch="cleaned")
    eight = "SELECT id, 1 AS age FROM customers WHERE id < 9"
    call(customers, "correct_dataset", name="customers@cleaned", query=eight)
    call(customers, "correct_dataset", name="customers", query="SELECT 8 AS id, 2 AS age")
    call(customers, "merge_dataset", target="customers", source="customers@cleaned", prefer="ours")
    assert told(customers, "customers", 7, "version", "change", "kind", "columns") == [
        ("customers@1", "added", "acquisition", None),
        ("customers@2", "changed", "correction", ["age"]),
        ("customers@4", "changed", "merge", ["age"]),
    ]
    assert [version for (version,) in told(customers, "customers@main", 8, "version")] == [
        "customers@1",
        "customers@2",
        "customers@3",
    ]


def test_a_new_split_is_a_change_of_delc_split(customers: Connection) -> None:
    before = {key: split for split in ("train", "validation", "test") for key in keys(customers, "customers", split)}
    call(customers, "split_dataset", name="customers", seed=5)
    moved = next(
        key for split in ("train", "validation", "test") for key in keys(customers, "customers", split)
        if before[key] != split
    )  # fmt: skip
    found = history(customers, "customers", moved)
    assert [(row["change"], row["columns"]) for row in found] == [("added", None), ("changed", ["delc_split"])]
    assert found[0]["split"] == before[moved] != found[1]["split"]


def test_columns_that_come_and_go_are_told(customers: Connection) -> None:
    customers.execute("ALTER TABLE customers ADD vip boolean, DROP region")
    customers.execute("UPDATE customers SET vip = true WHERE id = 3")
    commit(customers, "customers")
    found = history(customers, "customers", 3)
    assert found[1]["columns"] == ["region", "vip"]
    assert found[1]["state"] == {"id": 3, "age": 3.0, "churned": True, "vip": True}


def test_a_pruned_history_tells_of_the_versions_that_stay(customers: Connection) -> None:
    for age in (1, 2, 3):
        call(customers, "correct_dataset", name="customers", query=f"SELECT 7 AS id, {age} AS age")
    customers.execute("SELECT * FROM delc.prune_dataset('customers', keep_last => 2)")
    assert told(customers, "customers", 7, "version", "change") == [
        ("customers@3", "added"),
        ("customers@4", "changed"),
    ]


def test_a_whole_row_will_do_as_key(customers: Connection) -> None:
    rows = customers.execute(
        "SELECT c.id, h.state = to_jsonb(c) FROM customers AS c, delc.row_history('customers', to_jsonb(c)) AS h"
    ).fetchall()
    assert sorted(rows) == [(i, True) for i in range(1, 41)]


def test_keys_of_many_types_are_found(db: Connection) -> None:
    db.execute("""CREATE TABLE odd ("Name ""x"" ü" text COLLATE "C", on_day date, code char(5), part numeric(6,2),
                                    raw bytea, at timestamptz, value real,
                                    PRIMARY KEY ("Name ""x"" ü", on_day, code, part, raw, at))""")
    db.execute(
        "INSERT INTO odd VALUES (%s, '2024-02-29', 'ab', 1.5, '\\x00ff', '2024-01-01 12:00+02', 1), "
        "('other', '2024-02-29', 'ab', 1.5, '\\x00ff', '2024-01-01 12:00+02', 2)",
        ('O\'Brien \\ 日本 "q" 😀',),
    )
    create(db, "odd", "odd", validation=0, test=0)
    for (key,) in db.execute("SELECT to_jsonb(odd) FROM odd").fetchall():
        (found,) = history(db, "odd", key)
        assert found["state"] == key
    assert history(db, "odd", {**key, "part": 1.501}) == []  # not rounded to a key that is there


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('{"ID": 7}', ['{"ID": 7} is not a key of data set "customers"', "says nothing of id", "'{\"id\": …}'"]),
        ('{"id": "seven"}', ["is not a key", 'Invalid input syntax for type integer: "seven"', "(id integer)"]),
        ('{"id": null}', ["says nothing of id", "Give the key as JSON"]),
        ("null", ["null is not a key", "or the value alone"]),
        ("[7]", ["[7] is not a key", "Give the key as JSON"]),
    ],
)
def test_what_is_no_key_is_refused_with_what_would_be(customers: Connection, key: str, said: list[str]) -> None:
    text = message(failure(customers, "SELECT * FROM delc.row_history('customers', %s)", key))
    assert all(part in text for part in said), text


def test_rows_without_a_key_have_no_history(db: Connection) -> None:
    create(db, "numbers", "SELECT i FROM generate_series(1, 10) AS i")
    assert "has no key" in message(failure(db, "SELECT * FROM delc.row_history('numbers', '1')"))


def test_only_who_may_read_a_data_set_sees_its_rows(
    new_role: Callable[..., str], connect_as: Callable[..., Connection], fresh_db: Connection
) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers")
    role = new_role("delc_user")
    stranger = connect_as(role)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not read data set"):
        history(stranger, "customers", 7)
    fresh_db.execute("SELECT delc.grant_dataset('customers', %s)", (role,))
    assert [row["change"] for row in history(stranger, "customers", 7)] == ["added"]
