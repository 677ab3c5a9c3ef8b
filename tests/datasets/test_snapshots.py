"""What openGauss promises of its data snapshots (create, publish, archive, sample, purge, and what they refuse),
asked of versions of data sets: publishing is a tag, archiving is dropping it, sampling is `sample_dataset`.
"""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import call, commit, create, keys, make_customers, read, value


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db)
    create(db, "customers", "customers", message="first", description="all of them")
    return db


def test_a_snapshot_is_made_from_a_query_and_says_who_made_it_and_why(customers: Connection) -> None:
    row = customers.execute("SELECT dataset, created_by, message, rows FROM delc.dataset_log").fetchone()
    assert row == ("customers@1", "postgres", "first", 100)


def test_a_snapshot_is_made_from_a_snapshot_by_changes(customers: Connection) -> None:
    call(customers, "correct_dataset", name="customers", query="SELECT id FROM customers WHERE id > 50", remove=True)
    call(customers, "correct_dataset", name="customers", query="SELECT id, age * 2 AS age FROM customers WHERE id = 9")
    assert (len(read(customers, "customers@1")), len(read(customers, "customers"))) == (100, 50)
    assert [row[2] for row in read(customers, "customers") if row[0] == 9] == [18]


def test_a_snapshot_is_sampled_within_each_class(customers: Connection) -> None:
    create(customers, "by region", "SELECT id, region, age FROM customers", key="id", target="region")
    call(customers, "sample_dataset", version="by region@1", name="by region@sample", fraction=0.2)
    drawn = read(customers, "by region@sample")
    assert all(4 <= sum(row[1] == f"region {i}" for row in drawn) <= 6 for i in range(4))
    assert len(drawn) == 20
    assert set(drawn) < set(read(customers, "by region@1"))


def test_a_snapshot_is_sampled_into_a_table_of_its_own(customers: Connection) -> None:
    call(customers, "sample_dataset", version="customers@1", name="sample", fraction=0.1)
    assert len(keys(customers, "sample")) == 10
    assert set(keys(customers, "sample")) < set(keys(customers, "customers@1"))


def test_a_published_snapshot_cannot_be_purged_until_it_is_archived(customers: Connection) -> None:
    customers.execute("SELECT delc.tag_dataset('customers', 'published')")
    customers.execute("DELETE FROM customers WHERE id = 1")
    commit(customers, "customers")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="cannot be dropped"), customers.transaction():
        customers.execute("SELECT delc.drop_dataset_version('customers@1')")
    customers.execute("SELECT delc.drop_dataset_ref('customers@published')")
    assert value(customers, "SELECT delc.drop_dataset_version('customers@1')") == 1


def test_a_snapshot_is_not_made_twice(customers: Connection) -> None:
    with pytest.raises(psycopg.errors.DuplicateObject, match="exists already"):
        create(customers, "customers", "customers")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT delc.tag_dataset('customers@7', 'published')",
        "SELECT delc.drop_dataset_ref('customers@archived')",
        "SELECT delc.drop_dataset_version('customers@7')",
        "SELECT delc.drop_dataset_version('missing@1')",
        "SELECT delc.correct_dataset('missing', 'SELECT 1 AS id, 2 AS age')",
        "SELECT delc.prune_dataset('missing')",
    ],
)
def test_what_is_not_there_is_refused(customers: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedObject):
        customers.execute(statement.encode())


def test_the_only_snapshot_is_not_purged(customers: Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="cannot be dropped"):
        customers.execute("SELECT delc.drop_dataset_version('customers@1')")
