"""copy_model(), merge_models() and commit_parameters(): versions that are made without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, PRICES, dataset, train
from support.models import numbers, parameters
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

NETWORK = """'[{"name": "fc1", "kind": "linear", "out_features": 8}, {"name": "norm1", "kind": "batch_norm1d"},
              {"name": "relu1", "kind": "relu"}, {"name": "drop1", "kind": "dropout", "p": 0.1},
              {"name": "fc2", "kind": "linear"}]'"""
QUICK = {"network": NETWORK, "epochs": "2"}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The model m with two fine-tuned versions of its first, and models of another network and other labels."""
    statements = [
        FLOWERS,
        PRICES,
        dataset("flowers", "flowers", "species"),
        dataset("price", "SELECT id, size, rooms, price FROM prices", "price", key="'id'"),
        dataset("two", "SELECT id, width, height, petal, species FROM flowers WHERE id % 3 > 0", "species", key="'id'"),
        train("m", "flowers", **QUICK),
        "SELECT * FROM delc.train('m', 'flowers', from_model => 'm@1', epochs => 1, seed => 1)",
        "SELECT * FROM delc.train('m', 'flowers', from_model => 'm@1', epochs => 2, seed => 2)",
        train("linear", "flowers", network="'linear'", epochs="1"),
        train("two", "two", **QUICK),
        train("price", "price", epochs="1"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


# ---- copies ----


def test_a_copy_has_the_same_parameters_and_predictions(db: Connection) -> None:
    assert value(db, "SELECT delc.copy_model('m@1', 'branch', message => 'try wider')") == "branch@1"
    assert parameters(db, "branch@1") == parameters(db, "m@1")
    probability = "SELECT array_agg(delc.predict_probability(%s, f, 'setosa') ORDER BY id) FROM flowers AS f"
    assert value(db, probability, "branch") == value(db, probability, "m@1")
    assert row(db, "SELECT relation, message FROM delc.model_version_parents WHERE relation = 'copied'") == (
        "copied", "try wider",
    )  # fmt: skip


def test_a_copy_under_the_same_name_goes_back_to_an_old_version(db: Connection) -> None:
    assert value(db, "SELECT delc.copy_model('m@1', 'm')") == "m@4"
    assert parameters(db, "m@4") == parameters(db, "m@1")


def test_arguments_of_layers_can_be_changed(db: Connection) -> None:
    value(db, """SELECT delc.copy_model('m', 'changed', '{"drop1": {"p": 0.5}, "relu1": {"kind": "gelu"}}')""")
    assert parameters(db, "changed@1") == parameters(db, "m@3")
    found = rows(db, "SELECT layer.kind, layer.arguments -> 'p' FROM delc.layers AS layer JOIN delc.model_versions AS v"
                     " ON v.id = layer.version_id JOIN delc.models AS m ON m.id = v.model_id"
                     " WHERE m.name = 'changed' AND layer.name IN ('drop1', 'relu1') ORDER BY position")  # fmt: skip
    assert found == [("gelu", None), ("dropout", 0.5)]


def test_layers_of_another_size_get_fresh_weights_and_the_others_keep_theirs(db: Connection) -> None:
    told: list[str | None] = []
    handler = lambda diagnostic: told.append(diagnostic.message_primary)  # noqa: E731
    db.add_notice_handler(handler)
    value(db, """SELECT delc.copy_model('m', 'wide', '{"fc1": {"out_features": 32}}')""")
    db.remove_notice_handler(handler)
    assert told == ["fresh weights, to be trained: fc1, norm1, fc2"]
    found = numbers(db, "wide@1")
    assert (found["fc1.weight"].shape, found["fc2.weight"].shape) == ((32, 3), (3, 32))
    assert (found["fc2.bias"] == numbers(db, "m@3")["fc2.bias"]).all()
    result = record(db, "SELECT * FROM delc.train('wide', 'flowers', from_model => 'wide', epochs => 2)")
    assert result["model"] == "wide@2"


def test_layers_can_be_taken_out_and_put_in(db: Connection) -> None:
    changes = """'{"norm1": null, "extra": {"kind": "tanh", "after": "relu1"}}'"""
    value(db, f"SELECT delc.copy_model('m', 'cut', {changes})")
    assert value(db, "SELECT array_agg(item) FROM delc.describe_model('cut') WHERE section = 'network'") == [
        "fc1", "relu1", "extra", "drop1", "fc2",
    ]  # fmt: skip
    assert set(parameters(db, "cut@1")) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ('{"fc9": {"p": 1}}', 'Did you mean "fc'),
        ('{"drop1": {"q": 1}}', '"q"'),
        ('{"drop1": 3}', "null, which takes the layer out"),
        ('{"fc2": {"out_features": 5}}', "3 outputs"),
        ('{"fc9": null}', "unknown layer"),
        ("[1]", "changes by layer"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(db: Connection, changes: str, says: str) -> None:
    error = failure(db, "SELECT delc.copy_model('m', 'bad', %s)", changes)
    assert error.sqlstate == "22023"
    assert says in message(error)


def test_a_copy_outlives_its_source_only_when_the_source_may_go(db: Connection) -> None:
    value(db, "SELECT delc.copy_model('linear', 'copy')")
    assert failure(db, "SELECT delc.drop_model('linear')").sqlstate == "2BP01"
    db.execute("SELECT delc.drop_model('copy'), delc.drop_model('linear')")


@pytest.mark.parametrize("name", ["", "x" * 64, "a@1", "a#1", " a"])
def test_what_cannot_name_a_model_is_refused(db: Connection, name: str) -> None:
    assert failure(db, "SELECT delc.copy_model('m', %s)", name).sqlstate == "22023"


@pytest.mark.parametrize("name", ['O\'Brien "x"', "Modell Ä 模型", "ü" * 31, "a\\b; DROP TABLE x"])
def test_names_with_quotes_and_signs_of_any_language_work(db: Connection, name: str) -> None:
    made = value(db, "SELECT delc.copy_model('m@1', %s)", name)
    assert made == f"{name}@1"
    assert value(db, "SELECT count(*) FROM delc.lineage_of('model', %s)", made) > 0
    assert value(db, "SELECT delc.drop_model(%s)", name) == 1


# ---- merges ----


def floats(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in found.items() if array.dtype.kind == "f"}


def test_an_average_is_the_weighted_mean_of_every_number(db: Connection) -> None:
    assert value(db, "SELECT delc.merge_models('soup', ARRAY['m@2', 'm@3'], weights => ARRAY[1, 3])") == "soup@1"
    first, second, found = (floats(numbers(db, name)) for name in ("m@2", "m@3", "soup@1"))
    for name in found:
        expected = (0.25 * first[name] + 0.75 * second[name]).astype(np.float32)
        assert (found[name] == expected).all(), name


def test_task_arithmetic_adds_what_each_version_learnt(db: Connection) -> None:
    call = "SELECT delc.merge_models('sum', ARRAY['m@2', 'm@3'], ARRAY[0.5, 2], 'task_arithmetic', base => 'm@1')"
    value(db, call)
    base, first, second, found = (floats(numbers(db, name)) for name in ("m@1", "m@2", "m@3", "sum@1"))
    for name in ("fc1.weight", "fc2.bias", "norm1.weight"):
        expected = base[name] + 0.5 * (first[name] - base[name]) + 2 * (second[name] - base[name])
        assert found[name] == pytest.approx(expected.astype(np.float32), rel=1e-6)
    assert found["norm1.running_var"] == pytest.approx((first["norm1.running_var"] + second["norm1.running_var"]) / 2)


def test_of_counters_the_greatest_is_taken(db: Connection) -> None:
    value(db, "SELECT delc.merge_models('soup', ARRAY['m@2', 'm@3'])")
    counts = [int(numbers(db, name)["norm1.num_batches_tracked"]) for name in ("m@2", "m@3", "soup@1")]
    assert counts[0] < counts[1] == counts[2]


def test_a_merge_predicts_and_records_its_parents(db: Connection) -> None:
    value(db, "SELECT delc.merge_models('soup', ARRAY['m@2', 'm@3'], method => 'task_arithmetic', base => 'm@1')")
    assert value(db, "SELECT count(*) FROM flowers AS f WHERE delc.predict('soup', f) IS NULL") == 0
    found = rows(db, "SELECT name, relation FROM delc.lineage_of('model', 'soup', 'up') WHERE depth = 1"
                     " AND kind = 'model' ORDER BY 1")  # fmt: skip
    assert found == [("m@1", "merged (base)"), ("m@2", "merged"), ("m@3", "merged")]


def test_merging_a_version_with_its_equal_gives_it_back_bit_for_bit(db: Connection) -> None:
    value(db, "SELECT delc.copy_model('m@2', 'twin')")
    value(db, "SELECT delc.merge_models('soup', ARRAY['m@2', 'twin'])")
    assert parameters(db, "soup@1") == parameters(db, "m@2")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("ARRAY['m', 'linear']", "layers"),
        ("ARRAY['m', 'two']", "of the first is other than"),
        ("ARRAY['m@1', 'm@1']", "given twice"),
        ("ARRAY['m@1', 'm@2'], weights => ARRAY[1]", "1 weights are given for 2"),
        ("ARRAY['m@1', 'm@2'], weights => ARRAY[1, -1]", "none is negative"),
        ("ARRAY['m@1', 'm@2'], weights => ARRAY[1, NULL]", "finite"),
        ("ARRAY['m@1', 'm@2'], weights => ARRAY[1, 'NaN'::float]", "finite"),
        ("ARRAY['m@1', 'm@2'], method => 'averge'", 'Did you mean "average"?'),
        ("ARRAY['m@1', 'm@2'], method => 'task_arithmetic'", "base => "),
        ("ARRAY['m@1', 'm@2'], base => 'm@1'", "has no base"),
        ("ARRAY[]::text[]", "0 versions"),
        ("NULL", "0 versions"),
        ("ARRAY['m', NULL]", "NULL"),
    ],
)
def test_what_cannot_be_merged_is_refused(db: Connection, call: str, says: str) -> None:
    error = failure(db, f"SELECT delc.merge_models('bad', {call})")
    assert error.sqlstate == "22023"
    assert says in message(error)


# ---- weights from elsewhere ----

STORED = """SELECT parameter.name, {value} AS value FROM delc.parameters AS parameter
    JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id AND snapshot.is_latest
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id AND version.number = 1
    JOIN delc.models AS model ON model.id = version.model_id AND model.name = 'linear'"""


def test_weights_from_a_query_become_a_version(db: Connection) -> None:
    query = STORED.format(value="parameter.value OPERATOR(delc.*) 2")
    made = value(db, "SELECT delc.commit_parameters('linear', 'linear@1', %s, 'doubled')", query)
    assert made == "linear@2"
    before, after = numbers(db, "linear@1"), numbers(db, "linear@2")
    assert all((after[name] == 2 * before[name]).all() for name in before)
    assert row(db, "SELECT relation, message FROM delc.model_version_parents WHERE relation = 'derived'") == (
        "derived", "doubled",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "state", "says"),
    [
        ("SELECT 'a'::text AS name", "42704", '"value"'),
        ("SELECT 'a' AS name, 1 AS value", "42804", "integer"),
        ("SELECT 'fc.weigt'::text AS name, delc.tensor('{1,2}'::real[]) AS value", "22023", "missing"),
        (STORED.format(value="delc.tensor('{1,2}'::real[])"), "22023", "shape"),
        (STORED.format(value="NULL::delc.tensor"), "22000", "value is NULL"),
        (STORED.format(value="parameter.value OPERATOR(delc.*) 'NaN'::double precision"), "22000", "not finite"),
        (STORED.format(value="parameter.value") + " UNION ALL " + STORED.format(value="parameter.value"), "22000",
         "twice"),
        ("DELETE FROM delc.models", None, ""),
        ("SELECT 1; SELECT 2", None, ""),
        (None, "22023", "NULL"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(db: Connection, query: str | None, state: str | None, says: str) -> None:
    error = failure(db, "SELECT delc.commit_parameters('linear', 'linear', %s)", query)
    assert state is None or error.sqlstate == state
    assert says in message(error)


def test_the_query_runs_with_the_callers_rights(
    cluster: Cluster, place: Connection, new_role: Callable[..., str]
) -> None:
    role = new_role("delc_trainer")
    with cluster.connect(place.info.dbname) as administration:
        administration.execute("CREATE TABLE secret AS SELECT 'a'::text AS name, NULL::delc.tensor AS value")
    with cluster.connect(place.info.dbname, user=role) as connection:
        error = failure(connection, "SELECT delc.commit_parameters('mine', 'linear', 'TABLE secret')")
    assert error.sqlstate == "42501"


def test_others_may_not_add_versions_to_a_model(
    cluster: Cluster, place: Connection, new_role: Callable[..., str]
) -> None:
    role = new_role("delc_trainer")
    with cluster.connect(place.info.dbname, user=role, autocommit=False) as connection:
        for call in ("copy_model('m', 'm')", "merge_models('m', ARRAY['m@1', 'm@2'])", "prune_model('m')",
                     "commit_parameters('m', 'm', 'SELECT 1')", "drop_alias('m', 'x')",
                     "attach_file('m', 'a', '')"):  # fmt: skip
            assert failure(connection, f"SELECT delc.{call}").sqlstate in ("42501", "42704"), call
        assert value(connection, "SELECT delc.copy_model('m', 'mine')") == "mine@1"
        connection.rollback()
