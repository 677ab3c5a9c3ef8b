"""delc.predict_rows(): predictions for the rows of a query."""

from __future__ import annotations

import pytest

from support.cluster import Connection
from support.workplace import failure, message, row, rows, value

FLOWERS = "SELECT id, width, height, petal FROM flowers"


def test_rows_get_the_predictions_that_predict_gives(db: Connection) -> None:
    same = row(
        db,
        "SELECT count(*), bool_and(p.label = delc.predict('flowers', f)),"
        " max(abs(p.probability - delc.predict_probability('flowers', f, p.label)))"
        " FROM delc.predict_rows('flowers', 'SELECT * FROM flowers') AS p JOIN flowers AS f ON f.id = p.key::integer",
    )
    assert same == (150, True, pytest.approx(0, abs=1e-5))


def test_the_most_likely_label_comes_with_rank_one(db: Connection) -> None:
    found = rows(db, "SELECT DISTINCT rank, value FROM delc.predict_rows('flowers', 'SELECT * FROM flowers')")
    assert found == [(1, None)]


def test_top_gives_so_many_labels_in_order_of_probability(db: Connection) -> None:
    one = f"SELECT rank, label, probability FROM delc.predict_rows('flowers', '{FLOWERS} WHERE id = 3', top => 2)"
    (first, label, more), (second, _, less) = rows(db, one)
    assert (first, second, label) == (1, 2, "setosa")
    assert more > less


def test_top_above_the_number_of_labels_gives_all_of_them(db: Connection) -> None:
    found = rows(db, f"SELECT probability FROM delc.predict_rows('flowers', '{FLOWERS} WHERE id = 3', top => 9)")
    assert len(found) == 3
    assert sum(probability for (probability,) in found) == pytest.approx(1, abs=1e-6)


def test_the_first_column_that_is_no_feature_is_the_key(db: Connection) -> None:
    assert value(db, f"SELECT key FROM delc.predict_rows('flowers', '{FLOWERS} WHERE id = 42')") == "42"


def test_a_key_column_can_be_named(db: Connection) -> None:
    query = "SELECT *, ''flower '' || id AS title FROM flowers WHERE id = 42"
    assert value(db, f"SELECT key FROM delc.predict_rows('flowers', '{query}', key_column => 'title')") == "flower 42"


def test_rows_without_a_key_are_numbered(db: Connection) -> None:
    query = "SELECT width, height, petal FROM flowers LIMIT 3"
    assert rows(db, f"SELECT key FROM delc.predict_rows('flowers', '{query}')") == [("1",), ("2",), ("3",)]


def test_a_key_that_is_null_stays_null(db: Connection) -> None:
    query = "SELECT NULL::integer AS id, width, height, petal FROM flowers LIMIT 1"
    assert value(db, f"SELECT key FROM delc.predict_rows('flowers', '{query}')") is None


def test_a_number_comes_as_value_under_the_name_of_its_column(db: Connection) -> None:
    found = row(db, "SELECT * FROM delc.predict_rows('price', 'SELECT * FROM prices WHERE id = 4')")
    assert found == ("4", 1, "price", None, pytest.approx(1600, abs=40))


def test_several_numbers_come_as_a_row_each(db: Connection) -> None:
    found = rows(db, "SELECT rank, label, value FROM delc.predict_rows('both', 'SELECT * FROM prices WHERE id = 4')")
    assert found == [(1, "price", pytest.approx(1600, abs=40)), (2, "tax", pytest.approx(12, abs=2))]


def test_only_the_labels_that_a_row_has_come_back(db: Connection) -> None:
    found = rows(
        db, "SELECT key, rank, label FROM delc.predict_rows('flags', 'SELECT * FROM topics WHERE id <= 4 ORDER BY id')"
    )
    assert sorted(found) == sorted([("1", 1, "sport"), ("2", 1, "science"), *[r for r in found if r[0] == "3"]])
    assert {label for key, _, label in found if key == "3"} == {"sport", "science"}


def test_all_labels_come_back_when_top_asks_for_them(db: Connection) -> None:
    query = "SELECT * FROM topics WHERE id = 4"
    found = rows(db, f"SELECT probability FROM delc.predict_rows('flags', '{query}', top => 2)")
    assert len(found) == 2
    assert all(probability < 0.5 for (probability,) in found)


def test_an_array_goes_by_its_type(db: Connection) -> None:
    query = "SELECT id, pixels AS picture FROM images"
    same = "SELECT count(*), bool_and(p.label::integer = i.half) FROM delc.predict_rows('images', '{}') AS p"
    assert row(db, same.format(query) + " JOIN images AS i ON i.id = p.key::integer") == (80, True)


def test_an_empty_query_gives_no_rows(db: Connection) -> None:
    assert rows(db, "SELECT * FROM delc.predict_rows('flowers', 'SELECT * FROM flowers WHERE false')") == []


def test_more_rows_than_one_batch_all_come_back_in_order(db: Connection) -> None:
    query = (
        "SELECT n, f.width, f.height, f.petal FROM generate_series(1, 20000) AS n"
        " JOIN flowers AS f ON f.id = n % 150 + 1 ORDER BY n"
    )
    found = row(
        db,
        "SELECT count(*), count(DISTINCT key), bool_and(key::bigint = place), bool_and(label = species)"
        f" FROM delc.predict_rows('flowers', '{query}')"
        " WITH ORDINALITY AS p(key, rank, label, probability, value, place)"
        " JOIN flowers AS f ON f.id = p.key::integer % 150 + 1",
    )
    assert found == (20000, 20000, True, True)


def test_a_query_may_ask_for_predictions_itself(db: Connection) -> None:
    predicted = "delc.predict_rows(''flowers'', ''SELECT * FROM flowers'')"
    inner = f"SELECT key::integer AS id FROM {predicted} WHERE label = ''setosa''"
    outer = f"SELECT f.* FROM flowers AS f JOIN ({inner}) AS p USING (id)"
    found = rows(db, f"SELECT label, count(*) FROM delc.predict_rows('flowers', '{outer}') GROUP BY 1")
    assert found == [("setosa", 50)]


def test_predictions_of_one_model_can_be_input_to_a_query_with_another(db: Connection) -> None:
    query = "SELECT *, delc.predict(''price'', p) AS guess FROM prices AS p"
    assert value(db, f"SELECT count(*) FROM delc.predict_rows('both', '{query}', key_column => 'id')") == 340


def test_the_query_runs_in_the_callers_search_path(db: Connection) -> None:
    db.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.few AS SELECT * FROM flowers WHERE id = 3")
    db.execute("SET LOCAL search_path = elsewhere, public")
    assert value(db, "SELECT label FROM delc.predict_rows('flowers', 'SELECT * FROM few')") == "setosa"


def test_a_model_can_be_named_by_version(db: Connection) -> None:
    assert value(db, f"SELECT label FROM delc.predict_rows('flowers@1', '{FLOWERS} WHERE id = 3')") == "setosa"


# ---- what is refused ----


def test_an_error_in_the_query_is_the_querys_own(db: Connection) -> None:
    assert failure(db, "SELECT * FROM delc.predict_rows('flowers', 'SELECT * FROM nowhere')").sqlstate == "42P01"
    assert failure(db, "SELECT * FROM delc.predict_rows('flowers', 'SELEC 1')").sqlstate == "42601"


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM flowers", "DELETE FROM flowers RETURNING *", "SELECT 1; SELECT 2", "", "VACUUM", "SHOW port",
        "INSERT INTO flowers VALUES (0) RETURNING *", "WITH gone AS (DELETE FROM flowers RETURNING *) TABLE gone",
    ],
)  # fmt: skip
def test_only_a_query_that_reads_is_taken(db: Connection, query: str) -> None:
    error = failure(db, "SELECT * FROM delc.predict_rows('flowers', %s)", query)
    assert error.sqlstate == "22023"
    assert "Give one SELECT" in message(error)
    assert value(db, "SELECT count(*) FROM flowers") == 150


def test_the_name_of_a_table_is_no_query(db: Connection) -> None:
    text = message(failure(db, "SELECT * FROM delc.predict_rows('flowers', 'flowers')"))
    assert '"flowers" is a name, not a query' in text
    assert "'SELECT * FROM flowers' for a table, delc.dataset_query('flowers') for a data set" in text


def test_a_missing_column_is_named(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.predict_rows('flowers', 'SELECT id, width, height FROM flowers')")
    assert error.sqlstate == "42704"
    assert 'column "petal" (feature) is missing from the query' in message(error)


def test_null_names_column_and_row(db: Connection) -> None:
    query = "SELECT id, width, height, CASE WHEN id <> 7 THEN petal END AS petal FROM flowers ORDER BY id"
    error = failure(db, f"SELECT * FROM delc.predict_rows('flowers', '{query}')")
    assert error.sqlstate == "22000"
    assert 'column "petal" has 1 NULL value, the first in row 7' in message(error)


def test_nan_names_column_and_row(db: Connection) -> None:
    query = "SELECT id, width, height, CASE WHEN id = 9 THEN ''NaN'' ELSE petal END AS petal FROM flowers ORDER BY id"
    error = failure(db, f"SELECT * FROM delc.predict_rows('flowers', '{query}')")
    assert error.sqlstate == "22000"
    assert 'column "petal" has 1 NaN or infinite value, the first in row 9' in message(error)


def test_an_array_of_another_length_names_row_and_both_lengths(db: Connection) -> None:
    query = "SELECT id, CASE WHEN id = 5 THEN pixels[1:15] ELSE pixels END AS pixels FROM images ORDER BY id"
    error = failure(db, f"SELECT * FROM delc.predict_rows('images', '{query}')")
    assert error.sqlstate == "22000"
    for part in ("row 5", "15", "16", '"pixels"'):
        assert part in message(error)


def test_a_row_number_counts_over_all_batches(db: Connection) -> None:
    query = (
        "SELECT n, 1.0::real AS width, 2.0::real AS height, CASE WHEN n <> 12345 THEN 1.0::real END AS petal"
        " FROM generate_series(1, 15000) AS n"
    )
    error = failure(db, f"SELECT * FROM delc.predict_rows('flowers', '{query}')")
    assert "the first in row 12345" in message(error)


def test_an_unknown_key_column_is_named(db: Connection) -> None:
    error = failure(db, f"SELECT * FROM delc.predict_rows('flowers', '{FLOWERS}', key_column => 'idd')")
    assert error.sqlstate == "42704"
    assert 'column "idd" (key) is missing' in message(error)


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_refused(db: Connection, top: int) -> None:
    error = failure(db, f"SELECT * FROM delc.predict_rows('flowers', '{FLOWERS}', top => {top})")
    assert error.sqlstate == "22023"
    assert f"top is {top}" in message(error)


def test_null_as_query_is_refused(db: Connection) -> None:
    assert failure(db, "SELECT * FROM delc.predict_rows('flowers', NULL)").sqlstate == "22023"


def test_the_inner_steps_cannot_be_called_by_themselves(db: Connection) -> None:
    assert failure(db, "SELECT delc.emit_predictions('x', 1, '', '')").sqlstate == "55000"
    assert failure(db, "SELECT delc.begin_predictions('{a}', true)").sqlstate == "55000"
    assert failure(db, "SELECT delc.define_row_layout('{}', '{}', '{}', '{}')").sqlstate == "55000"


def test_the_session_goes_on_after_an_error(db: Connection) -> None:
    failure(db, "SELECT * FROM delc.predict_rows('flowers', 'SELECT 1 / (7 - id) AS x, * FROM flowers')")
    assert value(db, "SELECT count(*) FROM pg_cursors") == 0
    assert value(db, f"SELECT count(*) FROM delc.predict_rows('flowers', '{FLOWERS}')") == 150
