"""Prediction by row for rows of many forms, and what an ordinary role can do with the functions behind it."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.workplace import failure, message, value


def said(db: Connection, sql: str) -> str:
    """What the error of a statement says."""
    return message(failure(db, sql))


def test_a_model_of_one_number_takes_an_array_a_vector_and_the_number_itself(db: Connection) -> None:
    db.execute(
        "CREATE TABLE single AS SELECT i AS id, (i % 2)::real AS x, i % 2 AS parity FROM generate_series(1, 80) AS i"
    )
    value(db, "SELECT (delc.create_dataset('single', 'single', key => 'id', target => 'parity')).rows")
    value(db, "SELECT (delc.train('single', 'single', network => 'linear', epochs => 20, learning_rate => 0.1)).epochs")
    for given in ("ARRAY[1]::real[]", "'[1]'::vector", "1::real", "1", "true"):
        assert value(db, f"SELECT delc.predict('single', {given})") == "1", given


def test_more_forms_of_rows_than_are_kept_can_take_turns(db: Connection) -> None:
    for turn in range(2):
        for form in range(150):
            flower = f"(SELECT *, {turn} AS other_{form} FROM flowers WHERE id = 3) AS f"
            found = value(db, f"SELECT delc.predict('flowers', f) FROM {flower}")
            assert found == "setosa"


def test_a_text_is_refused_with_what_can_be_given_instead(db: Connection) -> None:
    assert "an input of type text cannot be read as numbers" in said(db, "SELECT delc.predict('flowers', 'a'::text)")


def test_top_has_no_meaning_for_numbers(db: Connection) -> None:
    assert "top is 1, but model" in said(
        db, "SELECT * FROM delc.predict_rows('price', 'SELECT * FROM prices', top => 1)"
    )


@pytest.mark.parametrize(
    "call",
    [
        "delc.begin_predictions(ARRAY[NULL]::text[], true)",
        "delc.emit_predictions('p', 1, ''::bytea, ''::bytea)",
        "delc.define_row_layout('{number}', '{0}', '{1}', '{float32}')",
        "delc.predict_packed(0)",
    ],
)
def test_a_user_cannot_call_what_works_behind_predictions(db: Connection, call: str) -> None:
    db.execute("SET LOCAL ROLE delc_user")
    assert isinstance(failure(db, f"SELECT {call}"), psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize("width", [4611686018427387904, 0, -2, 1 << 29])
def test_a_width_that_no_array_can_have_is_refused(db: Connection, width: int) -> None:
    found = said(
        db, f"SELECT delc.pack_open('SELECT NULL::real[] AS a', '{{number}}', '{{0}}', '{{{width}}}', '{{float32}}', 1)"
    )
    assert f"a width is {width}" in found


def test_the_memory_of_keys_counts_against_the_limit(db: Connection) -> None:
    db.execute("SELECT delc.pack_open('SELECT 1 AS a', '{key}', '{-1}', '{-1}', '{}', 2147483647)")
    name = value(db, "SELECT name FROM pg_cursors WHERE name LIKE '<unnamed%'")
    assert "delc.memory_limit" in said(db, f"SELECT delc.pack_fetch('{name}')")
