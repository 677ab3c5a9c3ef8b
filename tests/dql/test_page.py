"""docs/dql.md: its examples run, and its tables are true."""

from __future__ import annotations

import re

import pytest

from delc.dql.problems import Place
from delc.dql.selectors import read_selector
from delc.dql.surgery import NewLayer, insert
from delc.networks import InputSpec, Network, resolve
from delc.networks.pictures import difference
from support.cluster import ROOT, Connection
from support.pages import run

PAGE = "docs/dql.md"
TEXT = (ROOT / PAGE).read_text()
PICTURE = ROOT / "docs/pictures/diff.svg"

NETWORK = [
    {"kind": "conv2d", "name": "conv1", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"kind": "avg_pool2d", "name": "pool1", "kernel_size": 2},
    {"kind": "conv2d", "name": "conv2", "out_channels": 8, "kernel_size": 3, "padding": 1},
    {"kind": "relu", "name": "relu2"},
    {"kind": "flatten", "name": "flat"},
    {"kind": "linear", "name": "fc1", "out_features": 16},
    {"kind": "relu", "name": "relu3"},
    {"kind": "linear", "name": "fc2", "out_features": 4},
]


def test_the_examples_give_what_the_text_says(fresh_db: Connection) -> None:
    fresh_db.execute("SET delc.threads = 1")
    results = dict(run(fresh_db, PAGE))
    found = [rows for statement, rows in results.items() if "delc.dql(" in statement]
    select, shapes, construct, sliced, trials, curves, plan = found
    assert select == [("lenet_avg@1", "matched", "classification, 8 layers, 2468 parameters, trained on shapes@1")]
    assert shapes == [("lenet_avg@1",), ("lenet_max@1",)]
    assert construct == [
        ("lenet_avg-m2@1", "lenet_avg@1", "relu1 (relu) after conv1; weights kept: conv1, conv2, fc1, fc2")
    ]
    assert sliced[0][0] == "lenet_max-body@1"
    assert [row[2] for row in trials[:3]] == ["kept", "kept", "stopped at iteration 6"]
    assert len(trials) == 8
    assert [(state, len(losses)) for state, losses in curves] == [("kept", 3), ("stopped at iteration 1", 1)]
    assert dict(plan)["iterations"] == "81 at most; 729 were every trial trained to the end"
    assert dict(plan)["evaluate m"] == "3 models: lenet_avg-m2@1, lenet_avg-m2-m@1, lenet_avg-m2-m@2"


ROWS = re.findall(r"^\| `([^`]+)` \| ([\w, ]+) \| .*\|$", TEXT.split("Of the names")[1].split("**Existential")[0], re.M)
NAMES = re.findall(r"`(\w+)`", TEXT.split("Of the names ")[1].split(":")[0])


@pytest.mark.parametrize(("selector", "names"), ROWS)
def test_selectors_name_what_the_table_says(selector: str, names: str) -> None:
    found = [name for name in NAMES if read_selector(selector, Place("", 0)).match(name) is not None]
    assert ", ".join(found) == names


def test_the_picture_is_that_of_the_example() -> None:
    before = Network.parse(NETWORK)
    after = insert(before, "conv1", NewLayer("relu1", "relu", {}))
    inputs = {"input": InputSpec((1, 8, 8))}
    drawn = difference(resolve(before, inputs), resolve(after, inputs), "lenet_avg@1", "lenet_avg-m2@1")
    assert PICTURE.read_text() == drawn + "\n"
