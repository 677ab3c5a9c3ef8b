"""Models of more outputs than a table has columns, whose labels are numbered through."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import delc.client
from support.cluster import Connection
from support.workplace import row, rows, value

OUTPUTS = 2000
FIRST_AND_LAST = {"classification": "0 … 1999", "multilabel": "0 … 1999", "regression": "output1 … output2000"}


def wide(outputs: int = OUTPUTS) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))


@pytest.mark.parametrize("task", FIRST_AND_LAST)
def test_its_labels_are_described_by_the_first_and_the_last(cdb: Connection, task: str) -> None:
    delc.client.push(cdb, "m", wide(), input_shape=[4], task=task)
    found = rows(cdb, "SELECT item, value FROM delc.describe_model('m') WHERE section = 'target'")
    assert found == [(FIRST_AND_LAST[task], "2000 outputs, numbered through")]


def test_two_that_differ_in_their_labels_are_told_apart(cdb: Connection) -> None:
    delc.client.push(cdb, "m", wide(), input_shape=[4], task="classification")
    delc.client.push(cdb, "m", wide(OUTPUTS + 1), input_shape=[4], task="classification")
    found = row(cdb, "SELECT a, b FROM delc.diff_models('m@1', 'm@2') WHERE aspect = 'target' AND item = 'labels'")
    told = "0 … {} ({} outputs, numbered through)"
    assert found == (told.format(1999, 2000), told.format(2000, 2001))


@pytest.mark.parametrize("task", FIRST_AND_LAST)
def test_it_can_be_searched_for_copied_and_merged(cdb: Connection, task: str) -> None:
    delc.client.push(cdb, "m", wide(), input_shape=[4], task=task)
    assert delc.client.push(cdb, "m", wide().state_dict()) == "m@2"
    assert value(cdb, "SELECT delc.merge_models('m', '{m@1,m@2}')") == "m@3"
    found = delc.client.dql(cdb, f'select m where m.task = "{task}" and m.parameters > 18000')
    assert [each["model"] for each in found] == ["m@1", "m@2", "m@3"]
    assert value(cdb, "SELECT count(*) FROM delc.list_models('m')") == 3
    assert value(cdb, "SELECT delc.model_document('m') -> 'target' -> 'labels' ->> 'count'") == "2000"
