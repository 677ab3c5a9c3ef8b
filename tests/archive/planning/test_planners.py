"""What every planner keeps: plans are trees, within budgets and chains; or an error says why not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delc.archive.planning import PLANNERS, BudgetTooSmall, PlanOverBudget, Scheme, StorageGraph, checked_plan
from delc.server.errors import InvalidParameter, LimitExceeded
from support.storage_graphs import Drawn, graph_of, graphs, paper_graph, problems
from support.version_graphs import Archive, version_graph

SCHEMES: tuple[Scheme, ...] = ("independent", "parallel", "reusable")
SUMS: tuple[Scheme, ...] = ("independent", "parallel")
BUDGETED = ("last", "pas_mt", "pas_pt", "best_of_two", "priced", "exact")
few = settings(deadline=None, max_examples=40)


def budgets_of(drawn: Drawn, scheme: Scheme) -> np.ndarray:
    """Budgets that the shortest path tree keeps, with room to spare where the share is above 1."""
    return PLANNERS["shortest_paths"](drawn.graph).recreation(scheme) * drawn.share


@few
@given(problems(), st.sampled_from(SCHEMES), st.sampled_from(sorted(PLANNERS)))
def test_a_plan_is_a_tree_within_its_budgets_or_an_error_says_so(drawn: Drawn, scheme: Scheme, name: str) -> None:
    budgets = budgets_of(drawn, scheme)
    try:
        plan = PLANNERS[name](drawn.graph, budgets, scheme)
    except PlanOverBudget:
        assert name not in BUDGETED
        return
    again = checked_plan(drawn.graph, plan.edges)
    assert (again.recreation(scheme) <= budgets * (1 + 1e-9)).all()


@few
@given(problems(), st.sampled_from(SCHEMES))
def test_priced_never_takes_more_than_the_papers_planners(drawn: Drawn, scheme: Scheme) -> None:
    budgets = budgets_of(drawn, scheme)
    ours = PLANNERS["priced"](drawn.graph, budgets, scheme).storage
    assert ours <= PLANNERS["best_of_two"](drawn.graph, budgets, scheme).storage + 1e-9
    assert ours <= PLANNERS["last"](drawn.graph, budgets, scheme).storage + 1e-9


@few
@given(problems(), st.sampled_from(SUMS))
def test_priced_is_within_a_hundredth_of_the_optimum_and_its_bound_holds(drawn: Drawn, scheme: Scheme) -> None:
    budgets = budgets_of(drawn, scheme)
    ours, optimum = (PLANNERS[name](drawn.graph, budgets, scheme) for name in ("priced", "exact"))
    assert optimum.storage - 1e-6 <= ours.storage <= optimum.storage * 1.01 + 1e-6
    assert ours.bound is not None
    assert ours.bound <= optimum.storage + 1e-6


@few
@given(problems(), st.sampled_from(SCHEMES), st.sampled_from(sorted(PLANNERS)), st.integers(0, 2))
def test_chains_keep_their_bound(drawn: Drawn, scheme: Scheme, name: str, longest: int) -> None:
    plan = PLANNERS[name](drawn.graph, None, scheme, longest_chain=longest)
    assert plan.deltas.max() <= longest


@few
@given(problems(), st.sampled_from(SCHEMES), st.integers(1, 3))
def test_chains_and_budgets_are_kept_together(drawn: Drawn, scheme: Scheme, longest: int) -> None:
    budgets = PLANNERS["whole"](drawn.graph).recreation(scheme) * drawn.share
    plan = PLANNERS["priced"](drawn.graph, budgets, scheme, longest_chain=longest)
    assert plan.deltas.max() <= longest
    assert (plan.recreation(scheme) <= budgets * (1 + 1e-9)).all()


@few
@given(graphs(all_whole=False), st.sampled_from(sorted(set(PLANNERS) - {"whole"})))
def test_matrices_that_cannot_be_stored_whole_are_planned_too(graph: StorageGraph, name: str) -> None:
    budgets = PLANNERS["shortest_paths"](graph).recreation("independent")
    try:
        plan = PLANNERS[name](graph, budgets)
    except PlanOverBudget:
        assert name == "least_storage"
        return
    assert (plan.recreation("independent") <= budgets * (1 + 1e-9)).all()


@pytest.mark.parametrize("scheme", SUMS)
@pytest.mark.parametrize("name", sorted(set(PLANNERS) - {"exact"}))
def test_the_same_graph_gets_the_same_plan(name: str, scheme: Scheme) -> None:
    archive = Archive(versions=6, snapshots=4, layers=3, group_size=3)
    first, second = (PLANNERS[name](version_graph(archive), None, scheme) for _ in range(2))
    assert first.edges.tolist() == second.edges.tolist()


@pytest.mark.parametrize("scheme", SUMS)
@pytest.mark.parametrize("share", [1.1, 1.3, 1.6])
def test_priced_takes_less_than_the_papers_planners_where_budgets_are_tight(scheme: Scheme, share: float) -> None:
    graph = version_graph(Archive(versions=8, snapshots=5, layers=4, group_size=4))
    budgets = PLANNERS["shortest_paths"](graph).recreation(scheme) * share
    ours, theirs = (PLANNERS[name](graph, budgets, scheme).storage for name in ("priced", "best_of_two"))
    assert ours < theirs


@pytest.mark.parametrize("name", sorted(PLANNERS))
@pytest.mark.parametrize(("scheme", "least"), [("independent", 5.0), ("parallel", 2.0), ("reusable", 2.0)])
def test_a_budget_that_nothing_can_keep_is_named_with_the_least_possible(
    name: str, scheme: Scheme, least: float
) -> None:
    with pytest.raises(BudgetTooSmall, match=f"budget {least - 0.5:g} of snapshot 1 is too small") as caught:
        PLANNERS[name](paper_graph(), [9, least - 0.5], scheme)
    assert (caught.value.snapshot, caught.value.budget, caught.value.least) == (1, least - 0.5, least)
    assert f"at least {least:g}" in str(caught.value)


def test_a_snapshot_is_called_by_its_name_in_errors() -> None:
    graph = graph_of(1, [(0, 1, 1, 5)], [[1]])
    named = replace(graph, names=("lenet@3/best",))
    with pytest.raises(BudgetTooSmall, match="budget 4 of snapshot lenet@3/best is too small"):
        PLANNERS["priced"](named, [4])


def test_a_planner_that_knows_no_budgets_says_which_one_it_breaks() -> None:
    with pytest.raises(PlanOverBudget, match="keeps budget 6 of snapshot 1") as caught:
        PLANNERS["least_storage"](paper_graph(), [3, 6])
    assert caught.value.cost == 7.5


def test_a_chain_bound_that_a_matrix_cannot_keep_is_an_error() -> None:
    graph = graph_of(3, [(0, 1, 1, 1), (1, 2, 1, 1), (2, 3, 1, 1)], [[3]])
    with pytest.raises(InvalidParameter, match="matrix 3 needs a chain of 2 deltas, allowed: 1"):
        PLANNERS["priced"](graph, longest_chain=1)


def test_a_matrix_that_cannot_be_whole_is_named() -> None:
    with pytest.raises(InvalidParameter, match="matrix 2 cannot be stored whole"):
        PLANNERS["whole"](graph_of(2, [(0, 1, 1, 1), (1, 2, 1, 1)], [[2]]))


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(InvalidParameter, match='unknown retrieval scheme "paralel"'):
        PLANNERS["priced"](paper_graph(), None, "paralel")  # type: ignore[arg-type]


def test_there_is_one_budget_for_each_snapshot() -> None:
    with pytest.raises(InvalidParameter, match="for 2 snapshots"):
        PLANNERS["priced"](paper_graph(), [3])


def test_the_exact_planner_refuses_graphs_that_it_cannot_solve() -> None:
    with pytest.raises(LimitExceeded, match="variables"):
        PLANNERS["exact"](version_graph(Archive(versions=20, layers=4)))


class Cancelled(Exception):
    """What a caller raises to stop a planner."""


@pytest.mark.parametrize("name", sorted(set(PLANNERS) - {"whole"}))
def test_a_planner_stops_when_told_to(name: str) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        raise Cancelled

    archive = Archive(versions=3, snapshots=4, layers=2) if name == "exact" else Archive(versions=20, layers=8)
    graph = version_graph(archive)
    budgets = np.array([graph.recreation[members - 1].sum() * 1.2 for members in graph.snapshots])
    with pytest.raises(Cancelled):
        PLANNERS[name](graph, budgets, check=check)
    assert calls == 1
