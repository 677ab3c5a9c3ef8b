"""delc.predict() and its kin for one row: what they return, which inputs they take, and what they refuse."""

from __future__ import annotations

import pytest

from support.cluster import Connection
from support.examples import dataset, train
from support.workplace import failure, message, row, rows, value

IMAGE = "(SELECT pixels FROM images WHERE id = 2)"


# ---- what comes back ----


def test_a_label_comes_back_as_it_was(db: Connection) -> None:
    assert value(db, "SELECT delc.predict('flowers', f) FROM flowers AS f WHERE id = 3") == "setosa"


def test_a_label_that_was_a_number_can_be_cast_back(db: Connection) -> None:
    assert row(db, "SELECT count(*), bool_and(delc.predict('images', pixels)::integer = half) FROM images") == (
        80,
        True,
    )


def test_probabilities_of_all_labels_sum_to_one(db: Connection) -> None:
    labels = "SELECT sum(delc.predict_probability('flowers', f, label)) FROM flowers AS f,"
    total = value(db, labels + " unnest(ARRAY['setosa', 'versicolor', 'virginica']) AS label WHERE id = 3")
    assert total == pytest.approx(1.0, abs=1e-6)


def test_a_number_comes_back_as_text_and_as_number(db: Connection) -> None:
    text, number = row(db, "SELECT delc.predict('price', p), delc.predict_value('price', p) FROM prices p WHERE id = 4")
    assert float(text) == number == pytest.approx(1600, abs=40)


def test_several_numbers_come_back_as_an_array(db: Connection) -> None:
    price, tax = value(db, "SELECT delc.predict('both', p)::float8[] FROM prices AS p WHERE id = 4")
    assert (price, tax) == (pytest.approx(1600, abs=40), pytest.approx(12, abs=2))


def test_several_labels_come_back_as_an_array(db: Connection) -> None:
    assert value(db, "SELECT delc.predict('flags', t)::text[] FROM topics AS t WHERE id = 3") == ["sport", "science"]


def test_the_probability_of_one_of_several_labels(db: Connection) -> None:
    found = row(
        db,
        "SELECT delc.predict_probability('flags', t, 'sport'), delc.predict_probability('flags', t, 'science')"
        " FROM topics AS t WHERE id = 1",
    )
    assert found[0] > 0.9 > 0.1 > found[1]


# ---- inputs ----


SQUARE = "ARRAY[{0}[1:4], {0}[5:8], {0}[9:12], {0}[13:16]]"


@pytest.mark.parametrize(
    "given",
    ["{0}", "{0}::double precision[]", "{0}::numeric[]", "{0}::vector", "{0}::delc.tensor", f"{SQUARE}::delc.tensor"],
)
def test_an_array_comes_as_array_vector_or_tensor(db: Connection, given: str) -> None:
    expected = value(db, f"SELECT delc.predict_probability('images', {IMAGE}, '0')")
    found = value(db, f"SELECT delc.predict_probability('images', {given.format(IMAGE)}, '0')")
    assert found == pytest.approx(expected, abs=1e-6)


def test_an_array_comes_as_a_row_with_that_column(db: Connection) -> None:
    expected = value(db, f"SELECT delc.predict_probability('images', {IMAGE}, '0')")
    assert value(db, "SELECT delc.predict_probability('images', i, '0') FROM images AS i WHERE id = 2") == expected


def test_a_lone_array_may_go_by_another_name(db: Connection) -> None:
    expected = value(db, f"SELECT delc.predict_probability('images', {IMAGE}, '0')")
    other = (
        "SELECT delc.predict_probability('images', i, '0') FROM (SELECT 9 AS n, pixels AS p FROM images WHERE id = 2) i"
    )
    assert value(db, other) == expected


def test_bytes_of_an_image_are_taken(db: Connection) -> None:
    db.execute(
        "CREATE TABLE photos AS SELECT i AS id, decode(repeat(CASE WHEN i % 2 = 0 THEN 'f0' ELSE '10' END, 16), 'hex')"
        " AS photo, i % 2 = 0 AS bright FROM generate_series(1, 60) AS i"
    )
    db.execute(dataset("photos", "photos", "bright", key="'id'"))
    db.execute(train("photos", "photos", features="""'{"photo": {"shape": [1, 4, 4]}}'""", epochs="4"))
    found = row(
        db,
        "SELECT delc.predict('photos', decode(repeat('ff', 16), 'hex')), delc.predict('photos', '\\x00'::bytea || "
        "decode(repeat('00', 15), 'hex')), bool_and(delc.predict('photos', p)::boolean = bright) FROM photos AS p",
    )
    assert found == ("true", "false", True)


def test_numbers_of_a_table_come_as_an_array_in_their_order(db: Connection) -> None:
    same = "SELECT bool_and(delc.predict('flowers', f) = delc.predict('flowers', ARRAY[width, height, petal]))"
    assert value(db, same + " FROM flowers AS f") is True


def test_a_row_constructor_without_names_is_told_how_to_name_its_columns(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('flowers', ROW(1.0::real, 14.0::real, 0.0::real))")
    assert error.sqlstate == "42704"
    assert 'column "width" (feature) is missing' in message(error)


def test_rows_of_a_subquery_are_taken(db: Connection) -> None:
    nested = "SELECT delc.predict('flowers', s) FROM (SELECT height, width, petal FROM flowers WHERE id = 3) AS s"
    assert value(db, nested) == "setosa"


def test_a_composite_value_from_a_column_is_taken(db: Connection) -> None:
    db.execute("CREATE TABLE kept AS SELECT f AS flower FROM flowers AS f WHERE id = 3")
    assert value(db, "SELECT delc.predict('flowers', flower) FROM kept") == "setosa"


def test_a_domain_over_an_array_is_taken(db: Connection) -> None:
    db.execute("CREATE DOMAIN picture AS real[]")
    found, expected = row(db, f"SELECT delc.predict('images', {IMAGE}::picture), delc.predict('images', {IMAGE})")
    assert found == expected


def test_predictions_can_be_filtered_grouped_and_sorted_by(db: Connection) -> None:
    grouped = "SELECT delc.predict('flowers', f) AS kind, count(*) FROM flowers AS f GROUP BY 1 ORDER BY 1"
    assert rows(db, grouped) == [("setosa", 50), ("versicolor", 50), ("virginica", 50)]
    assert value(db, "SELECT count(*) FROM flowers AS f WHERE delc.predict('flowers', f) = 'setosa'") == 50


def test_two_models_can_be_asked_in_one_query(db: Connection) -> None:
    both = "SELECT DISTINCT delc.predict(model, p)::text LIKE '{%' FROM prices AS p, unnest(ARRAY['price', 'both'])"
    assert sorted(rows(db, both + " AS model")) == [(False,), (True,)]


def test_a_large_value_kept_out_of_line_is_read(db: Connection) -> None:
    db.execute("CREATE TABLE stored AS SELECT id, pixels || pixels AS twice FROM images")
    db.execute("ALTER TABLE stored ALTER twice SET STORAGE EXTERNAL")
    half = "SELECT bool_and(delc.predict('images', twice[1:16])::integer = half) FROM stored JOIN images USING (id)"
    assert value(db, half) is True


# ---- what is refused ----


def test_an_array_of_wrong_length_says_both_lengths(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('images', ARRAY[1, 2, 3]::real[])")
    assert error.sqlstate == "22000"
    assert "3" in message(error)
    assert "16" in message(error)


def test_an_array_of_wrong_length_for_columns_says_both_lengths(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('flowers', ARRAY[1, 2])")
    assert error.sqlstate == "22000"
    assert "2" in message(error)
    assert "3" in message(error)


def test_null_as_input_is_refused(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('images', NULL::real[])")
    assert error.sqlstate == "22004"
    assert "the input is NULL" in message(error)


def test_null_as_model_is_refused(db: Connection) -> None:
    error = failure(db, f"SELECT delc.predict(NULL, {IMAGE})")
    assert error.sqlstate == "22004"
    assert "the model is NULL" in message(error)


@pytest.mark.parametrize(("element", "what"), [("NULL", "NULL"), ("'NaN'", "NaN or infinite"), ("'-Infinity'", "NaN")])
def test_an_element_that_is_no_number_is_refused(db: Connection, element: str, what: str) -> None:
    error = failure(db, f"SELECT delc.predict('images', array_fill(1::real, ARRAY[15]) || {element}::real)")
    assert error.sqlstate == "22000"
    assert what in message(error)


def test_null_in_a_column_names_it(db: Connection) -> None:
    nulls = "SELECT delc.predict('flowers', s) FROM (SELECT width, NULL::real AS height, petal FROM flowers) AS s"
    error = failure(db, nulls)
    assert error.sqlstate == "22000"
    assert 'column "height" has 1 NULL value' in message(error)


def test_a_literal_without_a_type_is_refused_with_an_example(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('images', '{1,2,3}')")
    assert error.sqlstate == "42P18"
    assert "Cast it" in message(error)


@pytest.mark.parametrize("given", ["'{a,b}'::text[]", "'hello'::text", "now()", "7"])
def test_an_input_of_a_type_that_holds_no_numbers_is_refused(db: Connection, given: str) -> None:
    error = failure(db, f"SELECT delc.predict('images', {given})")
    assert error.sqlstate in ("42704", "42804", "22000")
    assert error.diag.message_primary


def test_an_unknown_model_is_named_with_the_nearest(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('flower', f) FROM flowers AS f")
    assert error.sqlstate == "42704"
    assert 'unknown model "flower"' in message(error)
    assert 'Did you mean "flowers"?' in message(error)


def test_an_unknown_version_is_named_with_those_there_are(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict('flowers@7', f) FROM flowers AS f")
    assert error.sqlstate == "42704"
    assert 'model "flowers" has no version "7"' in message(error)
    assert "It has: 1" in message(error)
    assert '"flowers" alone is the latest' in message(error)


def test_an_unknown_label_is_named_with_the_nearest(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict_probability('flowers', f, 'setoza') FROM flowers AS f")
    assert error.sqlstate == "42704"
    assert 'Did you mean "setosa"?' in message(error)


def test_the_value_of_a_classification_is_refused(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict_value('flowers', f) FROM flowers AS f")
    assert error.sqlstate == "22023"
    assert "does not predict one number" in message(error)


def test_the_probability_of_a_number_is_refused(db: Connection) -> None:
    error = failure(db, "SELECT delc.predict_probability('price', p, '1000') FROM prices AS p")
    assert error.sqlstate == "22023"


def test_the_session_goes_on_after_an_error(db: Connection) -> None:
    failure(db, "SELECT delc.predict('images', ARRAY[1, 2, 3]::real[])")
    assert value(db, f"SELECT delc.predict('images', {IMAGE})") == "0"


def test_the_row_that_an_error_speaks_of_is_the_failing_one_after_good_ones(db: Connection) -> None:
    db.execute("UPDATE flowers SET petal = 'NaN' WHERE id = 77")
    failure(db, "SELECT delc.predict('flowers', f) FROM flowers AS f ORDER BY id")
    good = "SELECT count(delc.predict('flowers', f)) FROM flowers AS f WHERE id <> 77"
    assert value(db, good) == 149
