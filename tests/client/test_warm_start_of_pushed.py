"""A training that begins with a pushed model keeps its last layer where the rows have the same outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import delc.client
from support.cluster import Connection
from support.workplace import value

STILL = {"epochs": 1, "learning_rate": 1e-30, "optimizer": "sgd"}
"""Options of a training that changes next to nothing."""


def module(outputs: int) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))


def observe(db: Connection, made: nn.Module, columns: dict[str, str], flags: bool = False) -> None:
    """A data set of 60 rows with what the module gives, as columns of these types; arrays take all of it."""
    listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    db.execute(f"CREATE TABLE seen (id integer PRIMARY KEY, x real[], {listed})")
    places = ", ".join("%s" for _ in columns)
    for number, x in enumerate(torch.randn(60, 4)):
        numbers: list[Any] = made(x).tolist()
        numbers = [each > 0 for each in numbers] if flags else numbers
        given = [numbers] if len(columns) == 1 and next(iter(columns.values())).endswith("[]") else numbers
        db.execute(f"INSERT INTO seen VALUES (%s, %s, {places})", [number, x.tolist(), *given])
    db.execute("SELECT delc.create_dataset('seen', 'seen', key => 'id', target => %s)", [", ".join(columns)])


def changed(db: Connection) -> list[str]:
    """The parameters that are not those that were pushed."""
    first, second = (delc.client.pull(db, f"m@{number}") for number in (1, 2))
    return [name for name in sorted(first) if first[name].tobytes() != second[name].tobytes()]


@pytest.mark.parametrize("outputs", [3, 3000])
def test_an_array_of_as_many_numbers_keeps_the_last_layer(cdb: Connection, outputs: int) -> None:
    made = module(outputs)
    delc.client.push(cdb, "m", made, input_shape=[4])
    observe(cdb, made, {"output": "double precision[]"})
    result = delc.client.train(cdb, "m", "seen", from_model="m@1", **STILL)
    assert result["validation_loss"] == pytest.approx(0, abs=1e-6)
    assert changed(cdb) == []


@pytest.mark.parametrize("columns", [["price"], ["price", "size"]])
@pytest.mark.parametrize("told", [False, True])
def test_columns_name_outputs_that_had_no_names(cdb: Connection, columns: list[str], told: bool) -> None:
    made = module(len(columns))
    delc.client.push(cdb, "m", made, input_shape=[4], target=columns if told else None)
    observe(cdb, made, dict.fromkeys(columns, "double precision"))
    result = delc.client.train(cdb, "m", "seen", from_model="m@1", **STILL)
    assert result["validation_loss"] == pytest.approx(0, abs=1e-6)
    assert changed(cdb) == []
    assert value(cdb, "SELECT target -> 'labels' FROM delc.model_versions ORDER BY id DESC LIMIT 1") == columns


def test_several_flags_in_an_array_keep_the_last_layer(cdb: Connection) -> None:
    made = module(3)
    delc.client.push(cdb, "m", made, input_shape=[4], labels=["a", "b", "c"], task="multilabel")
    observe(cdb, made, {"flags": "boolean[]"}, flags=True)
    delc.client.train(cdb, "m", "seen", from_model="m@1", **STILL)
    assert changed(cdb) == []
    labels = "SELECT target -> 'labels' FROM delc.model_versions ORDER BY id DESC LIMIT 1"
    assert value(cdb, labels) == ["a", "b", "c"]


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_columns_in_another_order_are_other_outputs(cdb: Connection, task: str) -> None:
    made, flags = module(2), task == "multilabel"
    delc.client.push(cdb, "m", made, input_shape=[4], labels=["a", "b"], task=task, target=["a", "b"])
    observe(cdb, made, dict.fromkeys(["b", "a"], "boolean" if flags else "double precision"), flags)
    told: list[str] = []
    cdb.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    delc.client.train(cdb, "m", "seen", from_model="m@1", **STILL)
    assert changed(cdb) == ["2.bias", "2.weight"]
    assert any('the layer "2" begins with random weights' in each for each in told)
