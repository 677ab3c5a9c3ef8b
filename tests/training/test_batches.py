"""Batches of rows in memory."""

from __future__ import annotations

import pytest
import torch

from delc.server.errors import InvalidData, InvalidParameter
from delc.training.batches import MemoryBatches, batch_bounds, epoch_seed, shuffled


def drawn(rows: int, batch_size: int, epoch: int = 1, **arguments: object) -> list[list[int]]:
    values = torch.arange(rows)
    batches = MemoryBatches({"input": values}, values, batch_size, **arguments)
    found = []
    for inputs, target in batches.epoch(epoch):
        assert torch.equal(inputs["input"], target)
        found.append(target.tolist())
    assert len(found) == batches.batches
    return found


def test_every_row_comes_once() -> None:
    assert sorted(row for batch in drawn(103, 16) for row in batch) == list(range(103))


def test_rows_come_in_order_without_shuffling() -> None:
    assert drawn(5, 3, shuffle=False) == [[0, 1, 2], [3, 4]]


def test_one_row_left_over_joins_the_batch_before() -> None:
    assert drawn(7, 3, shuffle=False) == [[0, 1, 2], [3, 4, 5, 6]]


def test_one_row_alone_is_a_batch() -> None:
    assert drawn(1, 16) == [[0]]


def test_batches_of_one_row_are_kept_where_asked_for() -> None:
    assert batch_bounds(3, 1) == [(0, 1), (1, 3)]


def test_no_rows_are_no_batches() -> None:
    assert drawn(0, 16) == []


def test_the_same_seed_and_epoch_give_the_same_order() -> None:
    assert drawn(100, 16, seed=5) == drawn(100, 16, seed=5)


@pytest.mark.parametrize("other", [{"seed": 6}, {"seed": 5, "epoch": 2}])
def test_another_seed_or_epoch_gives_another_order(other: dict[str, int]) -> None:
    assert drawn(100, 16, seed=5) != drawn(100, 16, **other)


def test_the_order_does_not_depend_on_what_ran_before() -> None:
    first = shuffled(50, 3, 1)
    torch.rand(10)
    assert torch.equal(shuffled(50, 3, 1), first)


def test_the_order_is_the_same_in_every_version() -> None:
    # A model can only be trained again to the same bits where the order of rows stays what it was.
    assert shuffled(8, 0, 1).tolist() == [0, 4, 5, 2, 3, 1, 6, 7]


def test_seeds_of_epochs_differ_and_fit_a_generator() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in (0, 1, 2, 2**63 - 1) for epoch in range(1, 101)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_transform_is_applied_to_the_inputs_alone() -> None:
    values = torch.arange(4)
    batches = MemoryBatches({"x": values}, values, 2, shuffle=False, transform=lambda raw: {"y": raw["x"] * 10})
    assert [inputs["y"].tolist() for inputs, _ in batches.epoch(1)] == [[0, 10], [20, 30]]


def test_inputs_of_another_length_are_an_error() -> None:
    with pytest.raises(InvalidData, match='input "x" has 3 rows, but the target has 4'):
        MemoryBatches({"x": torch.zeros(3)}, torch.zeros(4), 2)


def test_a_batch_size_of_0_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match="batch_size is 0"):
        MemoryBatches({}, torch.zeros(4), 0)
