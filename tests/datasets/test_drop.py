"""Dropping data sets."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import call, commit, create, make_customers, message, read, value


def store_tables(db: Connection) -> int:
    count: int = value(
        db, "SELECT count(*) FROM pg_class WHERE relnamespace = 'delc_data'::regnamespace AND relkind = 'r'"
    )
    return count


def test_nothing_but_the_log_is_left(fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers")
    fresh_db.execute("DELETE FROM customers WHERE id = 1")
    commit(fresh_db, "customers")
    assert value(fresh_db, "SELECT delc.drop_dataset('customers')") == 2
    assert store_tables(fresh_db) == 0
    for table in ("datasets", "dataset_versions", "dataset_version_parents", "run_inputs", "run_outputs"):
        assert value(fresh_db, f"SELECT count(*) FROM delc.{table}") == 0
    runs = fresh_db.execute("SELECT operation FROM delc.runs ORDER BY id").fetchall()
    assert runs == [("create_dataset",), ("commit_dataset",), ("drop_dataset",)]


def test_the_name_is_free_again(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id")
    db.execute("SELECT delc.drop_dataset('x')")
    create(db, "x", "SELECT 2 AS id")
    assert read(db, "x") == [(2,)]


def test_models_stand_in_the_way(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    call(db, "train", model="leavers", dataset="customers", network="linear", epochs=1)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="models were trained on it") as error:
        db.execute("SELECT delc.drop_dataset('customers')")
    assert "Models: leavers." in message(error.value)


def test_a_data_set_goes_after_its_models(fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers", target="churned")
    call(fresh_db, "train", model="leavers", dataset="customers", network="linear", epochs=1)
    fresh_db.execute("SELECT delc.drop_model('leavers')")
    assert value(fresh_db, "SELECT delc.drop_dataset('customers')") == 1


def test_views_of_a_version_stand_in_the_way(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id")
    db.execute(f"CREATE VIEW v AS {value(db, 'SELECT delc.dataset_query(%s)', 'x')}".encode())
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="views read its versions") as error:
        db.execute("SELECT delc.drop_dataset('x')")
    assert "such as DROP VIEW" in message(error.value)


def test_a_type_of_stored_columns_is_not_dropped(fresh_db: Connection) -> None:
    fresh_db.execute("CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'glad')")
    create(fresh_db, "x", "SELECT 1 AS id, 'sad'::app.mood AS m", key="id")
    for statement in ("DROP SCHEMA app CASCADE", "DROP TYPE app.mood CASCADE"):
        with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="would drop") as error:
            fresh_db.execute(statement.encode())
        assert "delc_data.d1.m" in message(error.value)
    fresh_db.execute("CREATE TABLE t (m app.mood); DROP TABLE t")
    fresh_db.execute("SELECT delc.drop_dataset('x')")
    fresh_db.execute("DROP SCHEMA app CASCADE")


def test_the_extension_goes_with_its_types(fresh_db: Connection) -> None:
    create(fresh_db, "x", "SELECT 1 AS id, '[1,2]'::delc.tensor AS t", key="id")
    fresh_db.execute("DROP EXTENSION delc CASCADE")


def test_models_that_stand_in_the_way_are_named_once(fresh_db: Connection) -> None:
    make_customers(fresh_db)
    create(fresh_db, "customers", "customers", target="churned")
    fresh_db.execute("SELECT delc.train('m', 'customers', network => 'linear', epochs => 1)")
    fresh_db.execute("SELECT delc.train('m', 'customers', from_model => 'm@1', epochs => 1)")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as error:
        fresh_db.execute("SELECT delc.drop_dataset('customers')")
    assert "Models: m." in message(error.value)


@pytest.mark.parametrize(("name", "error"), [("y", 'unknown data set "y"'), ("x@1", "names a version")])
def test_what_is_no_data_set_is_told(db: Connection, name: str, error: str) -> None:
    create(db, "x", "SELECT 1 AS id")
    with pytest.raises(psycopg.Error) as raised:
        db.execute("SELECT delc.drop_dataset(%s)", (name,))
    assert error in message(raised.value)
