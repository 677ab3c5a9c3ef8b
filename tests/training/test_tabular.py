"""Mixed tables: columns of every type become features, what was fitted is applied again, and columns go by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import dataset, train
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

CUSTOMERS = """
    CREATE TYPE plan AS ENUM ('free', 'paid', 'team');
    CREATE TABLE customers AS
    SELECT i AS id, (20 + i % 50)::smallint AS age, (i % 7 * 10.5)::numeric(8, 2) AS spent, i % 3 = 0 AS active,
           (ARRAY['north', 'south', 'west'])[i % 3 + 1] AS region, (ARRAY['free', 'paid', 'team'])[i % 4 / 2 + 1]::plan
               AS plan, date '2024-01-01' + i % 400 AS joined, timestamp '2024-01-01' + i * interval '7 hours' AS seen,
           time '00:00' + i * interval '13 minutes' AS usual, i % 4 / 2 = 1 AS churned
    FROM generate_series(1, 240) AS i;
    ALTER TABLE customers ADD PRIMARY KEY (id)
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The model "churn", in which the plan alone decides, and "coded", which learns an embedding of plan and region."""
    embedding = '{"kind": "categorical", "encoding": "embedding", "dimensions": 4}'
    statements = [
        CUSTOMERS,
        dataset("customers", "customers", "churned"),
        train("churn", "customers", epochs="8"),
        train("coded", "customers", epochs="8", features=f"""'{{"plan": {embedding}, "region": {embedding}}}'"""),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def query(**columns: str) -> str:
    """One customer with some columns replaced; an empty expression leaves the column out."""
    names = ("id", "age", "spent", "active", "region", "plan", "joined", "seen", "usual")
    chosen = {name: name for name in names} | columns
    listed = ", ".join(f"{expression} AS {name}" for name, expression in chosen.items() if expression)
    return f"(SELECT {listed} FROM customers WHERE id = 7)"


def predict(db: Connection, model: str = "churn", **columns: str) -> str:
    return value(db, f"SELECT delc.predict('{model}', c) FROM {query(**columns)} AS c")


# ---- types ----


def test_every_type_becomes_a_feature_of_its_kind(db: Connection) -> None:
    kinds = rows(
        db,
        "SELECT item ->> 'name', item ->> 'kind' FROM delc.model_summary AS model JOIN delc.model_versions AS version"
        " USING (run_id), jsonb_array_elements(version.features -> 'columns') AS item WHERE model.name = 'churn'",
    )
    assert dict(kinds) == {
        "age": "numeric", "spent": "numeric", "active": "boolean", "region": "categorical", "plan": "categorical",
        "joined": "datetime", "seen": "datetime", "usual": "datetime",
    }  # fmt: skip


@pytest.mark.parametrize("model", ["churn", "coded"])
def test_a_mixed_table_is_learnt(db: Connection, model: str) -> None:
    wrong = f"SELECT count(*) FROM customers AS c WHERE delc.predict('{model}', c)::boolean <> churned"
    assert value(db, wrong) == 0


def test_categories_as_one_hot_and_as_embedding_are_different_networks(db: Connection) -> None:
    kinds = "SELECT array_agg(kind ORDER BY position) FROM delc.layers WHERE version_id = %s"
    assert "embedding" not in value(db, kinds, 1)
    assert value(db, kinds, 2).count("embedding") == 2


def test_the_vocabulary_is_stored_with_the_version(db: Connection) -> None:
    stored = value(
        db,
        "SELECT item::text FROM delc.model_versions, jsonb_array_elements(features -> 'columns') AS item"
        " WHERE id = 1 AND item ->> 'name' = 'plan'",
    )
    assert "free" in stored
    assert "paid" in stored


def test_a_column_can_be_left_out(db: Connection) -> None:
    record(db, train("short", "customers", epochs="1", features="""'{"seen": "ignore", "usual": "ignore"}'"""))
    assert predict(db, "short", seen="", usual="") in ("true", "false")


def test_a_whole_table_can_go_without_standardisation(db: Connection) -> None:
    record(db, train("raw", "customers", epochs="1", features="""'{"*": {"standardize": "none"}}'"""))
    found = rows(
        db,
        "SELECT DISTINCT item #>> '{settings,standardize}' FROM delc.model_summary AS model"
        " JOIN delc.model_versions AS version USING (run_id), jsonb_array_elements(features -> 'columns') AS item"
        " WHERE model.name = 'raw' AND item ->> 'kind' <> 'categorical'",
    )
    assert found == [("none",)]


# ---- missing values ----


def test_nulls_in_training_rows_name_column_count_and_what_to_do(db: Connection) -> None:
    db.execute("UPDATE customers SET age = NULL WHERE id <= 100")
    db.execute(dataset("holes", "customers", "churned", validation="0", test="0"))
    error = failure(db, train("holed", "holes"))
    assert error.sqlstate == "22000"
    assert 'column "age" has 100 NULL values' in message(error)
    assert '{"age": {"missing": "mean"}}' in message(error)


@pytest.mark.parametrize(
    ("column", "policy"),
    [
        ("age", "mean"), ("age", "zero"), ("age", "most_frequent"), ("active", "most_frequent"),
        ("region", "category"), ("region", "most_frequent"), ("joined", "mean"), ("plan", "category"),
    ],
)  # fmt: skip
def test_a_policy_for_nulls_holds_in_training_and_in_prediction(db: Connection, column: str, policy: str) -> None:
    db.execute(f"UPDATE customers SET {column} = NULL WHERE id % 5 = 0")
    db.execute(dataset("holes", "customers", "churned"))
    features = f"""'{{"{column}": {{"missing": "{policy}"}}}}'"""
    record(db, train("holed", "holes", epochs="1", features=features))
    assert predict(db, "holed", **{column: f"(SELECT {column} FROM customers WHERE id = 5)"}) in ("true", "false")


def test_the_mean_stands_in_for_null(db: Connection) -> None:
    db.execute("UPDATE customers SET age = NULL WHERE id % 5 = 0")
    db.execute(dataset("holes", "customers", "churned"))
    record(db, train("holed", "holes", epochs="1", features="""'{"age": {"missing": "mean"}}'"""))
    mean = value(
        db, "SELECT avg(age)::float8 FROM delc.dataset_rows(NULL::customers, 'holes', 'train')"
    )  # fmt: skip
    probability = "SELECT delc.predict_probability('holed', c, 'true') FROM {} AS c"
    missing = value(db, probability.format(query(age="NULL::smallint")))
    filled = value(db, probability.format(query(age=f"{mean}::float8")))
    assert missing == pytest.approx(filled, abs=1e-6)


def test_null_in_a_row_to_predict_names_the_column(db: Connection) -> None:
    error = failure(db, f"SELECT delc.predict('churn', c) FROM {query(age='NULL::smallint')} AS c")
    assert error.sqlstate == "22000"
    assert 'column "age" has 1 NULL value' in message(error)


def test_null_in_a_category_to_predict_names_the_column(db: Connection) -> None:
    error = failure(db, f"SELECT delc.predict('churn', c) FROM {query(region='NULL::text')} AS c")
    assert error.sqlstate == "22000"
    assert 'column "region" has 1 NULL value' in message(error)


def test_nan_in_a_row_to_predict_names_the_column(db: Connection) -> None:
    nan = query(age="'NaN'::float8")
    error = failure(db, f"SELECT delc.predict('churn', c) FROM {nan} AS c")
    assert error.sqlstate == "22000"
    assert 'column "age" has 1 NaN or infinite value' in message(error)


# ---- categories that training did not see ----


@pytest.mark.parametrize("model", ["churn", "coded"])
def test_an_unseen_category_is_unknown_unless_told_otherwise(db: Connection, model: str) -> None:
    assert predict(db, model, region="'east'::text") in ("true", "false")


def test_an_unseen_category_can_be_an_error(db: Connection) -> None:
    record(db, train("strict", "customers", epochs="1", features="""'{"region": {"unseen": "error"}}'"""))
    error = failure(db, f"SELECT delc.predict('strict', c) FROM {query(region=chr(39) + 'east' + chr(39))} AS c")
    assert error.sqlstate == "22000"
    assert "east" in message(error)
    assert '"region"' in message(error)


def test_a_value_added_to_an_enum_is_an_unseen_category(cluster: Cluster, place: Connection) -> None:
    with cluster.connect(place.info.dbname) as other:  # a new value cannot be used in the transaction that adds it
        other.execute("ALTER TYPE plan ADD VALUE IF NOT EXISTS 'trial'")
    with rolled_back(place) as db:
        assert predict(db, plan="'trial'::plan") in ("true", "false")


# ---- columns by name ----


def test_the_order_of_columns_does_not_matter(db: Connection) -> None:
    listed = "plan, usual, seen, joined, region, active, spent, age"
    again = f"SELECT delc.predict_probability('churn', c, 'true') FROM (SELECT {listed} FROM customers WHERE id = 7) c"
    expected = value(db, "SELECT delc.predict_probability('churn', c, 'true') FROM customers AS c WHERE id = 7")
    assert value(db, again) == expected


def test_further_columns_are_ignored(db: Connection) -> None:
    further = query(note="'x'::text", more="ARRAY[1, 2]")
    expected = value(db, "SELECT delc.predict_probability('churn', c, 'true') FROM customers AS c WHERE id = 7")
    assert value(db, f"SELECT delc.predict_probability('churn', c, 'true') FROM {further} AS c") == expected


def test_a_column_dropped_since_does_not_shift_the_others(db: Connection) -> None:
    expected = value(db, "SELECT delc.predict_probability('churn', c, 'true') FROM customers AS c WHERE id = 7")
    db.execute("ALTER TABLE customers ADD COLUMN later integer DEFAULT 1")
    db.execute("ALTER TABLE customers DROP COLUMN churned")
    found = value(db, "SELECT delc.predict_probability('churn', c, 'true') FROM customers AS c WHERE id = 7")
    assert found == expected


def test_a_missing_column_is_named_with_the_nearest(db: Connection) -> None:
    db.execute("ALTER TABLE customers RENAME COLUMN region TO regions")
    error = failure(db, "SELECT delc.predict('churn', c) FROM customers AS c LIMIT 1")
    assert error.sqlstate == "42704"
    assert 'column "region" (feature) is missing' in message(error)
    assert 'Did you mean "regions"?' in message(error)


def test_dropped_columns_are_not_listed_with_those_there_are(db: Connection) -> None:
    db.execute("ALTER TABLE customers DROP COLUMN region")
    assert ", ," not in message(failure(db, "SELECT delc.predict('churn', c) FROM customers AS c LIMIT 1"))


def test_a_column_of_another_type_is_named_with_both_types(db: Connection) -> None:
    error = failure(db, f"SELECT delc.predict('churn', c) FROM {query(age='age::text')} AS c")
    assert error.sqlstate == "42804"
    assert 'column "age" is of type text, but was smallint when the model was made' in message(error)
    assert "Cast it in the query to smallint" in message(error)


def test_a_number_of_another_type_is_still_a_number(db: Connection) -> None:
    expected = value(db, "SELECT delc.predict_probability('churn', c, 'true') FROM customers AS c WHERE id = 7")
    cast = query(age="age::bigint", spent="spent::float8")
    assert value(db, f"SELECT delc.predict_probability('churn', c, 'true') FROM {cast} AS c") == expected


def test_the_key_is_no_feature(db: Connection) -> None:
    assert predict(db, id="-1") == predict(db)


# ---- bad tables ----


def test_a_table_without_rows_is_refused(db: Connection) -> None:
    db.execute(dataset("none", "SELECT * FROM customers WHERE false", "churned", key="'id'"))
    error = failure(db, train("any", "none"))
    assert error.sqlstate == "22000"
    assert "no rows" in message(error)


def test_one_row_is_enough_for_a_number(db: Connection) -> None:
    one = "SELECT id, age, region, 41.5 AS price FROM customers WHERE id = 1"
    db.execute(dataset("single", one, "price", key="'id'", validation="0", test="0"))
    record(db, train("any", "single", epochs="60"))
    assert float(predict(db, "any")) == pytest.approx(41.5, abs=0.5)


def test_a_target_with_one_class_is_refused(db: Connection) -> None:
    db.execute(dataset("same", "SELECT * FROM customers WHERE churned", "churned", key="'id'"))
    error = failure(db, train("any", "same"))
    assert error.sqlstate == "22000"
    assert 'target column "churned" has only one class among the 84 training rows: "true"' in message(error)


def test_constant_columns_train_to_finite_numbers(db: Connection) -> None:
    db.execute("UPDATE customers SET age = 30, region = 'north', joined = date '2024-01-01'")
    db.execute(dataset("flat", "customers", "churned"))
    assert record(db, train("any", "flat"))["validation_metric"] == 1.0


def test_nulls_in_the_target_name_column_and_count(db: Connection) -> None:
    db.execute("UPDATE customers SET churned = NULL WHERE id <= 100")
    db.execute(dataset("unknown", "customers", "churned", validation="0", test="0"))
    error = failure(db, train("any", "unknown"))
    assert error.sqlstate == "22000"
    assert 'target column "churned" has 100 NULL values' in message(error)


def test_sixteen_hundred_columns_train_and_predict(db: Connection) -> None:
    columns = ", ".join(f"(CASE WHEN {n} = 7 THEN i % 2 ELSE sin(i * {n}) END)::real AS c{n}" for n in range(1, 1599))
    db.execute(f"CREATE TABLE wide AS SELECT i AS id, {columns}, i % 2 = 1 AS odd FROM generate_series(1, 60) AS i")
    db.execute(dataset("wide", "wide", "odd", key="'id'"))
    assert record(db, train("wide", "wide", epochs="2"))["parameters"] == 1598 * 16 + 16 + 16 * 2 + 2
    assert value(db, "SELECT count(delc.predict('wide', w)) FROM wide AS w") == 60


def test_arrays_of_a_hundred_thousand_elements_train_and_predict(db: Connection) -> None:
    db.execute(
        "CREATE TABLE long AS SELECT i AS id, array_fill((i % 2)::real, ARRAY[100000]) AS signal, i % 2 = 1 AS odd"
        " FROM generate_series(1, 30) AS i"
    )
    db.execute(dataset("long", "long", "odd", key="'id'"))
    record(db, train("long", "long", network="'linear'", epochs="2"))
    assert row(db, "SELECT count(*), bool_and(delc.predict('long', signal)::boolean = odd) FROM long") == (30, True)
