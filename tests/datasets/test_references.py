"""Branches and tags, and the log of versions."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import add_customers, commit, create, make_customers, message, read, value


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db)
    create(db, "customers", "customers")
    return db


def test_versions_on_a_branch_leave_main_alone(customers: Connection) -> None:
    assert value(customers, "SELECT delc.branch_dataset('customers', 'cleaned')") == "customers@cleaned"
    add_customers(customers, 101, 110)
    assert commit(customers, "customers@cleaned")["dataset"] == "customers@2"
    assert len(read(customers, "customers")) == 100
    assert len(read(customers, "customers@cleaned")) == 110
    add_customers(customers, 111, 115)
    assert commit(customers, "customers")["dataset"] == "customers@3"
    assert [len(read(customers, f"customers@{v}")) for v in ("1", "2", "3", "main", "cleaned")] == [
        100, 110, 115, 115, 110,
    ]  # fmt: skip


def test_rows_removed_on_a_branch_stay_on_main(customers: Connection) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', 'small')")
    customers.execute("DELETE FROM customers WHERE id > 10")
    commit(customers, "customers@small")
    add_customers(customers, 11, 100)
    assert commit(customers, "customers")["added"] == 0
    assert (len(read(customers, "customers")), len(read(customers, "customers@small"))) == (100, 10)


def test_a_tag_stays(customers: Connection) -> None:
    assert value(customers, "SELECT delc.tag_dataset('customers', 'published')") == "customers@published"
    add_customers(customers, 101, 110)
    commit(customers, "customers")
    assert len(read(customers, "customers@published")) == 100
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is a tag, which stays"):
        commit(customers, "customers@published")


def test_a_name_is_taken_once(customers: Connection) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', 'a')")
    with pytest.raises(psycopg.errors.DuplicateObject, match='has a branch "a" already'):
        customers.execute("SELECT delc.tag_dataset('customers@1', 'a')")


def test_an_unknown_branch_is_told_with_the_nearest(customers: Connection) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', 'cleaned')")
    with pytest.raises(psycopg.errors.UndefinedObject) as error:
        commit(customers, "customers@cleand")
    assert 'Did you mean "cleaned"?' in message(error.value)


def test_a_dropped_tag_is_gone_and_its_version_stays(customers: Connection) -> None:
    customers.execute("SELECT delc.tag_dataset('customers', 'published')")
    customers.execute("SELECT delc.drop_dataset_ref('customers@published')")
    assert value(customers, "SELECT count(*) FROM delc.dataset_refs") == 1
    assert len(read(customers, "customers@1")) == 100


def test_main_stays(customers: Connection) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="branch main"):
        customers.execute("SELECT delc.drop_dataset_ref('customers@main')")


@pytest.mark.parametrize("name", ['it\'s "quoted"', "größe", "日本語"])
def test_references_may_have_any_printable_name(customers: Connection, name: str) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', %s)", (name,))
    add_customers(customers, 101, 101)
    commit(customers, f"customers@{name}")
    assert len(read(customers, f"customers@{name}")) == 101


def test_the_log_tells_the_history(customers: Connection) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', 'b')")
    customers.execute("SELECT delc.tag_dataset('customers', 't')")
    add_customers(customers, 101, 102)
    commit(customers, "customers@b", message="May")
    log = customers.execute(
        "SELECT dataset, kind, message, parents, branches, tags, rows, added, removed, created_by, run_id IS NOT NULL"
        " FROM delc.dataset_log ORDER BY version"
    ).fetchall()
    assert log == [
        ("customers@1", "acquisition", None, [], ["main"], ["t"], 100, 100, 0, "postgres", True),
        ("customers@2", "acquisition", "May", [1], ["b"], [], 102, 2, 0, "postgres", True),
    ]


def test_a_version_is_never_its_own_ancestor(customers: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        customers.execute("INSERT INTO delc.dataset_version_parents (version_id, parent_id) SELECT id, id"
                          " FROM delc.dataset_versions")  # fmt: skip


def test_a_version_is_never_made_from_a_later_one(customers: Connection) -> None:
    add_customers(customers, 101, 102)
    commit(customers, "customers")
    with pytest.raises(psycopg.errors.CheckViolation, match="dataset_version_parents_no_cycle"):
        customers.execute(
            "INSERT INTO delc.dataset_version_parents (version_id, parent_id)"
            " SELECT a.id, b.id FROM delc.dataset_versions AS a JOIN delc.dataset_versions AS b ON a.number < b.number"
        )


def test_longer_names_than_postgresql_has_are_refused(customers: Connection) -> None:
    customers.execute("SELECT delc.branch_dataset('customers', %s)", ("b" * 63,))
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="at most 63"):
        customers.execute("SELECT delc.tag_dataset('customers', %s)", ("b" * 64,))


def test_names_with_quotes_go_through_everything(db: Connection) -> None:
    name = 'it\'s "größe" {x} %'
    db.execute('CREATE TABLE "t \'1" AS SELECT i AS "Id {0}", i AS "x\'y" FROM generate_series(1, 9) AS i')
    create(db, name, "\"t ''1\"".replace("''", "'"), key='"Id {0}"')
    db.execute("SELECT delc.branch_dataset(%s, 'b')", (name,))
    db.execute("SELECT delc.correct_dataset(%s, %s)", (f"{name}@b", 'SELECT 1 AS "Id {0}", 5 AS "x\'y"'))
    db.execute("SELECT delc.correct_dataset(%s, %s)", (name, 'SELECT 2 AS "Id {0}", 6 AS "x\'y"'))
    db.execute("SELECT delc.merge_dataset(%s, %s)", (name, f"{name}@b"))
    assert dict(read(db, name)) == {i: {1: 5, 2: 6}.get(i, i) for i in range(1, 10)}
    found = db.execute("SELECT key, columns FROM delc.diff_dataset(%s, %s) ORDER BY 1", (f"{name}@1", name)).fetchall()
    assert found == [({"Id {0}": 1}, ["x'y"]), ({"Id {0}": 2}, ["x'y"])]
    assert len(db.execute("SELECT * FROM delc.summarize_diff(%s, %s)", (f"{name}@1", name)).fetchall()) == 2
