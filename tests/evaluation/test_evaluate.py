"""delc.evaluate() from SQL: what it measures on, what it returns, what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, PRICES, TOPICS, dataset, train
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

EVALUATED = ("rows", "accuracy", "balanced_accuracy", "log_loss", "calibration_error", "precision", "recall", "f1")


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Models of every task; "short" is a classifier that has learnt little."""
    statements = [
        FLOWERS,
        PRICES,
        TOPICS,
        dataset("flowers", "flowers", "species"),
        dataset("both", "prices", "price, tax"),
        dataset("flags", "SELECT id, x, y, sport, science FROM topics", "sport, science", key="'id'"),
        train("flowers", "flowers"),
        train("short", "flowers", network="'linear'", epochs="1", learning_rate="0.001"),
        train("both", "both", epochs="40"),
        train("flags", "flags"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def metrics(db: Connection, arguments: str) -> dict[tuple[str, str | None, str | None], tuple[Any, ...]]:
    """(value, low, high) by (metric, class, predicted)."""
    found = rows(db, f"SELECT metric, class, predicted, value, low, high FROM delc.evaluate({arguments})")
    assert len({line[:3] for line in found}) == len(found)
    return {line[:3]: line[3:] for line in found}


def overall(db: Connection, arguments: str, metric: str) -> float:
    return metrics(db, arguments)[metric, None, None][0]


def split(db: Connection, name: str) -> int:
    """How many rows of the flowers are in a split; "rows": all."""
    version = "SELECT version.{} FROM delc.dataset_versions AS version JOIN delc.datasets AS dataset"
    return value(db, version.format(name) + " ON dataset.id = dataset_id WHERE name = 'flowers' AND number = 1")


# ---- data ----


def test_the_test_rows_of_a_data_set_are_the_default(db: Connection) -> None:
    assert overall(db, "'flowers', 'flowers'", "rows") == split(db, "test")


@pytest.mark.parametrize(("chosen", "column"), [("'train'", "train"), ("'validation'", "validation"), ("NULL", "rows")])
def test_another_split_can_be_chosen(db: Connection, chosen: str, column: str) -> None:
    assert overall(db, f"'flowers', 'flowers', split => {chosen}", "rows") == split(db, column)


def test_a_version_of_a_data_set_can_be_named(db: Connection) -> None:
    assert overall(db, "'flowers@1', 'flowers@1'", "rows") == split(db, "test")


def test_a_query_gives_the_rows(db: Connection) -> None:
    assert overall(db, "'flowers', 'SELECT * FROM flowers WHERE id <= 30'", "rows") == 30


def test_the_numbers_are_those_of_counting(db: Connection) -> None:
    query = "SELECT * FROM flowers"
    counted = row(
        db,
        "SELECT avg((label = species)::integer)::float8, avg(-ln(probability))::float8"
        f" FROM delc.predict_rows('short', '{query}', top => 3) AS p JOIN flowers AS f ON f.id = p.key::integer"
        " WHERE rank = 1",
    )
    true_label = value(
        db,
        f"SELECT avg(-ln(probability))::float8 FROM delc.predict_rows('short', '{query}', top => 3) AS p"
        " JOIN flowers AS f ON f.id = p.key::integer AND p.label = f.species",
    )
    found = metrics(db, f"'short', '{query}'")
    assert found["accuracy", None, None][0] == pytest.approx(counted[0])
    assert found["log_loss", None, None][0] == pytest.approx(true_label, rel=1e-6)


# ---- tasks ----


def test_classes_have_metrics_of_all_and_of_each(db: Connection) -> None:
    found = metrics(db, "'flowers', 'flowers'")
    assert {name for name, label, _ in found if label is None} >= set(EVALUATED)
    for label in ("setosa", "versicolor", "virginica"):
        assert {name for name, of, _ in found if of == label} == {
            "precision", "recall", "f1", "support", "auc", "confusion",
        }  # fmt: skip


def test_the_confusion_matrix_counts_every_row_once(db: Connection) -> None:
    found = metrics(db, "'short', 'flowers', split => NULL")
    cells = {key: numbers[0] for key, numbers in found.items() if key[0] == "confusion"}
    assert sum(cells.values()) == 150
    right = sum(count for (_, actual, predicted), count in cells.items() if actual == predicted)
    assert right / 150 == pytest.approx(found["accuracy", None, None][0])


def test_numbers_have_metrics_of_each_output(db: Connection) -> None:
    found = metrics(db, "'both', 'both'")
    for output in ("price", "tax"):
        assert {name for name, of, _ in found if of == output} >= {"r2", "mae", "rmse"}
    assert found["r2", "price", None][0] > 0.98
    assert 0 < found["mae", "price", None][0] <= found["rmse", "price", None][0] < 60


def test_errors_of_numbers_are_on_their_own_scale(db: Connection) -> None:
    mean = value(db, "SELECT avg(abs((delc.predict('both', p)::float8[])[1] - price))::float8 FROM prices AS p")
    assert overall(db, "'both', 'SELECT * FROM prices'", "rows") == 170
    assert metrics(db, "'both', 'SELECT * FROM prices'")["mae", "price", None][0] == pytest.approx(mean, rel=1e-5)


def test_labels_have_metrics_of_each(db: Connection) -> None:
    found = metrics(db, "'flags', 'flags'")
    for label in ("sport", "science"):
        assert found["f1", label, None][0] == 1.0
    assert found["hamming_loss", None, None][0] == 0.0


def test_costs_of_the_model_come_along(db: Connection) -> None:
    found = metrics(db, "'flowers', 'flowers'")
    counted, stored = row(db, "SELECT parameters, stored_bytes FROM delc.model_summary WHERE name = 'flowers'")
    assert found["parameters", None, None][0] == counted
    assert found["stored_bytes", None, None][0] == stored
    assert found["flops", None, None][0] >= 2 * (3 * 16 + 16 * 3)
    middle, low, high = found["latency_ms", None, None]
    assert 0 < low <= middle <= high


# ---- intervals ----


def test_every_interval_holds_its_value(db: Connection) -> None:
    for (metric, _, _), (middle, low, high) in metrics(db, "'short', 'flowers', split => NULL").items():
        if low is not None:
            assert low <= middle <= high, metric


def test_less_confidence_gives_narrower_intervals(db: Connection) -> None:
    wide, narrow = (
        metrics(db, f"'short', 'flowers', split => NULL, confidence => {confidence}")["accuracy", None, None]
        for confidence in (0.99, 0.5)
    )
    assert narrow[2] - narrow[1] < wide[2] - wide[1]


@pytest.mark.parametrize("confidence", ["0", "1", "-1", "'NaN'", "NULL"])
def test_confidence_lies_between_nought_and_one(db: Connection, confidence: str) -> None:
    error = failure(db, f"SELECT * FROM delc.evaluate('flowers', 'flowers', confidence => {confidence})")
    assert error.sqlstate == "22023"
    assert "confidence" in message(error)


def test_the_same_seed_gives_the_same_intervals(db: Connection) -> None:
    first, again = (metrics(db, "'short', 'flowers', split => NULL, seed => 4") for _ in range(2))
    for name in ("accuracy", "log_loss", "f1", "auc"):
        assert first[name, None, None] == again[name, None, None]


# ---- what is kept ----


def test_metrics_are_kept_and_come_back_without_data(db: Connection) -> None:
    measured = metrics(db, "'short', 'flowers'")
    assert metrics(db, "'short'") == {key: numbers for key, numbers in measured.items() if numbers[0] is not None}


def test_the_last_evaluation_of_the_version_comes_back(db: Connection) -> None:
    db.execute("SELECT * FROM delc.evaluate('short', 'flowers')")
    db.execute("SELECT * FROM delc.evaluate('short', 'flowers', split => 'train')")
    db.execute("SELECT * FROM delc.evaluate('flowers', 'flowers', split => NULL)")
    assert overall(db, "'short'", "rows") == split(db, "train")


def test_nothing_is_kept_when_told_so(db: Connection) -> None:
    before = value(db, "SELECT count(*) FROM delc.runs")
    assert overall(db, "'short', 'flowers', store => false", "rows") == split(db, "test")
    assert value(db, "SELECT count(*) FROM delc.runs") == before


def test_a_model_that_was_never_evaluated_says_how_to(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('short')")
    assert error.sqlstate == "42704"
    assert 'no evaluation of "short@1" is stored' in message(error)
    assert "delc.evaluate('short@1'" in message(error)


def test_an_evaluation_is_logged_with_what_it_read(db: Connection) -> None:
    db.execute("SELECT * FROM delc.evaluate('short', 'flowers')")
    found = rows(db, "SELECT source_kind, source, source_split, result FROM delc.lineage WHERE operation = 'evaluate'")
    assert sorted(found) == [("dataset", "flowers@1", "test", None), ("model", "short@1", None, None)]


def test_the_leaderboard_ranks_models_by_each_metric(db: Connection) -> None:
    for model in ("short", "flowers"):
        db.execute(f"SELECT * FROM delc.evaluate('{model}', 'flowers')")
    best = "SELECT model, rank FROM delc.leaderboard WHERE metric = %s AND split = 'test' ORDER BY rank"
    assert rows(db, best, "accuracy") == [("flowers@1", 1), ("short@1", 2)]
    assert rows(db, best, "log_loss") == [("flowers@1", 1), ("short@1", 2)]


def test_the_leaderboard_compares_numbers_and_not_their_texts(db: Connection) -> None:
    for model, accuracy in (("short", 9e-05), ("flowers", 0.99)):
        run = record(db, f"SELECT * FROM delc.evaluate('{model}', 'flowers') LIMIT 1")
        assert run
        db.execute(
            "UPDATE delc.metrics SET value = %s WHERE metric = 'accuracy' AND class IS NULL"
            " AND run_id = (SELECT max(id) FROM delc.runs)",
            [accuracy],
        )
    best = "SELECT model FROM delc.leaderboard WHERE metric = 'accuracy' AND rank = 1"
    assert rows(db, best) == [("flowers@1",)]


def test_a_rolled_back_evaluation_leaves_nothing(place: Connection) -> None:
    with rolled_back(place) as db:
        db.execute("SELECT * FROM delc.evaluate('short', 'flowers')")
    with rolled_back(place) as db:
        assert value(db, "SELECT count(*) FROM delc.runs WHERE operation = 'evaluate' AND outcome = 'succeeded'") == 0


# ---- odd and wrong input ----


def test_labels_that_training_never_saw_count_as_wrong(db: Connection) -> None:
    query = (
        "SELECT id, width, height, petal, CASE WHEN id <= 50 THEN ''tulip'' ELSE species END AS species FROM flowers"
    )
    found = metrics(db, f"'flowers', '{query}'")
    assert found["accuracy", None, None][0] == pytest.approx(100 / 150)
    unseen = sum(numbers[0] for key, numbers in found.items() if key[0] == "confusion" and key[1] is None)
    assert unseen == 50


def test_categories_that_training_never_saw_are_unknown(db: Connection) -> None:
    db.execute("CREATE TABLE shops AS SELECT i AS id, chr(97 + i % 3) AS town, i % 3 = 0 AS open"
               " FROM generate_series(1, 90) AS i")  # fmt: skip
    db.execute(dataset("shops", "shops", "open", key="'id'"))
    db.execute(train("shops", "shops"))
    assert overall(db, "'shops', 'SELECT id, ''z'' AS town, open FROM shops'", "rows") == 90


def test_rows_without_the_target_are_refused(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('flowers', 'SELECT id, width, height, petal FROM flowers')")
    assert error.sqlstate == "42704"
    assert 'column "species" (target) is missing' in message(error)


def test_a_target_that_is_null_is_refused_with_its_row(db: Connection) -> None:
    query = "SELECT id, width, height, petal, nullif(species, ''setosa'') AS species FROM flowers ORDER BY id"
    error = failure(db, f"SELECT * FROM delc.evaluate('flowers', '{query}')")
    assert error.sqlstate == "22000"
    assert 'target column "species" has 50 NULL values, the first in row 3' in message(error)


def test_no_rows_are_refused(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('flowers', 'SELECT * FROM flowers WHERE false')")
    assert error.sqlstate == "22000"
    assert "there are no rows to evaluate" in message(error)


def test_one_row_is_enough(db: Connection) -> None:
    assert overall(db, "'flowers', 'SELECT * FROM flowers LIMIT 1'", "accuracy") == 1.0


def test_rows_of_one_class_leave_the_other_classes_undefined(db: Connection) -> None:
    found = metrics(db, "'flowers', 'SELECT * FROM flowers WHERE species = ''setosa'''")
    assert found["accuracy", None, None][0] == 1.0
    assert found["recall", "virginica", None][0] is None


def test_an_unknown_data_set_is_named_with_the_nearest(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('flowers', 'flower')")
    assert error.sqlstate == "42704"
    assert 'Did you mean "flowers"?' in message(error)


def test_an_unknown_split_is_named_with_those_there_are(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('flowers', 'flowers', split => 'tests')")
    assert error.sqlstate in ("22023", "42704")
    assert "validation" in message(error)


def test_an_unknown_model_is_named_with_the_nearest(db: Connection) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('flover', 'flowers')")
    assert error.sqlstate == "42704"
    assert 'Did you mean "flowers"?' in message(error)


@pytest.mark.parametrize("query", ["SELECT 1; SELECT 2", "WITH x AS (DELETE FROM flowers RETURNING *) TABLE x"])
def test_only_a_query_that_reads_is_taken(db: Connection, query: str) -> None:
    error = failure(db, "SELECT * FROM delc.evaluate('flowers', %s)", query)
    assert error.sqlstate == "22023"
    assert "Give one SELECT" in message(error)
