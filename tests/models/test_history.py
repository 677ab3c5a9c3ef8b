"""Describing versions, comparing two, searching, retention, aliases, files and lineage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, PRICES, TOPICS, dataset, train
from support.models import numbers
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

SMALL = """'{"architecture": "mlp", "hidden": [4]}'"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Five versions of the model m, of which the second is best and the fourth was made from the first."""
    statements = [
        FLOWERS,
        PRICES,
        TOPICS,
        dataset("flowers", "flowers", "species"),
        dataset("price", "SELECT id, size, rooms, price FROM prices", "price", key="'id'"),
        dataset("flags", "SELECT id, x, y, sport, science FROM topics", "sport, science", key="'id'"),
        train("m", "flowers", network=SMALL, epochs="1", learning_rate="1e-6", seed="1"),
        train("m", "flowers", epochs="12", network=SMALL),
        train("m", "flowers", network=SMALL, epochs="2", learning_rate="1e-6", seed="2"),
        "SELECT * FROM delc.train('m', 'flowers', from_model => 'm@1', epochs => 1, learning_rate => 1e-6)",
        train("m", "flowers", epochs="2", learning_rate="1e-6", seed="3"),
        train("price", "price", epochs="1"),
        train("price", "price", epochs="9"),
        train("flags", "flags", epochs="1"),
        train("flags", "flags", epochs="9"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


# ---- one version, two versions ----


def test_a_version_is_described_in_full(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('m@4', 'champion'), delc.attach_file('m@4', 'card.md', 'hello')")
    found = {(section, item): text for section, item, text in rows(db, "SELECT * FROM delc.describe_model('m@4')")}
    assert found["version", "model"] == "m@4"
    assert found["version", "dataset"] == "flowers@1"
    assert found["version", "aliases"] == "champion"
    assert found["options", "epochs"] == "1"
    assert found["lineage", "m@1"] == "warm start"
    assert found["files", "card.md"] == "5 bytes"
    assert "in use" in found["snapshots", "#1"]
    assert float(found["metrics", "accuracy"]) >= 0
    sections = [section for section, _ in found]
    assert list(dict.fromkeys(sections)) == [
        "version", "options", "features", "target", "network", "snapshots", "curves", "metrics", "lineage", "files",
    ]  # fmt: skip


def test_parameters_are_described_by_numbers(db: Connection) -> None:
    found = numbers(db, "m@2")
    for name, shape, mean, std, least, most, norm, zeros in rows(
        db, "SELECT parameter, shape, mean, std, min, max, norm, zeros FROM delc.describe_parameters('m@2')"
    ):
        array = found[name].astype(np.float64)
        assert shape == list(array.shape)
        expected = [array.mean(), array.std(), array.min(), array.max(), np.linalg.norm(array), (array == 0).mean()]
        assert [mean, std, least, most, norm, zeros] == pytest.approx(expected)


def test_a_version_does_not_differ_from_itself(db: Connection) -> None:
    assert rows(db, "SELECT * FROM delc.diff_models('m@2', 'm@2')") == []


def test_layers_options_metrics_and_parameters_are_compared(db: Connection) -> None:
    found = {(aspect, item): rest for aspect, item, *rest in rows(db, "SELECT * FROM delc.diff_models('m@2', 'm@5')")}
    aspects = {aspect for aspect, _ in found}
    assert aspects == {"network", "options", "metrics", "parameters"}
    assert found["options", "epochs"] == ["changed", "12", "2", None]
    network = [item for aspect, item in found if aspect == "network"]
    assert all("of" in str(found["network", item]) for item in network)
    change, before, after, difference = found["metrics", "accuracy"]
    assert change == "changed"
    assert float(after) - float(before) == pytest.approx(difference)


def test_added_and_removed_layers_are_told_apart(db: Connection) -> None:
    layer = rows(db, "SELECT name FROM delc.layers WHERE kind = 'relu' LIMIT 1")[0][0]
    changes = f'{{"extra": {{"kind": "dropout", "p": 0.5, "after": "{layer}"}}}}'
    db.execute("SELECT delc.copy_model('m@2', 'deep', %s)", [changes])
    told = "SELECT change, a, b FROM delc.diff_models(%s, %s) WHERE aspect = 'network' AND item = 'extra'"
    assert row(db, told, "m@2", "deep")[:2] == ("added", None)
    assert row(db, told, "deep", "m@2")[::2] == ("removed", None)


def test_parameters_are_compared_by_layer(db: Connection) -> None:
    first, second = numbers(db, "m@1"), numbers(db, "m@3")
    for name, distance, cosine, unchanged in rows(
        db, "SELECT parameter, distance, cosine, unchanged FROM delc.diff_parameters('m@1', 'm@3')"
    ):
        a, b = (found[name].astype(np.float64).reshape(-1) for found in (first, second))
        assert distance == pytest.approx(np.linalg.norm(a - b))
        assert cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        assert unchanged == 0
    assert rows(db, "SELECT DISTINCT unchanged, distance FROM delc.diff_parameters('m@1', 'm@1')") == [(1, 0)]


def test_rows_on_which_two_versions_disagree_are_found(db: Connection) -> None:
    expected = rows(
        db, "SELECT id::text, delc.predict('m@1', f), delc.predict('m@2', f) FROM flowers AS f"
        " WHERE delc.predict('m@1', f) <> delc.predict('m@2', f) ORDER BY f.id",
    )  # fmt: skip
    assert expected
    select = "SELECT key, label_a, label_b FROM delc.diff_predictions('m@1', 'm@2', %s) ORDER BY key::int"
    assert rows(db, select, "flowers") == expected
    assert rows(db, select, "SELECT * FROM flowers") == expected


def test_disagreement_of_numbers_has_a_tolerance(db: Connection) -> None:
    count = "SELECT count(*) FROM delc.diff_predictions('price@1', 'price@2', 'price', tolerance => {})"
    assert value(db, count.format("0")) == 170
    assert value(db, count.format("1e9")) == 0
    assert "different tasks" in message(failure(db, "SELECT delc.diff_predictions('m', 'price', 'price')"))


def test_an_error_from_inside_of_a_query_is_told_once(db: Connection) -> None:
    text = message(failure(db, "SELECT delc.diff_predictions('m@1', 'm@2', 'SELECT 1 AS id, ''a'' AS species')"))
    assert text.startswith('delc: column "')


def test_disagreement_of_several_labels_compares_their_sets(db: Connection) -> None:
    expected = value(
        db, "SELECT count(*) FROM topics AS t WHERE delc.predict('flags@1', t) <> delc.predict('flags', t)"
    )
    found = rows(db, "SELECT label_a, label_b FROM delc.diff_predictions('flags@1', 'flags@2', 'flags')")
    assert len(found) == expected > 0


# ---- search ----


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("name => 'pri%'", ["price@1", "price@2"]),
        ("metric => 'accuracy', at_least => 0.9", ["m@2"]),
        ("task => 'multilabel'", ["flags@1", "flags@2"]),
        ("dataset => 'price@1'", ["price@1", "price@2"]),
        ("dataset => 'pric'", []),
        ("alias => 'champion'", ["m@3"]),
        ("derived_from => 'm@1'", ["m@4"]),
        ("layer_kind => 'conv%'", []),
        ("name => 'm', layer_kind => 'rel_'", ["m@1", "m@2", "m@3", "m@4", "m@5"]),
        ("created_after => now() + interval '1 day'", []),
    ],
)
def test_models_are_found_by_what_they_are(db: Connection, filters: str, expected: list[str]) -> None:
    db.execute("SELECT delc.set_alias('m@3', 'champion')")
    assert [name for (name,) in rows(db, f"SELECT model FROM delc.list_models({filters})")] == expected


def test_a_search_by_a_loss_puts_the_lowest_first(db: Connection) -> None:
    found = [loss for (loss,) in rows(db, "SELECT value FROM delc.list_models('m', metric => 'loss')")]
    assert len(found) == 5
    assert found == sorted(found)


# ---- retention ----


def pruned(db: Connection, options: str = "") -> dict[str, str]:
    found = rows(db, f"SELECT version, action || ': ' || reason FROM delc.prune_model('m'{options})")
    return dict(found)


def test_the_last_the_best_the_tagged_and_their_ancestors_stay(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('m@3', 'champion')")
    assert pruned(db, ", keep_last => 2, keep_best => 1") == {
        "m@5": "keep: the last",
        "m@4": "keep: one of the last 2",
        "m@3": "keep: alias champion",
        "m@2": "keep: number 1 by accuracy",
        "m@1": "keep: m@4 was made from it",
    }
    assert value(db, "SELECT count(*) FROM delc.list_models('m')") == 5


def test_what_no_rule_keeps_goes_and_gives_its_space_back(db: Connection) -> None:
    before = value(db, "SELECT count(*) FROM delc.parameters")
    found = pruned(db, ", keep_last => 1, keep_best => 1, dry_run => false")
    assert [name for name, said in found.items() if said == "drop: no rule keeps it"] == ["m@4", "m@3", "m@1"]
    assert [name for (name,) in rows(db, "SELECT model FROM delc.list_models('m')")] == ["m@2", "m@5"]
    assert value(db, "SELECT count(*) FROM delc.parameters") == before - 3 * 4
    assert value(db, "SELECT outcome FROM delc.runs WHERE operation = 'prune_model'") == "succeeded"


def test_a_loss_is_best_when_it_is_lowest(db: Connection) -> None:
    best = value(db, "SELECT model FROM delc.list_models('m', metric => 'loss') LIMIT 1")
    assert "number 1 by loss" in pruned(db, ", metric => 'loss', keep_best => 1")[best]


def test_metrics_are_compared_as_numbers(db: Connection) -> None:
    """9e-05 is less than 0.99, though not as text."""
    db.execute("""UPDATE delc.metrics SET value = 9e-05 WHERE metric = 'accuracy' AND run_id =
                  (SELECT run_id FROM delc.model_summary WHERE model = 'm@3')""")
    assert pruned(db, ", keep_last => 1, keep_best => 1")["m@3"].startswith("drop")


def test_the_default_stays_even_untagged(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('m@3', 'default'), delc.set_alias('m@1', 'x')")
    found = pruned(db, ", keep_last => 1, keep_best => 0, keep_tagged => false")
    assert found["m@3"] == "keep: alias default"
    assert found["m@1"].startswith("drop")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (", metric => 'acuracy'", 'Did you mean "accuracy"?'),
        (", keep_last => 0", "keep_last is 0"),
        (", keep_best => -1", "keep_best is -1"),
        (", dry_run => NULL", "must not be NULL"),
    ],
)
def test_a_wrong_rule_is_refused(db: Connection, options: str, says: str) -> None:
    assert says in message(failure(db, f"SELECT delc.prune_model('m'{options})"))


# ---- aliases ----

LOG = "SELECT alias, from_version, to_version FROM delc.model_alias_log ORDER BY id"


def test_the_log_keeps_what_an_alias_meant(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('m@1', 'champion')")
    db.execute("SELECT delc.set_alias('m@2', 'champion')")
    assert value(db, "SELECT delc.drop_alias('m', 'champion')") == "m@2"
    assert rows(db, LOG) == [("champion", None, 1), ("champion", 1, 2), ("champion", 2, None)]
    assert value(db, "SELECT DISTINCT username FROM delc.model_alias_log") == "postgres"
    assert failure(db, "SELECT delc.predict('m@champion', f) FROM flowers AS f").sqlstate == "42704"


def test_the_log_outlives_the_model(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('price@2', 'best-so-far')")
    db.execute("SELECT delc.drop_model('price')")
    assert rows(db, LOG) == [("best-so-far", None, 2), ("best-so-far", 2, None)]


def test_an_unknown_alias_cannot_be_dropped(db: Connection) -> None:
    db.execute("SELECT delc.set_alias('m@1', 'champion')")
    error = failure(db, "SELECT delc.drop_alias('m', 'champoin')")
    assert error.sqlstate == "42704"
    assert 'Did you mean "champion"?' in message(error)


# ---- files ----


def test_a_file_comes_back_as_it_was(db: Connection) -> None:
    content = bytes(range(256)) * 40
    digest = value(db, "SELECT delc.attach_file('m@1', 'docs/é \"1\".bin', %s, 'application/x')", content)
    assert value(db, "SELECT delc.read_file('m@1', 'docs/é \"1\".bin')") == content
    assert digest == value(db, "SELECT encode(sha256(%s), 'hex')", content)


def test_the_same_content_is_stored_once(db: Connection) -> None:
    for place in ("'m@1', 'a'", "'m@1', 'b'", "'price@1', 'c'"):
        db.execute(f"SELECT delc.attach_file({place}, 'same')")
    assert value(db, "SELECT count(*) FROM delc.file_chunks") == 1
    db.execute("SELECT delc.drop_model('m@5'), delc.detach_file('m@1', 'a'), delc.detach_file('m@1', 'b')")
    assert value(db, "SELECT count(*) FROM delc.files") == 1
    db.execute("SELECT delc.drop_model('price')")
    assert row(db, "SELECT (SELECT count(*) FROM delc.files), (SELECT count(*) FROM delc.file_chunks)") == (0, 0)


def test_a_file_above_a_chunk_is_cut_and_joined(db: Connection) -> None:
    db.execute("SELECT delc.attach_file('m', 'big', convert_to(repeat('0123456789', 7000000), 'UTF8'))")
    assert value(db, "SELECT count(*) FROM delc.file_chunks") == 2
    assert value(db, "SELECT delc.read_file('m', 'big') = convert_to(repeat('0123456789', 7000000), 'UTF8')")


def test_an_empty_file_can_be_attached(db: Connection) -> None:
    db.execute("SELECT delc.attach_file('m', 'empty', '')")
    assert value(db, "SELECT delc.read_file('m', 'empty')") == b""


def test_another_content_under_the_same_path_is_refused(db: Connection) -> None:
    db.execute("SELECT delc.attach_file('m', 'a', 'one'), delc.attach_file('m', 'a', 'one')")
    assert failure(db, "SELECT delc.attach_file('m', 'a', 'two')").sqlstate == "42710"
    error = failure(db, "SELECT delc.read_file('m', 'A')")
    assert (error.sqlstate, 'Did you mean "a"?' in message(error)) == ("42704", True)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../b", "a//b", "./a", "x" * 1025, None])
def test_paths_that_lead_elsewhere_are_refused(db: Connection, path: str | None) -> None:
    assert failure(db, "SELECT delc.attach_file('m', %s, 'x')", path).sqlstate == "22023"


# ---- lineage ----


def test_lineage_walks_from_a_model_to_its_data_and_back(db: Connection) -> None:
    db.execute("SELECT delc.copy_model('m@4', 'branch')")
    up = rows(db, "SELECT kind, name, depth FROM delc.lineage_of('model', 'branch@1', 'up')")
    assert ("model", "m@4", 1) in up
    assert ("model", "m@1", 2) in up
    assert ("dataset", "flowers@1") in [found[:2] for found in up]
    down = rows(db, "SELECT kind, name FROM delc.lineage_of('dataset', 'flowers', 'down')")
    assert {("model", "branch@1"), ("model", "m@1"), ("model", "m@5")} <= set(down)
    assert len(down) == len(set(down))
    run = value(db, "SELECT run_id FROM delc.model_summary WHERE model = 'm@4'")
    found = rows(db, "SELECT direction, name FROM delc.lineage_of('run', %s) WHERE depth = 1", str(run))
    assert set(found) == {("up", "flowers@1"), ("up", "m@1"), ("down", "m@4")}


def test_walking_ends_in_a_circle_too(db: Connection) -> None:
    """Relations cannot hold one, unless somebody takes the constraint away."""
    db.execute("ALTER TABLE delc.model_version_parents DROP CONSTRAINT model_version_parents_no_cycle")
    db.execute("INSERT INTO delc.model_version_parents (base, derived, relation)"
               " SELECT derived, base, 'back' FROM delc.model_version_parents")  # fmt: skip
    assert "m@1" in [name for (name,) in rows(db, "SELECT name FROM delc.lineage_of('model', 'm@4', 'up')")]


def test_a_parent_that_is_made_of_its_child_is_refused(db: Connection) -> None:
    error = failure(db, "INSERT INTO delc.model_version_parents (base, derived, relation)"
                        " SELECT derived, base, 'back' FROM delc.model_version_parents")  # fmt: skip
    assert error.sqlstate == "23514"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("'modell', 'm'", 'Did you mean "model"?'),
        ("'model', 'n@1'", "unknown model"),
        ("'dataset', 'flower'", 'Did you mean "flowers"?'),
        ("'run', '999999'", "no run"),
        ("'run', 'x'", "no run"),
        ("'model', 'm', 'upp'", 'Did you mean "up"?'),
        ("'model', NULL", "NULL"),
    ],
)
def test_unknown_starts_are_refused(db: Connection, call: str, says: str) -> None:
    assert says in message(failure(db, f"SELECT delc.lineage_of({call})"))


def test_nodes_edges_and_parents_answer_structural_questions(db: Connection) -> None:
    """Which versions have a linear layer that reads a relu?"""
    found = rows(
        db, "SELECT DISTINCT edge.id FROM delc.edge JOIN delc.node AS source ON source.id = edge.id"
        " AND source.node = edge.from_node JOIN delc.node AS target ON target.id = edge.id"
        " AND target.node = edge.to_node"
        " WHERE source.attributes ->> 'kind' = 'relu' AND target.attributes ->> 'kind' = 'linear'",
    )  # fmt: skip
    assert len(found) == 9
    assert row(db, "SELECT count(*), min(message) FROM delc.parent") == (1, "warm start")


# ---- rights, transactions, dumps ----


def test_users_read_the_catalog_but_no_numbers_and_no_contents(
    cluster: Cluster, place: Connection, new_role: Callable[..., str]
) -> None:
    role = new_role("delc_user")
    with cluster.connect(place.info.dbname, user=role, autocommit=False) as connection:
        for table in ("parameters", "optimizer_states", "file_chunks"):
            assert failure(connection, f"TABLE delc.{table}").sqlstate == "42501", table
        for call in ("describe_parameters('m')", "diff_parameters('m@1', 'm@2')", "read_file('m', 'a')",
                     "copy_model('m', 'n')", "drop_snapshot('m@1#1')", "prune_model('m')"):  # fmt: skip
            assert failure(connection, f"SELECT delc.{call}").sqlstate == "42501", call
        assert value(connection, "SELECT count(*) FROM delc.describe_model('m')") > 20
        aspects = [a for (a,) in rows(connection, "SELECT DISTINCT aspect FROM delc.diff_models('m@1', 'm@2')")]
        assert "parameters" not in aspects
        assert value(connection, "SELECT count(*) FROM delc.list_models()") == 9
        connection.rollback()


def test_everything_in_one_transaction_rolls_back_as_one(cluster: Cluster, place: Connection) -> None:
    with cluster.connect(place.info.dbname, autocommit=False) as connection:
        connection.execute("SELECT delc.copy_model('m@1', 'gone'), delc.set_alias('m@1', 'x')")
        connection.execute("SELECT delc.attach_file('gone', 'a', 'b'), delc.drop_model('m@5')")
        connection.execute("SELECT * FROM delc.prune_model('m', keep_last => 1, keep_best => 0, dry_run => false)")
        connection.rollback()
        counts = "SELECT (SELECT count(*) FROM delc.models), (SELECT count(*) FROM delc.model_versions), " \
                 "(SELECT count(*) FROM delc.model_alias_log), (SELECT count(*) FROM delc.files)"  # fmt: skip
        assert row(connection, counts) == (3, 9, 0, 0)


def test_a_dump_keeps_the_whole_history(cluster: Cluster, new_database: Callable[[], str], place: Connection) -> None:
    source, target = new_database(), "delc_restored_models"
    with cluster.connect(source) as connection:
        connection.execute(FLOWERS)
        connection.execute(dataset("flowers", "flowers", "species"))
        kept = {"keep_optimizer": "true", "epochs": "4", "checkpoint_every": "2"}
        record(connection, train("m", "flowers", **kept))
        record(connection, "SELECT * FROM delc.resume_training('m@1#2')")
        connection.execute("SELECT delc.copy_model('m', 'branch'), delc.attach_file('m', 'a', 'b')")
        connection.execute("SELECT delc.merge_models('soup', ARRAY['m@1', 'branch']), delc.set_alias('m@1', 'x')")
    cluster.create_database(target)
    try:
        cluster.psql(target, cluster.pg_dump(source))
        with cluster.connect(source) as here, cluster.connect(target) as there:
            for question in (
                "SELECT * FROM delc.model_version_parents ORDER BY 1, 2",
                "SELECT * FROM delc.model_alias_log",
                "SELECT parameter, slot, value::text FROM delc.optimizer_states ORDER BY 1, 2",
                "SELECT delc.read_file('m', 'a')",
                "SELECT * FROM delc.lineage_of('model', 'soup')",
            ):
                assert rows(here, question) == rows(there, question)
            resumed = record(there, "SELECT * FROM delc.resume_training('m@1#2')")
            assert resumed["model"] == "m@3"
            assert rows(there, "SELECT count(*) FROM delc.diff_parameters('m@3', 'm@1') WHERE unchanged < 1") == [(0,)]
            assert value(there, "SELECT delc.copy_model('soup', 'soup')") == "soup@2"
    finally:
        cluster.drop_database(target)
