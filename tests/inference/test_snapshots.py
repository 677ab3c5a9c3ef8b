"""Predictions show what the statement's snapshot shows: never an older version, never one that was rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, rolled_back, row, value, workplace

INVERTED = "SELECT id, width, height, petal, CASE species WHEN 'setosa' THEN 'virginica' ELSE 'setosa' END AS species"
PREDICT = "SELECT delc.predict('flowers', f) FROM flowers AS f WHERE id = 3"


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The model flowers, and data whose labels are others."""
    statements = [
        FLOWERS,
        f"CREATE TABLE others AS {INVERTED} FROM flowers",
        dataset("flowers", "flowers", "species"),
        dataset("others", "others", "species", key="'id'"),
        train("flowers", "flowers"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


@pytest.fixture
def other(cluster: Cluster, place: Connection) -> Iterator[Connection]:
    """A second session."""
    with cluster.connect(place.info.dbname) as connection:
        yield connection


def test_functions_that_depend_on_models_are_never_folded_into_plans(db: Connection) -> None:
    immutable = value(
        db,
        "SELECT array_agg(proname) FROM pg_proc WHERE pronamespace = 'delc'::regnamespace AND provolatile = 'i'"
        " AND proname ~ 'predict|embed|evaluate|train'",
    )
    assert immutable is None


def test_a_prepared_statement_sees_a_version_made_later(db: Connection) -> None:
    db.execute(f"PREPARE asked AS {PREDICT}")
    before = [value(db, "EXECUTE asked") for _ in range(7)]
    db.execute(train("flowers", "others"))
    after = value(db, "EXECUTE asked")
    db.execute("DEALLOCATE asked")
    assert (set(before), after) == ({"setosa"}, "virginica")


def test_a_constant_input_is_not_computed_when_the_statement_is_planned(db: Connection) -> None:
    db.execute("PREPARE constant AS SELECT delc.predict('flowers', ARRAY[0, 10, 0])")
    before = value(db, "EXECUTE constant")
    db.execute(train("flowers", "others"))
    after = value(db, "EXECUTE constant")
    db.execute("DEALLOCATE constant")
    assert (before, after) == ("setosa", "virginica")


def test_a_plpgsql_function_sees_a_version_made_between_its_statements(db: Connection) -> None:
    db.execute(
        "CREATE FUNCTION pg_temp.watch() RETURNS text[] LANGUAGE plpgsql AS $$ DECLARE seen text[]; BEGIN"
        " FOR i IN 1..2 LOOP"
        "  seen := seen || delc.predict('flowers', ARRAY[0, 10, 0]);"
        f"  IF i = 1 THEN PERFORM ({train('flowers', 'others').removeprefix('SELECT * FROM ')}); END IF;"
        " END LOOP; RETURN seen; END $$"
    )
    assert value(db, "SELECT pg_temp.watch()") == ["setosa", "virginica"]


def test_the_transaction_that_trains_can_predict(db: Connection) -> None:
    db.execute(train("new", "flowers"))
    assert value(db, PREDICT.replace("'flowers'", "'new'")) == "setosa"


def test_a_model_rolled_back_is_gone_in_its_own_session(place: Connection) -> None:
    with rolled_back(place) as db:
        db.execute(train("flowers", "others"))
        assert value(db, PREDICT) == "virginica"
    with rolled_back(place) as db:
        assert value(db, PREDICT) == "setosa"
        assert failure(db, PREDICT.replace("'flowers'", "'flowers@2'")).sqlstate == "42704"


def test_a_model_rolled_back_to_a_savepoint_is_gone(db: Connection) -> None:
    db.execute("SAVEPOINT before")
    db.execute(train("flowers", "others"))
    assert value(db, PREDICT) == "virginica"
    db.execute("ROLLBACK TO SAVEPOINT before")
    assert value(db, PREDICT) == "setosa"


def test_another_session_never_sees_a_model_before_it_is_committed(db: Connection, other: Connection) -> None:
    db.execute(train("flowers", "others"))
    db.execute(train("hidden", "others"))
    assert value(other, PREDICT) == "setosa"
    assert failure(other, PREDICT.replace("'flowers'", "'hidden'")).sqlstate == "42704"


def test_another_session_sees_what_is_committed_at_once_and_what_is_dropped(
    place: Connection, other: Connection
) -> None:
    other.execute(train("brief", "flowers"))
    with rolled_back(place) as db:
        assert value(db, PREDICT.replace("'flowers'", "'brief'")) == "setosa"
    other.execute("SELECT delc.drop_model('brief')")
    with rolled_back(place) as db:
        assert failure(db, PREDICT.replace("'flowers'", "'brief'")).sqlstate == "42704"


def test_a_repeatable_read_transaction_keeps_predicting_with_its_version(place: Connection, other: Connection) -> None:
    other.execute(train("steady", "flowers"))
    steady = PREDICT.replace("'flowers'", "'steady'")
    with rolled_back(place) as db:
        db.rollback()
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert value(db, steady) == "setosa"
        other.execute(train("steady", "others"))
        assert value(db, steady) == "setosa"
    with rolled_back(place) as db:
        assert value(db, steady) == "virginica"


def test_the_alias_default_decides_what_the_bare_name_means(db: Connection) -> None:
    db.execute(train("flowers", "others"))
    db.execute("SELECT delc.set_alias('flowers@1', 'default')")
    assert value(db, PREDICT) == "setosa"
    db.execute("SELECT delc.set_alias('flowers@2', 'default')")
    assert value(db, PREDICT) == "virginica"


def test_the_model_may_change_from_row_to_row(db: Connection) -> None:
    db.execute(train("flowers", "others"))
    both = "SELECT array_agg(delc.predict('flowers@' || n, f) ORDER BY n) FROM flowers AS f, generate_series(1, 2) AS n"
    assert value(db, both + " WHERE f.id = 3") == ["setosa", "virginica"]


def test_a_cursor_goes_on_with_the_version_that_it_began_with(db: Connection) -> None:
    db.execute("DECLARE held CURSOR FOR SELECT delc.predict('flowers', f) FROM flowers AS f WHERE id % 3 = 0")
    first = row(db, "FETCH 1 FROM held")
    db.execute(train("flowers", "others"))
    assert (first, row(db, "FETCH 1 FROM held")) == (("setosa",), ("setosa",))


def test_beside_a_transaction_with_many_subtransactions(cluster: Cluster, place: Connection) -> None:
    """From the 65th on a snapshot does not list them, but still counts those of other transactions."""
    place.execute("CREATE TABLE written (number integer)")
    place.commit()
    with ExitStack() as sessions:
        for subtransactions in (1, 1, 1, 70, 1, 1, 1):
            session = sessions.enter_context(cluster.connect(place.info.dbname, autocommit=False))
            for number in range(subtransactions):
                session.execute(f"SAVEPOINT s{number}".encode())
                session.execute("INSERT INTO written VALUES (%s)", [number])
        place.execute("SELECT txid_current()")
        place.commit()  # it ends after they began, so that snapshots must look at them
        assert value(place, PREDICT) == "setosa"
