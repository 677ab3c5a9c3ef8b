"""Which rows are trained on, validated on and tested on."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest

from delc.datasets.splits import SPLITS, Existing, Shares, check_shares, letter
from delc.server.errors import InvalidParameter
from support.cluster import Connection
from support.datasets import (
    add_customers,
    commit,
    create,
    keys,
    make_customers,
    message,
    splits,
    value,
)

SETTINGS = {
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Tokyo",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
}


def deal(db: Connection, shares: Shares, rows: int, existing: Existing | None = None) -> Counter[str]:
    """How many of so many rows fall into each split."""
    text = f"SELECT {letter('i', shares, existing or Existing())} FROM generate_series(1, {rows}) AS i"
    return Counter(row[0] for row in db.execute(text.encode()))


@pytest.mark.parametrize(
    "shares",
    [Shares(0.1, 0.2), Shares(0, 0.2), Shares(0.2, 0), Shares(0.45, 0.5), Shares(0.001, 0.002), Shares(0, 0)],
)
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 10, 150, 1797])
def test_every_split_has_its_share_to_within_a_row(db: Connection, shares: Shares, rows: int) -> None:
    found = deal(db, shares, rows)
    assert abs(found["e"] - shares.test * rows) < 1.01
    assert abs(found["v"] - shares.validation * rows) < 1.01
    assert sum(found.values()) == rows


def test_the_first_row_of_a_stratum_is_trained_on(db: Connection) -> None:
    assert deal(db, Shares(0.3, 0.6), 1) == Counter("t")


def test_rows_dealt_later_fill_the_shares_up(db: Connection) -> None:
    # 100 rows are there, of which none is held out as yet: the next 30 all are, in the proportion of the shares.
    assert deal(db, Shares(0.1, 0.2), 30, Existing("100", "0", "0")) == Counter(e=20, v=10)


def test_no_row_is_held_out_while_there_are_too_many(db: Connection) -> None:
    assert deal(db, Shares(0.1, 0.2), 10, Existing("10", "10", "5")) == Counter(t=10)


@pytest.mark.parametrize(
    ("validation", "test"), [(-0.1, 0.2), (0.1, float("nan")), (None, 0.2), (0.5, 0.5), (0, 1), (0.1, float("inf"))]
)
def test_shares_that_cannot_be_are_refused(validation: float | None, test: float) -> None:
    with pytest.raises(InvalidParameter):
        check_shares(validation, test)


def test_each_value_of_the_target_is_split_in_the_same_shares(db: Connection) -> None:
    db.execute(
        "CREATE TABLE flowers AS SELECT i AS id, (ARRAY['setosa', 'versicolor', 'virginica'])[1 + i % 3] AS species"
        " FROM generate_series(1, 150) AS i"
    )
    create(db, "flowers", "flowers", key="id", target="species")
    for split, expected in {"train": 35, "validation": 5, "test": 10}.items():
        text = value(db, "SELECT delc.dataset_query('flowers', %s)", split)
        counts = db.execute(f"SELECT species, count(*) FROM ({text}) AS r GROUP BY 1".encode()).fetchall()
        assert sorted(counts) == [("setosa", expected), ("versicolor", expected), ("virginica", expected)]


@pytest.mark.parametrize(
    ("target", "stratified"),
    [
        ("i % 3", True),
        ("(i % 3)::text", True),
        ("i % 3 = 0", True),
        ("(i % 3)::text::mood", True),
        ("md5((i % 3)::text)::uuid", True),
        ("i", False),
        ("i / 3.0", False),
        ("(i % 3)::double precision", False),
        ("ARRAY[i % 3]", False),
    ],
)
def test_classes_are_stratified_and_quantities_are_not(db: Connection, target: str, stratified: bool) -> None:
    db.execute("CREATE TYPE mood AS ENUM ('0', '1', '2')")
    create(db, "x", f"SELECT i AS id, {target} AS y FROM generate_series(1, 200) AS i", key="id", target="y")
    assert value(db, "SELECT stratified FROM delc.datasets WHERE name = 'x'") is stratified


def test_several_targets_are_not_stratified(db: Connection) -> None:
    create(db, "x", "SELECT i AS id, i % 2 AS a, i % 3 AS b FROM generate_series(1, 9) AS i", key="id", target="a, b")
    assert value(db, "SELECT stratified FROM delc.datasets WHERE name = 'x'") is False


def test_stratify_can_be_turned_off(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned", stratify=False)
    assert value(db, "SELECT stratified FROM delc.datasets") is False


def test_a_stratum_of_one_row_is_trained_on(db: Connection) -> None:
    create(db, "x", "SELECT i AS id, 'label ' || i AS y FROM generate_series(1, 20) AS i", key="id", target="y")
    assert set(splits(db, "x").values()) == {"train"}


def test_rows_without_target_are_a_stratum_of_their_own(db: Connection) -> None:
    create(
        db, "x", "SELECT i AS id, CASE WHEN i > 10 THEN 'a' END AS y FROM generate_series(1, 20) AS i", key="id",
        target="y",
    )  # fmt: skip
    text = value(db, "SELECT delc.dataset_query('x', 'test')")
    assert value(db, f"SELECT count(*) FROM ({text}) AS r WHERE y IS NULL") == 2


def test_the_split_does_not_depend_on_how_the_source_is_stored(db: Connection) -> None:
    make_customers(db)
    create(db, "straight", "SELECT * FROM customers ORDER BY id", key="id", target="churned")
    create(db, "reversed", "SELECT * FROM customers ORDER BY id DESC", key="id", target="churned")
    assert keys(db, "straight") == keys(db, "reversed")
    assert splits(db, "straight") == splits(db, "reversed")


@pytest.mark.parametrize(
    "key",
    [
        "timestamptz '2024-01-01 00:00+00' + i * interval '7 hours'",
        "timestamp '2024-01-01 00:00' + i * interval '7 hours'",
        "date '2024-01-01' + i",
        "time '00:00' + i * interval '7 minutes'",
        "i * interval '40 hours'",
        "i / 7.0::double precision",
        "decode(md5(i::text), 'hex')",
    ],
)
def test_the_split_does_not_depend_on_settings_of_the_session(db: Connection, key: str) -> None:
    source = f"SELECT {key} AS k, i FROM generate_series(1, 50) AS i"
    create(db, "first", source, key="k")
    for name, setting in SETTINGS.items():
        db.execute("SELECT set_config(%s, %s, true)", (name, setting))
    create(db, "second", source, key="k")
    query = "SELECT i, delc_split FROM delc_data.d{} ORDER BY delc_row"
    ids = [value(db, "SELECT id FROM delc.datasets WHERE name = %s", name) for name in ("first", "second")]
    first, second = (db.execute(query.format(dataset_id).encode()).fetchall() for dataset_id in ids)
    assert first == second


def test_another_seed_splits_otherwise(db: Connection) -> None:
    make_customers(db)
    create(db, "zero", "customers")
    create(db, "one", "customers", seed=1)
    assert splits(db, "zero") != splits(db, "one")
    assert Counter(splits(db, "zero").values()) == Counter(splits(db, "one").values())


def test_rows_keep_their_split_when_others_are_added(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    before = splits(db, "customers@1")
    add_customers(db, 101, 1000)
    commit(db, "customers")
    after = splits(db, "customers@2")
    assert {key: after[key] for key in before} == before
    assert splits(db, "customers@1") == before
    counts = Counter(after.values())
    assert abs(counts["test"] - 200) <= 2
    assert abs(counts["validation"] - 100) <= 2


def test_a_changed_row_keeps_its_split(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers", target="churned")
    before = splits(db, "customers")
    db.execute("UPDATE customers SET age = age + 1, churned = NOT churned")
    assert commit(db, "customers")["added"] == 100
    assert splits(db, "customers") == before


def test_new_rows_fill_up_what_removed_rows_left(db: Connection) -> None:
    make_customers(db)
    create(db, "customers", "customers")
    tested = keys(db, "customers", "test")
    db.execute("DELETE FROM customers WHERE id = ANY (%s)", [tested])
    add_customers(db, 101, 200)
    result = commit(db, "customers")
    assert (result["rows"], result["test"], result["validation"]) == (180, 36, 18)


def test_the_user_s_own_column_can_say_the_split(db: Connection) -> None:
    create(
        db, "x",
        "SELECT i AS id, (ARRAY['train', 'validation', 'test'])[1 + i % 3] AS part FROM generate_series(1, 9) AS i",
        key="id", split="part",
    )  # fmt: skip
    assert splits(db, "x") == {i: ("train", "validation", "test")[i % 3] for i in range(1, 10)}
    assert set(SPLITS) == set(splits(db, "x").values())


@pytest.mark.parametrize(("said", "shown"), [("'Train'", '"Train"'), ("NULL::text", "NULL"), ("1", '"1"')])
def test_a_split_that_is_none_is_an_error(db: Connection, said: str, shown: str) -> None:
    with pytest.raises(psycopg.errors.DataException) as error:
        create(db, "x", f"SELECT i AS id, {said} AS part FROM generate_series(1, 9) AS i", key="id", split="part")
    assert f'column "part" says {shown}, which is not a split' in message(error.value)


def test_a_row_follows_the_user_s_column_when_it_changes(db: Connection) -> None:
    db.execute("CREATE TABLE parts AS SELECT i AS id, 'train' AS part FROM generate_series(1, 4) AS i")
    create(db, "x", "parts", key="id", split="part")
    db.execute("UPDATE parts SET part = 'test' WHERE id = 3")
    result = commit(db, "x")
    assert (result["train"], result["test"]) == (3, 1)
    assert splits(db, "x")[3] == "test"
