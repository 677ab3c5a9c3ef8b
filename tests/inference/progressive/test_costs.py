"""What bounds may cost: the arithmetic of the budget, and what is done where it does not suffice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch

from delc.inference.progressive import costs, decisions
from delc.inference.progressive.costs import (
    ALLOWED,
    CHEAP,
    CONSTANT,
    QUICK_FLOPS,
    SHARE,
    STEADY,
    Budget,
    OutOfTime,
    Work,
)
from delc.inference.progressive.settling import IN_FULL, Forward, Settler
from delc.networks import BuiltNetwork
from delc.networks.kinds import Value
from support.progressive import InMemory, network

ROWS = 200


@dataclass
class Clock:
    """A clock that goes on by hand, or by so much each time it is looked at."""

    seconds: float = 0.0
    tick: float = 0.0

    def __call__(self) -> float:
        """The time."""
        self.seconds += self.tick
        return self.seconds


@dataclass
class Counting(InMemory):
    """Keeps how many threads torch had for each guess."""

    threads: list[int] = field(default_factory=list)

    def middle(self) -> Forward:
        """The network with the middles of the boxes."""
        self.threads.append(torch.get_num_threads())
        return super().middle()


def random_network(scale: float) -> BuiltNetwork:
    """Two labels; with a small scale the rows' margins are large beside what is unknown of the weights."""
    built = network([{"kind": "linear", "out_features": 2}], Value((4,)), seed=1)
    with torch.no_grad():
        bias = next(name for name in built.module.state_dict() if name.endswith("bias"))
        built.module.state_dict()[bias].copy_(torch.tensor([0.0, scale]))
    return built


@pytest.fixture
def rows() -> dict[str, torch.Tensor]:
    """Of small numbers."""
    return {"input": torch.randn((ROWS, 4), generator=torch.Generator().manual_seed(1)) * 1e-3}


DEAR = Work(numbers=0, large=0, flops=int(2e6))
"""A step for all rows takes a good part of the budget, one for a sample does not."""


def test_a_budget_is_a_constant_and_a_share_of_what_full_precision_takes() -> None:
    budget = Budget()
    assert budget.left == ALLOWED < CONSTANT
    budget.earn(2 * QUICK_FLOPS, reading=3.0)
    assert budget.left == pytest.approx(ALLOWED + SHARE * 5)


def test_what_steps_take_is_spent_whatever_was_estimated() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    with budget.spending(0.1):
        clock.seconds += 0.3
    with budget.spending():
        clock.seconds += 0.2
    assert budget.left == pytest.approx(ALLOWED - 0.5)


def test_what_is_done_within_a_step_is_paid_once() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    with budget.spending():
        clock.seconds += 0.1
        with budget.spending(0.1):
            clock.seconds += 0.2
        clock.seconds += 0.1
    assert budget.spent == pytest.approx(0.4)
    assert budget.measured == pytest.approx(0.2)


def test_what_full_precision_does_too_is_free_and_what_is_more_in_it_is_not() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    with budget.spending():
        clock.seconds += 0.1
        with budget.free():
            clock.seconds += 5.0
            with budget.spending():
                clock.seconds += 0.2
        clock.seconds += 0.1
    clock.seconds += 5.0
    assert budget.used == pytest.approx(0.4)


def test_a_step_that_fails_is_paid_too() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    with contextlib.suppress(ValueError), budget.spending(0.1):
        clock.seconds += 0.3
        raise ValueError("in the middle")
    assert budget.spent == pytest.approx(0.3)


def test_estimates_are_taken_at_the_pace_of_the_steps_so_far() -> None:
    clock = Clock()
    budget = Budget(allowed=10.0, clock=clock)
    assert budget.pace == 1.0
    assert budget.affords(10.0)
    with budget.spending(1.0):
        clock.seconds += 3.0
    assert budget.pace == pytest.approx((3 + STEADY) / (1 + STEADY))
    assert budget.affords(7.0 / budget.pace * 0.999)
    assert not budget.affords(7.0 / budget.pace * 1.001)
    assert budget.cheap(CHEAP * 7.0 / budget.pace * 0.999)
    assert not budget.cheap(CHEAP * 7.0 / budget.pace * 1.001)


def test_a_step_ends_when_it_has_used_up_what_was_left() -> None:
    clock = Clock()
    budget = Budget(allowed=1.0, clock=clock)
    with budget.spending(0.5):
        clock.seconds += 0.9
        budget.require()
        assert budget.left == pytest.approx(0.1)
        clock.seconds += 0.2
        with pytest.raises(OutOfTime):
            budget.require()
    assert budget.spent == pytest.approx(1.1)


def test_nothing_is_affordable_when_all_is_spent() -> None:
    assert not Budget(allowed=1.0, spent=1.0).affords(1e-9)
    assert not Budget(allowed=1.0, spent=1.5).affords(0.0)


def test_a_step_is_made_of_making_ready_a_guess_and_intervals() -> None:
    work = Work(numbers=3_000_000, large=2_000_000, flops=6_000_000)
    alone = work.step(5, prepared=True)
    assert alone == pytest.approx(work.guess(5) + work.passes(costs.INTERVAL_PASSES, 5))
    assert work.step(5, prepared=False) == pytest.approx(alone + work.preparing)


def test_many_small_layers_cost_what_each_of_them_does_at_least() -> None:
    work = Work(numbers=0, large=0, flops=0, layers=200, bent=100)
    assert work.preparing == pytest.approx(200 * costs.LAYER_MADE)
    assert work.passes(4, 1) == pytest.approx(200 * costs.LAYER_PASSED)
    assert work.traces(4, 1) == pytest.approx(200 * (costs.LAYER_PASSED + costs.LAYER_TRACED))
    assert work.traces(4, 1, refined=True) > 100 * 100 * costs.LAYER_TRACED


def test_traces_over_large_matrices_take_longer_however_few_rows_there_are() -> None:
    work = Work(numbers=10**8, large=10**8, flops=2 * 10**8, large_flops=2 * 10**8)
    assert work.traces(0, 1) == pytest.approx(costs.TRACE_SWEEPS * work.passes(0, 1))
    assert work.traces(3, 5) > work.passes(3, 5)


def test_of_many_rows_a_few_are_tried_first_and_the_others_where_these_are_settled(
    rows: dict[str, torch.Tensor],
) -> None:
    source = InMemory(random_network(1.0), DEAR)
    settler = Settler(source, decisions.order_decision(1), Budget(clock=Clock()))
    answers = settler.answer(rows)
    assert source.guessed == [costs.SAMPLE, ROWS - costs.SAMPLE]
    assert bool(answers.certified.all())
    assert settler.remark is None


def test_where_the_few_rows_stay_open_no_bound_is_made_for_the_others(rows: dict[str, torch.Tensor]) -> None:
    source = InMemory(random_network(0.0), DEAR)
    with torch.no_grad():
        for value in source.built.module.state_dict().values():
            value.copy_(torch.full_like(value, 0.1) + torch.rand(value.shape) * 1e-7)
    answers = Settler(source, decisions.order_decision(1), Budget(clock=Clock())).answer(rows)
    assert source.guessed == [costs.SAMPLE] * len(source.guessed)
    assert answers.method == [IN_FULL] * ROWS
    torch.testing.assert_close(answers.outputs, source.built.module(rows["input"]), rtol=0, atol=0)


def test_where_not_even_one_pass_over_all_rows_can_be_afforded_none_is_begun(rows: dict[str, torch.Tensor]) -> None:
    source = InMemory(random_network(1.0), Work(numbers=0, large=0, flops=int(1e7)))
    settler = Settler(source, decisions.order_decision(1), Budget(clock=Clock()))
    assert settler.answer(rows).method == [IN_FULL] * ROWS
    assert source.guessed == []
    assert settler.remark == "read in full: bounds would have taken more time than they may"


def test_where_reading_the_rest_is_quicker_than_bounds_of_so_many_rows_none_is_begun(
    rows: dict[str, torch.Tensor],
) -> None:
    source = InMemory(random_network(1.0), DEAR, seconds_left=0.01)
    settler = Settler(source, decisions.order_decision(1), Budget(clock=Clock()))
    assert settler.answer(rows).method == [IN_FULL] * ROWS
    assert source.guessed == []
    assert settler.remark == (
        "read in full: bounds of so many rows would have taken more time than reading what was left"
    )


def test_where_the_next_step_costs_more_than_is_left_the_rest_is_read_at_once_and_that_is_said(
    rows: dict[str, torch.Tensor],
) -> None:
    source = InMemory(random_network(1.0), Work(numbers=10**9, large=0, flops=10), prepared=False)
    settler = Settler(source, decisions.order_decision(1), Budget(clock=Clock()))
    answers = settler.answer(rows)
    assert source.guessed == []
    assert answers.method == [IN_FULL] * ROWS
    assert settler.remark == "read in full: bounds would have taken more time than they may"


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch has two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("flops", "threads"), [(1e3, 1), (costs.QUICK_FLOPS * costs.THREADED * 1.01, 2)])
def test_only_steps_that_are_expected_to_take_long_have_several_threads(flops: float, threads: int) -> None:
    source = Counting(random_network(1.0), Work(numbers=0, large=0, flops=int(flops)))
    settler = Settler(source, decisions.order_decision(1), Budget(allowed=1e6, clock=Clock()))
    settler.answer({"input": torch.zeros((1, 4))})
    assert source.threads == [threads]
    assert torch.get_num_threads() == 2


def test_steps_that_take_longer_than_estimated_end_the_attempt(rows: dict[str, torch.Tensor]) -> None:
    source = InMemory(random_network(0.0), DEAR)
    with torch.no_grad():
        for value in source.built.module.state_dict().values():
            value.zero_()  # ties: nothing can be certified
    budget = Budget(clock=Clock(tick=0.6))
    settler = Settler(source, decisions.order_decision(1), budget)
    settler.answer(rows)
    assert len(source.guessed) == 1
    assert settler.remark == "read in full: bounds would have taken more time than they may"
