"""Random samples of versions: as a version on a branch, or as a data set of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import Row, call, commit, create, keys, make_customers, message, read, splits, value


@pytest.fixture
def customers(db: Connection) -> Connection:
    make_customers(db, 300)
    create(db, "customers", "customers", target="churned")
    return db


def sample(db: Connection, name: str, version: str = "customers", **options: object) -> Row:
    return call(db, "sample_dataset", version=version, name=name, **options)


def test_a_branch_begins_with_a_part_of_the_rows(customers: Connection) -> None:
    row = sample(customers, "customers@small", fraction=0.1, message="to try out")
    assert (row["dataset"], row["rows"], row["added"], row["removed"]) == ("customers@2", 30, 0, 270)
    assert set(read(customers, "customers@small")) < set(read(customers, "customers"))
    assert len(keys(customers, "customers@small")) == len(set(keys(customers, "customers@small"))) == 30
    log = customers.execute("SELECT kind, message, parents, branches FROM delc.dataset_log WHERE version = 2")
    assert log.fetchone() == ("sample", "to try out", [1], ["small"])
    assert len(read(customers, "customers")) == 300


def test_a_data_set_of_its_own_has_the_same_rows_and_outlives_the_first(customers: Connection) -> None:
    sample(customers, "customers@small", fraction=0.1)
    row = sample(customers, "small", fraction=0.1, message="to keep")
    assert (row["dataset"], row["rows"], row["added"]) == ("small@1", 30, 30)
    expected = read(customers, "customers@small")
    assert sorted(read(customers, "small")) == sorted(expected)
    assert splits(customers, "small") == splits(customers, "customers@small")
    customers.execute("SELECT delc.drop_dataset('customers')")
    assert sorted(read(customers, "small")) == sorted(expected)
    assert value(customers, "SELECT source FROM delc.datasets WHERE name = 'small'") == "sample of customers@1"
    assert value(customers, "SELECT kind FROM delc.dataset_log WHERE name = 'small'") == "sample"


def test_lineage_says_what_was_sampled(customers: Connection) -> None:
    run = sample(customers, "small", rows=10)["run_id"]
    inputs = (
        "SELECT d.name, v.number FROM delc.run_inputs AS i JOIN delc.datasets AS d ON true"
        " JOIN delc.dataset_versions AS v ON v.id = i.dataset_version_id AND v.dataset_id = d.id WHERE i.run_id = %s"
    )
    found = customers.execute(inputs, (run,)).fetchall()
    assert found == [("customers", 1)]


@pytest.mark.parametrize("wanted", [1, 2, 7, 50, 299, 300])
def test_each_split_and_class_gives_its_share_to_within_a_row(customers: Connection, wanted: int) -> None:
    def counted(version: str) -> Counter[tuple[str, bool]]:
        churned = {row[0]: row[3] for row in read(customers, version)}
        return Counter((split, churned[key]) for key, split in splits(customers, version).items())

    row = sample(customers, "customers@small", rows=wanted)
    everything, drawn = counted("customers"), counted("customers@small")
    assert row["rows"] == sum(drawn.values()) == wanted
    for group, rows in everything.items():
        assert abs(drawn[group] - rows * wanted / 300) < 1
    for split in ("train", "validation", "test"):
        share = wanted / 300 * sum(rows for (of, _), rows in everything.items() if of == split)
        assert abs(row[split] - share) < 1


def test_the_seed_decides_which(customers: Connection) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", -(2**63)), ("e", 2**63 - 1)):
        sample(customers, f"customers@{name}", fraction=0.2, seed=seed)
    drawn = {name: keys(customers, f"customers@{name}") for name in "abcde"}
    assert drawn["a"] == drawn["b"]
    assert len({tuple(sorted(drawn[name])) for name in "acde"}) == 4


def test_every_row_is_as_likely_to_be_drawn(customers: Connection) -> None:
    times: Counter[int] = Counter()
    for seed in range(40):
        sample(customers, f"customers@s{seed}", fraction=0.5, seed=seed)
        times.update(keys(customers, f"customers@s{seed}"))
    # 20 of 40 are expected with a deviation of 3.2; one of 300 rows is off by five of those once in 6,000 runs.
    assert sum(times.values()) == 40 * 150
    assert all(4 <= times[key] <= 36 for key in range(1, 301))


def test_samples_of_two_versions_have_most_rows_in_common(customers: Connection) -> None:
    customers.execute("DELETE FROM customers WHERE id <= 10")
    commit(customers, "customers")
    sample(customers, "customers@a", "customers@1", fraction=0.3)
    sample(customers, "customers@b", "customers@2", fraction=0.3)
    assert len({*keys(customers, "customers@a")} & {*keys(customers, "customers@b")}) > 75


def test_a_sample_of_a_later_version_leaves_out_what_that_one_left_out(customers: Connection) -> None:
    customers.execute("DELETE FROM customers WHERE id <= 100; UPDATE customers SET age = 1 WHERE id > 250")
    commit(customers, "customers")
    assert sample(customers, "customers@all", fraction=1)["removed"] == 0
    assert read(customers, "customers@all") == read(customers, "customers@2")
    sample(customers, "customers@half", fraction=0.5)
    assert set(read(customers, "customers@half")) < set(read(customers, "customers@2"))


def test_the_branch_takes_further_versions(customers: Connection) -> None:
    sample(customers, "customers@small", rows=50)
    some = keys(customers, "customers@small")[0]
    query = f"SELECT {some} AS id, 77 AS age"
    assert call(customers, "correct_dataset", name="customers@small", query=query)["rows"] == 50
    assert sample(customers, "customers@smaller", "customers@small", rows=20)["rows"] == 20
    assert {*keys(customers, "customers@smaller")} < {*keys(customers, "customers@small")}


def test_a_data_set_without_key_is_sampled(db: Connection) -> None:
    create(db, "x", "SELECT i AS value FROM generate_series(1, 100) AS i", validation=0, test=0)
    sample(db, "x@part", "x", rows=9)
    sample(db, "y", "x", rows=9)
    assert len({*keys(db, "x@part")}) == 9
    assert {*keys(db, "x@part")} == {*keys(db, "y")}


def test_a_data_set_with_its_own_split_is_sampled_within_it(db: Connection) -> None:
    query = "SELECT i AS id, CASE WHEN i <= 80 THEN 'train' ELSE 'test' END AS part FROM generate_series(1, 100) AS i"
    create(db, "x", query, key="id", split="part")
    row = sample(db, "y", "x", fraction=0.5)
    assert (row["train"], row["validation"], row["test"]) == (40, 0, 10)
    assert all((split == "train") == (key <= 80) for key, split in splits(db, "y").items())


def test_a_sampled_data_set_is_changed_by_hand_and_has_no_source(customers: Connection) -> None:
    sample(customers, "small", rows=10)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as error, customers.transaction():
        commit(customers, "small")
    assert 'data set "small" is a sample of customers@1, which never changes' in message(error.value)
    query = "SELECT 999 AS id, 'r' AS region, 1 AS age, true AS churned"
    assert call(customers, "append_dataset", name="small", query=query)["rows"] == 11


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("small", {}, "neither fraction nor rows"),
        ("small", {"fraction": 0.1, "rows": 3}, "one of them says how much"),
        ("small", {"fraction": 0}, "more than 0 and at most 1"),
        ("small", {"fraction": 1.5}, "more than 0 and at most 1"),
        ("small", {"fraction": float("nan")}, "more than 0 and at most 1"),
        ("small", {"fraction": 0.001}, "comes to 0 rows"),
        ("small", {"rows": 301}, "rows => 301 cannot be drawn"),
        ("small", {"rows": 0}, "rows => 0 cannot be drawn"),
        ("small", {"rows": 3, "seed": None}, "seed is NULL"),
        ("small", {"rows": 3, "stratify": None}, "stratify is NULL"),
        ("customers", {"rows": 3}, "exists already"),
        ("customers@7", {"rows": 3}, "names a version by its number"),
        ("customers@main", {"rows": 3}, 'has a branch "main" already'),
        ("others@small", {"rows": 3}, "branch of another data set"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(
    customers: Connection, name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(psycopg.Error) as error:
        sample(customers, name, **options)
    assert said in message(error.value)


def test_readers_sample_into_data_sets_of_their_own_alone(
    new_role: Callable[..., str], fresh_db: Connection, connect_as: Callable[..., Connection]
) -> None:
    alice, bob = new_role("delc_trainer"), new_role("delc_trainer")
    hers, his = connect_as(alice), connect_as(bob)
    create(hers, "x", "SELECT i AS id FROM generate_series(1, 100) AS i", key="id")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match='may not read data set "x"'):
        sample(his, "y", "x", rows=10)
    hers.execute("SELECT delc.grant_dataset('x', %s)", (bob,))
    assert sample(his, "y", "x", rows=10)["rows"] == 10
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="on a branch of"):
        sample(his, "x@part", "x", rows=10)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        keys(hers, "y")
