"""What is stored of a version: the network as a graph, and its parameters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.python_function import run_inside
from support.workplace import failure, message, rolled_back, row, rows, value, workplace

RESIDUAL = """'[{"name": "first", "kind": "linear", "out_features": 8}, {"name": "norm", "kind": "batch_norm1d"},
               {"name": "second", "kind": "linear", "out_features": 8},
               {"name": "sum", "kind": "add", "inputs": ["norm", "second"]}, {"name": "last", "kind": "linear"}]'"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """A model with a branch in its network."""
    statements = [FLOWERS, dataset("flowers", "flowers", "species"), train("branched", "flowers", network=RESIDUAL)]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def test_layers_are_rows_in_order_of_computation(db: Connection) -> None:
    found = rows(db, "SELECT position, name, kind, output_shape, parameters FROM delc.layers ORDER BY position")
    assert found == [
        (1, "first", "linear", [8], 32), (2, "norm", "batch_norm1d", [8], 16), (3, "second", "linear", [8], 72),
        (4, "sum", "add", [8], 0), (5, "last", "linear", [3], 27),
    ]  # fmt: skip


def test_edges_are_rows_too(db: Connection) -> None:
    found = rows(db, "SELECT from_layer, to_layer, position FROM delc.layer_edges ORDER BY to_layer, position")
    assert found == [
        ("input", "first", 1), ("sum", "last", 1), ("first", "norm", 1), ("norm", "second", 1), ("norm", "sum", 1),
        ("second", "sum", 2),
    ]  # fmt: skip


def test_the_network_is_stored_with_all_sizes_filled_in(db: Connection) -> None:
    network = value(db, "SELECT network::text FROM delc.model_versions")
    assert '"in_features": 3' in network
    assert '"out_features": 3' in network


def test_parameters_are_tensors_named_after_their_layer(db: Connection) -> None:
    found = rows(db, "SELECT name, shape, learnable FROM delc.parameters ORDER BY name")
    assert found == [
        ("first.bias", [8], True), ("first.weight", [8, 3], True), ("last.bias", [3], True),
        ("last.weight", [3, 8], True), ("norm.bias", [8], True), ("norm.num_batches_tracked", [], False),
        ("norm.running_mean", [8], False), ("norm.running_var", [8], False), ("norm.weight", [8], True),
        ("second.bias", [8], True), ("second.weight", [8, 8], True),
    ]  # fmt: skip


def test_the_counted_parameters_are_the_learnable_ones(db: Connection) -> None:
    counted = "SELECT sum(delc.elements(value)) FROM delc.parameters WHERE learnable"
    assert value(db, counted) == value(db, "SELECT parameters FROM delc.model_versions") == 32 + 16 + 72 + 27


def test_the_stored_parameters_are_those_that_predict(db: Connection) -> None:
    # The session has not used the model before, so it has nothing of it in memory. This bias decides everything.
    db.execute("""
        UPDATE delc.stored_tensors SET value = bias, checksum = delc.checksum(bias)
        FROM (SELECT '{0,1000,0}'::real[]::delc.tensor AS bias) AS biased
        WHERE id = (SELECT tensor_id FROM delc.snapshot_parameters WHERE name = 'last.bias')
    """)
    assert rows(db, "SELECT DISTINCT delc.predict('branched', f) FROM flowers AS f") == [("versicolor",)]


def test_a_parameter_above_the_cap_of_one_datum_is_stored_in_chunks(db: Connection) -> None:
    found = run_inside(
        db,
        """
        import torch
        from delc.models import parameters
        from delc.server import queries
        big = torch.arange(17_000_000, dtype=torch.float32).reshape(1000, 17_000)
        queries.execute("DELETE FROM delc.snapshots WHERE version_id = 1")
        snapshot_id = parameters.save(1, {"big": big}, frozenset({"big"}), epoch=1, is_latest=True)
        again = parameters.load(snapshot_id)["big"]
        return [list(again.shape), bool(torch.equal(again, big))]
        """,
    )
    assert found == [[1000, 17000], True]
    assert rows(db, "SELECT chunk FROM delc.parameters ORDER BY chunk") == [(0,), (1,)]


def test_no_layer_or_parameter_without_its_version(db: Connection) -> None:
    assert failure(db, "INSERT INTO delc.snapshots (version_id, number, is_latest) VALUES (99, 1, true);"
                       "SET CONSTRAINTS ALL IMMEDIATE").sqlstate == "23503"  # fmt: skip
    layer = "INSERT INTO delc.layers VALUES (99, 1, 'a', 'linear', '{}', '{1}', 1)"
    assert failure(db, layer).sqlstate == "23503"


def test_a_network_can_be_checked_without_data(db: Connection) -> None:
    found = rows(
        db,
        "SELECT name, kind, output_shape, parameters FROM delc.check_network("
        """'[{"kind": "conv2d", "out_channels": 4, "kernel_size": 3}, "relu", "flatten", {"kind": "linear"}]',"""
        " '{1,8,8}', 10)",
    )
    assert [line[1:] for line in found] == [
        ("conv2d", [4, 6, 6], 40), ("relu", [4, 6, 6], 0), ("flatten", [144], 0), ("linear", [10], 1450),
    ]  # fmt: skip


def test_a_wrong_network_names_layer_and_shape(db: Connection) -> None:
    error = failure(
        db,
        """SELECT * FROM delc.check_network('[{"name": "look", "kind": "conv2d", "out_channels": 4, "kernel_size": 9},
                                              "flatten", {"kind": "linear"}]', '{1,8,8}', 10)""",
    )
    assert error.sqlstate == "22023"
    assert '"look"' in message(error)
    assert "8" in message(error)


@pytest.mark.parametrize("call", ["NULL, '{3}', 1", "'mlp', NULL, 1", "'mlp', '{3}', NULL", "'mlp', '{NULL}', 1"])
def test_null_in_a_check_is_refused(db: Connection, call: str) -> None:
    assert failure(db, f"SELECT * FROM delc.check_network({call})").sqlstate == "22023"


def test_every_kind_of_layer_is_listed_with_its_arguments(db: Connection) -> None:
    listed, described = row(db, "SELECT count(*), bool_and(description <> '') FROM delc.layer_kinds()")
    assert listed > 50
    assert described
