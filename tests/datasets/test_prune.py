"""Dropping versions: what protects them, and what becomes of the rows."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import IsolationLevel

from support.cluster import Connection
from support.datasets import (
    add_customers,
    call,
    commit,
    create,
    make_customers,
    message,
    query_text,
    read,
    splits,
    value,
)


@pytest.fixture
def history(db: Connection) -> Connection:
    """Five versions of 100 customers; each changes some, most of them not for the first time, and drops one."""
    make_customers(db)
    create(db, "customers", "customers")
    for i in range(4):
        db.execute("UPDATE customers SET age = age + 1 WHERE mod(id, 10) <= %s", (i,))
        db.execute("DELETE FROM customers WHERE id = %s", (90 + i,))
        commit(db, "customers")
    return db


def stored(db: Connection) -> int:
    count: int = value(db, "SELECT count(*) FROM delc_data.d" + str(value(db, "SELECT max(id) FROM delc.datasets")))
    return count


def numbers(db: Connection) -> list[int]:
    return [row[0] for row in db.execute("SELECT version FROM delc.dataset_log ORDER BY 1").fetchall()]


@pytest.mark.parametrize("version", [1, 2, 4])
def test_the_others_keep_their_content(history: Connection, version: int) -> None:
    others = [f"customers@{i}" for i in range(1, 6) if i != version]
    before = {name: splits(history, name) for name in others}, {name: read(history, name) for name in others}
    assert value(history, f"SELECT delc.drop_dataset_version('customers@{version}')") > 0
    assert ({name: splits(history, name) for name in others}, {name: read(history, name) for name in others}) == before
    with pytest.raises(psycopg.errors.UndefinedObject, match=f"no version {version}"):
        read(history, f"customers@{version}")


def test_counts_are_those_of_what_is_left(history: Connection) -> None:
    both = "count(*) FILTER (WHERE change <> 'removed'), count(*) FILTER (WHERE change <> 'added')"
    differing = history.execute(
        f"SELECT {both} FROM delc.diff_dataset('customers@1', 'customers@3')".encode()
    ).fetchone()
    log = "SELECT parents, rows, added, removed FROM delc.dataset_log WHERE version = 3"
    history.execute("SELECT delc.drop_dataset_version('customers@2')")
    assert history.execute(log.encode()).fetchone() == ([1], 98, *(differing or ()))
    history.execute("SELECT delc.drop_dataset_version('customers@1')")
    assert history.execute(log.encode()).fetchone() == ([], 98, 98, 0)


def test_pruning_keeps_the_last_and_gives_rows_back(history: Connection) -> None:
    before = read(history, "customers")
    assert stored(history) > 130
    found = history.execute("SELECT * FROM delc.prune_dataset('customers', 1)").fetchall()
    assert [(dataset, dropped) for dataset, dropped, _ in found] == [
        (f"customers@{i}", i < 5) for i in range(1, 6)
    ]  # fmt: skip
    assert stored(history) == 96
    assert read(history, "customers") == before
    add_customers(history, 101, 105)
    assert commit(history, "customers")["dataset"] == "customers@6"
    assert len(read(history, "customers")) == 101


def test_a_dry_run_changes_nothing(history: Connection) -> None:
    found = history.execute("SELECT * FROM delc.prune_dataset('customers', 2, dry_run => true)").fetchall()
    assert [dropped for _, dropped, _ in found] == [True, True, True, False, False]
    assert numbers(history) == [1, 2, 3, 4, 5]


def test_tags_and_branches_protect(history: Connection) -> None:
    history.execute("SELECT delc.tag_dataset('customers@2', 'paper'), delc.branch_dataset('customers@3', 'b')")
    content = {name: read(history, name) for name in ("customers@paper", "customers@b", "customers")}
    found = history.execute("SELECT * FROM delc.prune_dataset('customers', 1)").fetchall()
    assert numbers(history) == [2, 3, 5]
    assert found[1] == ("customers@2", False, "tag paper")
    assert {name: read(history, name) for name in content} == content
    history.execute("SELECT delc.prune_dataset('customers', 1, keep_tagged => false)")
    assert numbers(history) == [3, 5]


@pytest.mark.parametrize("version", ["customers@5", "customers@t"])
def test_a_version_with_a_name_cannot_be_dropped(history: Connection, version: str) -> None:
    history.execute("SELECT delc.tag_dataset('customers@2', 't')")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as error:
        history.execute("SELECT delc.drop_dataset_version(%s)", (version,))
    assert ("branch main" if version.endswith("5") else "tag t") in message(error.value)


def test_the_only_version_goes_with_its_data_set(db: Connection) -> None:
    make_customers(db)
    create(db, "lone", "customers")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="it is the only version") as error:
        db.execute("SELECT delc.drop_dataset_version('lone')")
    assert "SELECT delc.drop_dataset('lone')" in message(error.value)


def test_a_version_with_models_cannot_be_dropped(history: Connection) -> None:
    create(history, "trained", "customers", target="churned")
    history.execute("SELECT delc.train('m', 'trained', epochs => 1)")
    history.execute("DELETE FROM customers WHERE id = 1")
    commit(history, "trained")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as error, history.transaction():
        history.execute("SELECT delc.drop_dataset_version('trained@1')")
    assert "model m" in message(error.value)
    found = history.execute("SELECT * FROM delc.prune_dataset('trained', 1)").fetchall()
    assert [dropped for _, dropped, _ in found] == [False, False]


def test_a_branch_point_stays(history: Connection) -> None:
    history.execute("SELECT delc.branch_dataset('customers@3', 'b')")
    call(history, "correct_dataset", name="customers@b", query="SELECT 1 AS id, 50 AS age")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="cannot be dropped"), history.transaction():
        history.execute("SELECT delc.drop_dataset_version('customers@3')")
    content = {name: read(history, name) for name in ("customers@b", "customers")}
    found = history.execute("SELECT * FROM delc.prune_dataset('customers', 1)").fetchall()
    assert found[2] == ("customers@3", False, "versions 5, 6 were made from it")
    assert numbers(history) == [3, 5, 6]
    assert {name: read(history, name) for name in content} == content


def test_the_versions_of_a_dropped_branch_go_with_their_rows(history: Connection) -> None:
    history.execute("SELECT delc.branch_dataset('customers@5', 'b')")
    query = "SELECT i AS id, 'r' AS region, 1 AS age, true AS churned FROM generate_series(201, 300) AS i"
    call(history, "append_dataset", name="customers@b", query=query)
    rows, content = stored(history), read(history, "customers")
    history.execute("SELECT delc.drop_dataset_ref('customers@b')")
    assert value(history, "SELECT delc.drop_dataset_version('customers@6')") == 100
    assert (stored(history), read(history, "customers")) == (rows - 100, content)


def test_a_merge_survives_the_loss_of_its_parents(history: Connection) -> None:
    history.execute("SELECT delc.branch_dataset('customers@5', 'b')")
    call(history, "correct_dataset", name="customers", query="SELECT 1 AS id, 50 AS age")
    call(history, "correct_dataset", name="customers@b", query="SELECT 2 AS id, 51 AS age")
    history.execute("SELECT delc.merge_dataset('customers', 'customers@b')")
    history.execute("SELECT delc.drop_dataset_ref('customers@b')")
    content = sorted(read(history, "customers"))
    history.execute("SELECT delc.prune_dataset('customers', 1)")
    assert numbers(history) == [8]
    assert sorted(read(history, "customers")) == content
    assert stored(history) == len(content)


def test_compacting_gives_the_space_back(fresh_db: Connection) -> None:
    make_customers(fresh_db, 20_000)
    create(fresh_db, "customers", "customers")
    fresh_db.execute("UPDATE customers SET age = age + 1")
    commit(fresh_db, "customers")
    before, content = value(fresh_db, "SELECT bytes FROM delc.dataset_summary"), read(fresh_db, "customers")
    fresh_db.execute("SELECT delc.prune_dataset('customers', 1)")
    given_back = value(fresh_db, "SELECT delc.compact_dataset('customers')")
    after = value(fresh_db, "SELECT bytes FROM delc.dataset_summary")
    assert after < 0.55 * before
    assert given_back == before - after
    assert read(fresh_db, "customers") == content


@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_an_older_snapshot_goes_on_seeing_all_rows(
    fresh_db: Connection, connect_as: Callable[..., Connection], isolation: IsolationLevel
) -> None:
    make_customers(fresh_db, 50)
    create(fresh_db, "customers", "customers")
    fresh_db.execute("UPDATE customers SET age = age + 1")
    commit(fresh_db, "customers")
    reader = connect_as("postgres")
    reader.autocommit = False
    reader.isolation_level = isolation
    before = {name: read(reader, name) for name in ("customers@1", "customers@2")}
    fresh_db.execute("SELECT delc.prune_dataset('customers', 1)")
    assert {name: read(reader, name) for name in before} == before
    assert len(before["customers@1"]) == 50
    reader.rollback()
    assert read(reader, "customers") == before["customers@2"]


def test_readers_do_not_wait_for_a_prune(fresh_db: Connection, connect_as: Callable[..., Connection]) -> None:
    make_customers(fresh_db, 50)
    create(fresh_db, "customers", "customers")
    fresh_db.execute("UPDATE customers SET age = age + 1")
    commit(fresh_db, "customers")
    reader = connect_as("postgres")
    reader.execute("SET lock_timeout = '5s'")
    with fresh_db.transaction():
        fresh_db.execute("SELECT delc.prune_dataset('customers', 1)")
        assert len(read(reader, "customers@1")) == 50


def test_more_removed_rows_than_memory_holds(db: Connection) -> None:
    make_customers(db, 30_000)
    create(db, "customers", "customers")
    for _ in range(4):
        db.execute("UPDATE customers SET age = age + 1")
        commit(db, "customers")
    db.execute("SET work_mem = '64kB'; SET maintenance_work_mem = '1MB'")
    assert value(db, "SELECT delc.drop_dataset_version('customers@2')") == 30_000
    db.execute("SELECT delc.prune_dataset('customers', 1)")
    assert stored(db) == 30_000


def test_what_was_changed_and_changed_back_does_not_count(history: Connection) -> None:
    create(history, "log", "SELECT id, age, region FROM customers", key="id")
    for age in ("age + 1", "age"):
        query = f"SELECT id, {age} AS age FROM customers WHERE id <= 10"
        call(history, "correct_dataset", name="log", query=query)
    call(history, "correct_dataset", name="log", query="SELECT 50 AS id, 7 AS age")
    content = read(history, "log")
    history.execute("SELECT delc.drop_dataset_version('log@2'), delc.drop_dataset_version('log@3')")
    counts = "SELECT added, removed FROM delc.dataset_log WHERE dataset = 'log@4'"
    assert history.execute(counts.encode()).fetchone() == (1, 1)
    assert value(history, "SELECT count(*) FROM delc.diff_dataset('log@1', 'log@4')") == 1
    assert read(history, "log") == content
    call(history, "correct_dataset", name="log", query="SELECT id, 9 AS age FROM customers WHERE id <= 10")
    assert len(read(history, "log")) == len(content)
    history.execute("SELECT delc.prune_dataset('log', 1)")
    assert len(read(history, "log")) == len(content)


def test_a_row_is_followed_through_versions_that_went_into_others(history: Connection) -> None:
    history.execute("SELECT delc.drop_dataset_version('customers@2')")
    history.execute("SELECT delc.drop_dataset_version('customers@3')")
    found = history.execute("SELECT version, change FROM delc.row_history('customers', '10')").fetchall()
    assert found == [("customers@1", "added"), ("customers@4", "changed"), ("customers@5", "changed")]


@pytest.mark.parametrize("keep", ["0", "-1", "NULL"])
def test_heads_always_stay(history: Connection, keep: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="keep_last is"):
        history.execute(f"SELECT delc.prune_dataset('customers', {keep})".encode())


def test_query_texts_of_versions_that_stay_go_on_giving_them(history: Connection) -> None:
    history.execute("SELECT delc.tag_dataset('customers@3', 'paper')")
    texts = {version: query_text(history, version) for version in ("customers@3", "customers")}
    before = {version: read(history, version) for version in texts}
    for version, text in texts.items():
        history.execute(f'CREATE VIEW "view of {version}" AS {text}'.encode())
    history.execute("SELECT delc.prune_dataset('customers', 1)")
    assert {version: history.execute(text.encode()).fetchall() for version, text in texts.items()} == before
    assert {version: history.execute(f'TABLE "view of {version}"'.encode()).fetchall() for version in texts} == before


def test_a_pruned_number_is_not_given_again(history: Connection) -> None:
    history.execute("SELECT delc.branch_dataset('customers', 'b')")
    call(history, "correct_dataset", name="customers@b", query="SELECT 1 AS id, 50 AS age")
    history.execute("SELECT delc.drop_dataset_ref('customers@b'), delc.drop_dataset_version('customers@6')")
    row = call(history, "correct_dataset", name="customers", query="SELECT 1 AS id, 51 AS age")
    assert row["dataset"] == "customers@7"
