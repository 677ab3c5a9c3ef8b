"""Slice and construct: new versions, their networks, weights and lineage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.cluster import Connection
from support.models import numbers
from support.workplace import failure, message, rows, value

Ask = Callable[..., list[dict[str, Any]]]

LABEL = "3"

RESIDUAL = """[
    {"kind": "conv2d", "name": "stem", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"kind": "conv2d", "name": "conv1", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"kind": "relu", "name": "relu1"},
    {"kind": "conv2d", "name": "conv2", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"kind": "add", "name": "sum", "inputs": ["conv2", "stem"]},
    {"kind": "global_average_pool", "name": "pool"},
    {"kind": "linear", "name": "fc"}
]"""


def train_residual(work: Connection) -> None:
    train_network(work, "residual", RESIDUAL)


def train_network(work: Connection, name: str, network: str) -> None:
    work.execute(
        "SELECT delc.train(%s, 'digits', network => %s, epochs => 1,"
        ' features => \'{"pixels": {"kind": "array", "shape": [1, 8, 8]}}\')',
        [name, network],
    )


def kinds(work: Connection, version_id: int) -> list[str]:
    query = "SELECT name || ' ' || kind FROM delc.layers WHERE version_id = %s ORDER BY position"
    return [line for (line,) in rows(work, query, version_id)]


def test_layers_that_survive_keep_their_weights_bit_for_bit(ask: Ask, work: Connection) -> None:
    (made,) = ask('construct n from m where m.name = "alexnet_2" mutate m["conv1"].insert = DROPOUT("drop", p = 0.2)')
    before, after = numbers(work, "alexnet_2@1"), numbers(work, made["model"])
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert made["detail"].startswith("drop (dropout) after conv1; weights kept: conv1, conv2, conv3, fc6, fc7, fc8")


def test_layers_whose_input_has_another_size_are_re_initialised_and_listed(ask: Ask, work: Connection) -> None:
    query = 'construct n from m where m.name = "alexnet_2" mutate m["pool2"].delete'
    (made,) = ask(query)
    assert made["detail"] == "without pool2; re-initialised: fc6; weights kept: conv1, conv2, conv3, fc7, fc8"
    before, after = numbers(work, "alexnet_2@1"), numbers(work, made["model"])
    assert after["fc6.weight"].shape[1] == 4 * before["fc6.weight"].shape[1]
    (again,) = ask(query)
    assert np.array_equal(after["fc6.weight"], numbers(work, again["model"])["fc6.weight"])
    (other,) = ask(query, seed=1)
    assert not np.array_equal(after["fc6.weight"], numbers(work, other["model"])["fc6.weight"])


def test_lineage_says_parent_query_and_what_changed(ask: Ask, work: Connection) -> None:
    query = 'construct n from m where m.name = "alexnet_2" mutate m["relu1"].delete as "bare"'
    (made,) = ask(query)
    assert made["model"] == "bare@1"
    parent = "SELECT base, relation, message FROM delc.model_version_parents WHERE derived = %s"
    base = value(work, "SELECT version_id FROM delc.dql('select m where m.name = \"alexnet_2\"')")
    assert rows(work, parent, made["version_id"]) == [(base, "constructed", query)]
    said = value(work, "SELECT message FROM delc.model_versions WHERE id = %s", made["version_id"])
    assert said == made["detail"]
    run = "SELECT operation, subject, arguments ->> 'query' FROM delc.runs WHERE id = %s"
    assert rows(work, run, made["run_id"]) == [("dql", "construct n", query)]


def test_replace_takes_captures_and_several_changes_apply_in_order(ask: Ask, work: Connection) -> None:
    (made,) = ask(
        'construct n from m where m.name = "alexnet_1"'
        ' mutate m["relu*($1)"].replace = GELU("gelu$1")'
        ' and m["conv2"].replace = CONV(out_channels = 4, kernel_size = 1)'
    )
    found = kinds(work, made["version_id"])
    assert [line for line in found if "gelu" in line] == ["gelu2 gelu", "gelu3 gelu", "gelu6 gelu", "gelu7 gelu"]
    assert "re-initialised: conv2" in made["detail"]


def test_delete_with_a_template_takes_what_follows(ask: Ask, work: Connection) -> None:
    (made,) = ask('construct n from m where m.name = "alexnet_2" mutate m["conv*"].delete = RELU')
    assert made["detail"].startswith("without relu1 after conv1; without relu3 after conv3; weights kept")


def test_deleting_an_edge_into_a_sum_leaves_the_other_one(ask: Ask, work: Connection) -> None:
    train_residual(work)
    (made,) = ask('construct plain from m where m.name = "residual" mutate m["stem"].delete = ADD')
    assert "sum add" not in kinds(work, made["version_id"])
    assert made["detail"] == (
        "without the edge from stem to sum, and so without sum; weights kept: stem, conv1, conv2, fc"
    )


def test_layers_that_lead_nowhere_go_with_the_edge_through_joins(ask: Ask, work: Connection) -> None:
    branched = """[
        {"kind": "conv2d", "name": "stem", "out_channels": 4, "kernel_size": 3, "padding": 1},
        {"kind": "conv2d", "name": "a1", "out_channels": 4, "kernel_size": 3, "padding": 1, "inputs": ["stem"]},
        {"kind": "relu", "name": "a2", "inputs": ["a1"]},
        {"kind": "conv2d", "name": "b1", "out_channels": 4, "kernel_size": 1, "inputs": ["stem"]},
        {"kind": "add", "name": "sum", "inputs": ["a2", "b1"]},
        {"kind": "concat", "name": "cat", "inputs": ["sum", "stem"]},
        {"kind": "flatten", "name": "flat", "inputs": ["cat"]},
        {"kind": "linear", "name": "fc", "inputs": ["flat"]}
    ]"""
    train_network(work, "branched", branched)
    (bare,) = ask('construct n from m where m.name = "branched" mutate m["sum"].delete = CONCAT')
    assert kinds(work, bare["version_id"]) == ["stem conv2d", "flat flatten", "fc linear"]
    assert bare["detail"].startswith("without the edge from sum to cat, and so without a1, a2, b1, sum, cat; re-init")
    (half,) = ask('construct n from m where m.name = "branched" mutate m["a2"].delete = ADD')
    assert half["detail"].startswith("without the edge from a2 to sum, and so without a1, a2, sum; weights kept: stem")


def test_a_sum_that_ends_the_network_leaves_its_other_input_as_the_end(ask: Ask, work: Connection) -> None:
    two = """[
        {"kind": "flatten", "name": "flat"},
        {"kind": "linear", "name": "a", "out_features": 4, "inputs": ["flat"]},
        {"kind": "linear", "name": "b", "out_features": 4, "inputs": ["flat"]},
        {"kind": "add", "name": "sum", "inputs": ["a", "b"]}
    ]"""
    train_network(work, "two", two)
    (made,) = ask('construct n from m where m.name = "two" mutate m["a"].delete = ADD')
    assert kinds(work, made["version_id"]) == ["flat flatten", "b linear"]


def test_a_layer_that_is_put_in_takes_no_weights_of_one_that_went(ask: Ask, work: Connection) -> None:
    before = numbers(work, "alexnet_2@1")["conv3.weight"]
    (moved,) = ask(
        'construct n from m where m.name = "alexnet_2" mutate m["conv3"].delete'
        ' and m["pool2"].insert = CONV("conv3", out_channels = 4, kernel_size = 3, padding = 1)'
    )
    assert "re-initialised: conv3" in moved["detail"]
    assert not np.array_equal(before, numbers(work, moved["model"])["conv3.weight"])
    (dilated,) = ask(
        'construct n from m where m.name = "alexnet_2"'
        ' mutate m["conv3"].replace = CONV(out_channels = 4, kernel_size = 3, padding = 2, dilation = 2)'
    )
    assert "re-initialised: conv3" in dilated["detail"]


def test_changes_see_what_earlier_ones_have_made(ask: Ask, work: Connection) -> None:
    (made,) = ask(
        'construct n from m where m.name = "alexnet_1" mutate m["conv1"].insert = BATCH_NORM("l")'
        ' and m["l"].insert = RELU("m") and m["conv1"].next.next.insert = TANH("t") and m["m"].replace = GELU'
    )
    assert kinds(work, made["version_id"])[:4] == ["conv1 conv2d", "l batch_norm2d", "m gelu", "t tanh"]


def test_where_conditions_choose_no_layers_that_were_put_in(ask: Ask) -> None:
    (made,) = ask(
        'construct n from m where m.name = "alexnet_1" and m["conv*"].kernel_size = 3'
        ' mutate m["conv1"].insert = BATCH_NORM("conv_norm") and m["conv*"].insert = RELU'
    )
    assert [part.split(" after ")[1] for part in made["detail"].split("; ") if "relu" in part] == [
        "conv1",
        "conv2",
        "conv3",
    ]


def test_names_of_models_are_taken_as_they_are(ask: Ask, work: Connection) -> None:
    work.execute("SELECT delc.copy_model('alexnet_1', 'a$version')")
    (made,) = ask('construct n from m where m.name = "a$version" mutate m["relu2"].delete as "$name $version"')
    assert made["model"] == "a$version 1@1"


def test_conditions_choose_the_nodes_of_mutate_one_by_one(ask: Ask) -> None:
    (made,) = ask(
        'construct n from m where m.name = "alexnet_3" and not m["conv*($1)"].next has POOL("MAX")'
        ' mutate m["conv*($1)"].insert = BATCH_NORM("norm$1")'
    )
    assert made["detail"].startswith("norm1 (batch_norm2d) after conv1; norm2 (batch_norm2d) after conv2; re-init")


def test_captures_do_not_keep_conditions_from_choosing_the_nodes(ask: Ask) -> None:
    (made,) = ask(
        'construct n from m where m.name = "alexnet_1" and m["conv*"].next has POOL'
        ' mutate m["conv*($1)"].insert = GELU("gelu$1")'
    )
    assert made["detail"].startswith("gelu1 (gelu) after conv1; weights kept")


def test_nodes_may_be_reached_by_steps(ask: Ask) -> None:
    (made,) = ask('construct n from m where m.name = "alexnet_3" mutate m["conv1"].next.next.insert = RELU')
    assert made["detail"].startswith("relu3 (relu) after conv2; weights kept")


def test_a_slice_from_the_middle_reads_the_output_of_the_layer_before(ask: Ask, work: Connection) -> None:
    (made,) = ask('slice s from m where m.name = "alexnet_1" mutate s.input = m["conv2"] and s.output = m["conv3"]')
    assert kinds(work, made["version_id"]) == ["conv2 conv2d", "relu2 relu", "conv3 conv2d", "flatten_output flatten"]
    assert "its input is the output of pool1, [4, 4, 4]" in made["detail"]
    inputs = "SELECT delc.embed('alexnet_1', pixels, layer => 'pool1')::real[] FROM digits WHERE id = 3"
    middle = value(work, inputs)
    predicted = value(work, "SELECT count(*) FROM delc.predict_rows(%s, %s)", made["model"],
                      f"SELECT ARRAY{list(middle)}::real[] AS input")  # fmt: skip
    assert predicted == 64


def test_a_slice_takes_the_branches_that_its_output_needs(ask: Ask, work: Connection) -> None:
    train_residual(work)
    (made,) = ask('slice s from m where m.name = "residual" mutate s.input = m["stem"] and s.output = m["pool"]')
    assert [line.split()[0] for line in kinds(work, made["version_id"])] == [
        "stem", "conv1", "relu1", "conv2", "sum", "pool",
    ]  # fmt: skip
    (inner,) = ask('slice s from m where m.name = "residual" mutate s.input = m["conv1"] and s.output = m["pool"]')
    assert [line.split()[0] for line in kinds(work, inner["version_id"])] == ["conv1", "relu1", "conv2", "sum", "pool"]


def test_a_slice_that_begins_inside_a_branch_reads_the_arrays_of_both(ask: Ask, work: Connection) -> None:
    train_residual(work)
    (made,) = ask('slice s from m where m.name = "residual" mutate s.input = m["conv2"] and s.output = m["fc"]')
    assert [line.split()[0] for line in kinds(work, made["version_id"])][:2] == ["conv2", "sum"]
    assert "its inputs are the output of stem, [4, 8, 8], the output of relu1, [4, 8, 8]" in made["detail"]
    arrays = ", ".join(f"delc.embed('residual', pixels, layer => '{layer}')::real[] AS {layer}"
                       for layer in ("stem", "relu1"))  # fmt: skip
    work.execute(f"CREATE TEMPORARY TABLE arriving AS SELECT id, {arrays} FROM digits WHERE id < 20".encode())
    probability = "SELECT array_agg(delc.predict_probability(%s, {given}, %s) ORDER BY id) FROM {rows} AS r"
    whole = value(work, probability.format(given="r.pixels", rows="digits") + " WHERE id < 20", "residual", LABEL)
    sliced = value(work, probability.format(given="r", rows="arriving"), made["model"], LABEL)
    assert sliced == pytest.approx(whole, rel=1e-5)


def test_networks_are_checked_before_anything_is_stored(work: Connection) -> None:
    count = "SELECT count(*) FROM delc.model_versions"
    before = value(work, count)
    query = 'construct n from m mutate m["conv2"].insert = CONV("big", kernel_size = 50, out_channels = 2)'
    error = failure(work, "SELECT delc.dql(%s)", query)
    assert 'layer "big" (conv2d) cannot take the shape' in message(error)
    assert value(work, count) == before


def test_nothing_is_made_of_models_without_such_a_layer(ask: Ask, work: Connection) -> None:
    assert ask('construct n from m where m.name = "alexnet_2" mutate m["conv9"].insert = RELU') == []


def test_what_is_made_nests(ask: Ask) -> None:
    (found,) = ask(
        'select m from (construct n from (slice s from m where m.name = "alexnet_3" mutate s.input = m["conv1"] and'
        ' s.output = m["relu7"]) mutate s["relu1"].delete)'
        ' where not m["relu1"] exists and m.ancestor.name = "alexnet_3"'
    )
    assert (found["model"], found["state"]) == ("alexnet_3-s-n@1", "matched")


def test_every_kind_of_layer_is_a_template(ask: Ask, work: Connection) -> None:
    for kind in ("PRELU", "layer_norm", "BatchNorm2d", "leaky_relu", "identity", "SoftPlus"):
        query = f'construct n from m where m.name = "alexnet_1" mutate m["conv2"].insert = {kind}("extra")'
        assert "extra" in ask(query, dry_run=True)[1]["detail"]
