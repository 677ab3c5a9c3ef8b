"""The question that planners answer: least storage, with every snapshot's recreation cost within its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, get_args

import numpy as np
import numpy.typing as npt

from delc.archive.planning.graph import Costs, Ids, Scheme, StorageGraph
from delc.archive.planning.paths import distances_within, fewest_hops, nothing, shortest_path_tree
from delc.archive.planning.plan import Plan, checked_plan, recreation_costs
from delc.server.errors import InvalidParameter, unknown

ROUNDING = 1e-9
"""The share of a budget by which sums of floating-point numbers may pass it."""


class BudgetTooSmall(InvalidParameter):
    """A snapshot's budget lies below what any plan could reach.

    ``snapshot``: its number. ``least``: the least possible cost, or a bound below it under reusable retrieval and where
    chains are bounded.
    """

    def __init__(self, snapshot: int, name: str, budget: float, least: float, scheme: Scheme) -> None:
        super().__init__(
            f"budget {budget:g} of snapshot {name} is too small",
            detail=f"Under {scheme} retrieval it takes at least {least:g} to recreate it.",
            hint="Raise the budget, or store matrices in ways that are faster to read.",
        )
        self.snapshot = snapshot
        self.budget = budget
        self.least = least


class PlanOverBudget(InvalidParameter):
    """The planner's plan does not keep a budget: its kind knows none, or it found no way to keep all."""

    def __init__(self, snapshot: int, name: str, budget: float, cost: float, scheme: Scheme) -> None:
        super().__init__(
            f"no plan was found that keeps budget {budget:g} of snapshot {name}",
            detail=f"Under {scheme} retrieval it takes {cost:g} in the nearest plan found.",
            hint="Raise the budget, or choose another planner.",
        )
        self.snapshot = snapshot
        self.budget = budget
        self.cost = cost


class Planner(Protocol):
    """What every planner looks like.

    ``budgets``: one number per snapshot, ∞ (or None for all) where there is none. ``longest_chain``: the most deltas
    that may follow each other. ``check`` is called often and may raise to stop the planner.
    Raises ``BudgetTooSmall``, ``PlanOverBudget``, and ``InvalidParameter`` for what is no problem at all.
    """

    def __call__(
        self,
        graph: StorageGraph,
        budgets: npt.ArrayLike | None = None,
        scheme: Scheme = "independent",
        *,
        longest_chain: int | None = None,
        check: Callable[[], None] = nothing,
    ) -> Plan: ...


@dataclass(frozen=True, eq=False)
class Problem:
    """A graph, a budget for each snapshot, a scheme, and a bound on chains. Made by ``problem``."""

    graph: StorageGraph
    budgets: Costs
    scheme: Scheme
    longest_chain: int | None
    check: Callable[[], None]

    @property
    def deepest(self) -> int:
        """The most edges that may lie between the root and a matrix."""
        return self.graph.matrices if self.longest_chain is None else min(self.longest_chain + 1, self.graph.matrices)

    @property
    def bounded(self) -> bool:
        """Whether the bound on chains forbids anything."""
        return self.deepest < self.graph.matrices

    @cached_property
    def limits(self) -> Costs:
        """The budgets with room for rounding (snapshots,)."""
        return self.budgets * (1 + ROUNDING) + np.finfo(np.float64).tiny

    @cached_property
    def shortest(self) -> tuple[Costs, Ids]:
        """Distances and edges by node of the shortest path tree of least storage, chains unbounded."""
        return shortest_path_tree(self.graph, self.check)

    @cached_property
    def nearest(self) -> Costs:
        """The least distance of each node in any plan (matrices + 1,)."""
        return distances_within(self.graph, self.deepest) if self.bounded else self.shortest[0]

    @cached_property
    def least_recreation(self) -> Costs:
        """What no plan can fall below (snapshots,); under independent and parallel retrieval, with chains unbounded,
        the shortest path tree reaches it for all snapshots at once.
        """
        held = [self.nearest[members] for members in self.graph.snapshots]
        if self.scheme == "independent":
            return np.array([values.sum() for values in held], dtype=np.float64)
        return np.array([values.max(initial=0.0) for values in held], dtype=np.float64)

    def costs(self, edges: Ids) -> Costs:
        """The recreation cost of each snapshot (snapshots,) in the tree of these edges."""
        return checked_plan(self.graph, edges).recreation(self.scheme)

    def holds(self, edges: Ids) -> bool:
        """Whether the tree of these edges keeps every budget."""
        return bool((self.costs(edges) <= self.limits).all())

    def accept(self, edges: Ids, bound: float | None = None) -> Plan:
        """The plan of these edges, once all is checked. ``PlanOverBudget`` names the snapshot farthest over."""
        plan = checked_plan(self.graph, edges, longest_chain=self.longest_chain, bound=bound)
        costs = recreation_costs(self.graph, plan.distances, plan.parents, plan.edges, self.scheme)
        over = np.where(costs > self.limits, costs - self.budgets, 0.0)
        if over.any():
            worst = int(over.argmax())
            budget, cost = float(self.budgets[worst]), float(costs[worst])
            raise PlanOverBudget(worst, self.graph.names[worst], budget, cost, self.scheme)
        return plan


def problem(
    graph: StorageGraph,
    budgets: npt.ArrayLike | None,
    scheme: Scheme,
    longest_chain: int | None,
    check: Callable[[], None],
) -> Problem:
    """The problem, once checked: ``InvalidParameter``, ``BudgetTooSmall``."""
    if scheme not in get_args(Scheme):
        raise unknown("retrieval scheme", scheme, get_args(Scheme), kind=InvalidParameter)
    count = len(graph.snapshots)
    limits = np.full(count, np.inf) if budgets is None else np.array(budgets, dtype=np.float64)
    if limits.shape != (count,):
        raise InvalidParameter(f"budgets of shape {limits.shape} for {count} snapshots")
    if np.isnan(limits).any():
        name = graph.names[int(np.flatnonzero(np.isnan(limits))[0])]
        raise InvalidParameter(f"the budget of snapshot {name} is not a number")
    found = Problem(graph, limits, scheme, longest_chain, check)
    _check_chains(found)
    _check_budgets(found)
    return found


def _check_chains(found: Problem) -> None:
    if found.longest_chain is None:
        return
    if found.longest_chain < 0:
        raise InvalidParameter(f"a longest chain of {found.longest_chain} deltas", detail="It is 0 or more.")
    hops, _ = fewest_hops(found.graph)
    farthest = max(range(found.graph.matrices + 1), key=hops.__getitem__)
    if hops[farthest] > found.longest_chain + 1:
        raise InvalidParameter(
            f"matrix {farthest} needs a chain of {hops[farthest] - 1} deltas, allowed: {found.longest_chain}",
            hint="Allow longer chains, or add the edge that stores it whole.",
        )


def _check_budgets(found: Problem) -> None:
    finite = np.isfinite(found.budgets)
    if not finite.any() and not (found.budgets < 0).any():
        return
    short = np.flatnonzero(found.least_recreation > found.limits)
    if len(short):
        first = int(short[0])
        budget, least = float(found.budgets[first]), float(found.least_recreation[first])
        raise BudgetTooSmall(first, found.graph.names[first], budget, least, found.scheme)


def planner(edges: Callable[[Problem], Ids | tuple[Ids, float]]) -> Planner:
    """The planner that answers with these edges by node, and, where it proves one, a lower bound of the storage."""

    def plan(
        graph: StorageGraph,
        budgets: npt.ArrayLike | None = None,
        scheme: Scheme = "independent",
        *,
        longest_chain: int | None = None,
        check: Callable[[], None] = nothing,
    ) -> Plan:
        stated = problem(graph, budgets, scheme, longest_chain, check)
        found = edges(stated)
        return stated.accept(*found) if isinstance(found, tuple) else stated.accept(found)

    plan.__doc__ = edges.__doc__
    return plan


def cheapest_edges(graph: StorageGraph, source: int, by: Costs) -> list[int]:
    """For each node the edge from ``source`` to it that is least in ``by`` (edges,), or -1."""
    found = [-1] * (graph.matrices + 1)
    start, outgoing = graph.outgoing
    for edge in outgoing[start[source] : start[source + 1]]:
        held = found[int(graph.target[edge])]
        if held < 0 or by[edge] < by[held]:
            found[int(graph.target[edge])] = edge
    return found
