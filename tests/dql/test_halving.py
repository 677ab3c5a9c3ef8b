"""The plan of successive halving."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from delc.dql.halving import Rung, rungs, total_iterations


def test_the_usual_plan() -> None:
    plan = rungs(27, 1, 27)
    assert plan == [Rung(27, 1, 9), Rung(9, 3, 3), Rung(3, 9, 1), Rung(1, 27, 1)]
    assert total_iterations(plan) == 27 + 9 * 2 + 3 * 6 + 18


def test_as_many_as_are_kept_go_to_the_end() -> None:
    plan = rungs(24, 5, 100)
    assert plan == [Rung(24, 11, 8), Rung(8, 33, 5), Rung(5, 100, 5)]
    assert total_iterations(plan) <= 0.4 * 24 * 100


def test_nothing_is_stopped_when_all_are_kept() -> None:
    assert rungs(3, 5, 10) == [Rung(3, 10, 3)]


@given(
    trials=st.integers(1, 500),
    top=st.integers(1, 20),
    iterations=st.integers(1, 1000),
    reduction=st.integers(2, 5),
    least=st.integers(1, 20),
)
def test_every_plan_ends_with_the_kept_ones_at_the_last_iteration(
    trials: int, top: int, iterations: int, reduction: int, least: int
) -> None:
    top, least = min(top, trials), min(least, iterations)
    plan = rungs(trials, top, iterations, reduction, least)
    assert plan[0].trials == trials
    assert (plan[-1].iterations, plan[-1].kept) == (iterations, top)
    for earlier, later in pairwise(plan):
        assert later.iterations > earlier.iterations >= least
        assert later.trials == earlier.kept <= earlier.trials
    assert total_iterations(plan) <= trials * iterations
