"""Our planner: budgets get prices, and a tree descends in storage plus priced recreation."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from delc.archive.planning.annealing import Account, Annealing
from delc.archive.planning.descent import Descent
from delc.archive.planning.graph import Costs, Ids
from delc.archive.planning.groups import Groups, groups_of
from delc.archive.planning.least_storage import least_storage
from delc.archive.planning.lower_bound import lower_bound
from delc.archive.planning.pas_mt import pas_mt
from delc.archive.planning.pas_pt import pas_pt
from delc.archive.planning.problem import Problem, planner
from delc.archive.planning.pruning import useless_edges
from delc.archive.planning.repair import repair
from delc.archive.planning.reuse import Reuse
from delc.archive.planning.reuse_descent import ReuseDescent
from delc.archive.planning.sums import Sums
from delc.archive.planning.tree import Tree

ROUNDS = 30
"""How often prices are set anew on the way from the tree of least storage."""

SWEEPS = 3
"""Sweeps after each change of prices."""

MOST_SWEEPS = 30
"""Sweeps at most where a tree is brought to rest."""

RANGE = 1e3
"""How far prices may move from where they began, as a factor either way."""

RELEASES = (1.0, 0.5, 0.2, 0.05, 1e-3)
"""With budgets kept, prices fall in these steps, so that room goes first to where it saves most."""

STEPS_PER_EDGE = 500
"""Steps of annealing for each edge and turn, if there are few enough edges."""

MOST_STEPS = 500_000
"""Steps in all turns together; graphs with too many edges for ``LEAST_STEPS_PER_EDGE`` are not annealed."""

LEAST_STEPS_PER_EDGE = 20
"""Fewer in a turn find nothing."""

TURNS = 20
"""How often it is begun again, each time from the best plan."""

HEATS = (1.0, 0.1, 1.0, 0.02)
"""First temperatures of the turns, in half the mean storage of an edge: from anywhere, or from near the best plan."""


def priced(problem: Problem) -> tuple[Ids, float]:
    """Lagrangian relaxation with local search, and the lower bound that the prices prove.

    Each budget has a price for passing it. From the tree of least storage, moves of subtrees lower storage plus
    recreation at these prices, while prices follow what is over and under its budget. Trees on the way are repaired by
    PAS-MT's swaps, and improved by moves that keep all budgets, while prices fall to nothing. PAS-MT's and PAS-PT's
    plans are improved alike, so the result never takes more storage than theirs. Small graphs are then annealed from
    the best plan. Deterministic.
    """
    search = _Search(problem)
    search.run()
    return search.best, lower_bound(problem, search.groups, search.prices)


plan = planner(priced)


class _Descending(Protocol):
    """What ``Descent`` and ``ReuseDescent`` have in common."""

    @property
    def tree(self) -> Tree: ...
    @property
    def limits(self) -> Costs: ...
    def set_prices(self, prices: Costs) -> None: ...
    def loads(self) -> Costs: ...
    def sweep(self, *, strict: bool) -> int: ...


class _Search:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.groups: Groups | None = None if problem.scheme == "reusable" else groups_of(problem)
        self._cheapest = least_storage(problem)
        starts = [pas_mt(problem), pas_pt(problem)]
        held = [edges for edges in starts if problem.holds(edges)]
        self.best = min(held or starts, key=self._storage)
        self._starts = held
        self.prices = self._first_prices()
        self._level = float(self.prices.max(initial=0.0))

    def _storage(self, edges: Ids) -> float:
        return float(self._problem.graph.storage[edges[1:]].sum())

    def _descent(self, edges: Ids) -> _Descending:
        if self.groups is None:
            return ReuseDescent(self._problem, edges)
        return Descent(self._problem, self.groups, edges)

    def _first_prices(self) -> Costs:
        """What the storage above the least buys in recreation, on average; above 0 for every limit that is finite."""
        descent = self._descent(self._cheapest)
        loads, limits = descent.loads(), descent.limits
        finite = np.isfinite(limits)
        over = float(np.maximum(loads[finite] - limits[finite], 0.0).sum()) or float(loads[finite].sum()) or 1.0
        least = self._storage(self._cheapest)
        paid = max(self._storage(self.best) - least, least / self._problem.graph.matrices)
        return np.full(len(limits), paid / over) * _ratios(loads, limits) ** 4

    def run(self) -> None:
        if not self._problem.bounded and self._problem.holds(self._cheapest):
            self.best, self.prices = self._cheapest, np.zeros_like(self.prices)
            return
        self._follow_prices()
        for edges in self._starts:
            self._improve(edges)
        self._anneal()

    def _follow_prices(self) -> None:
        descent = self._descent(self._cheapest)
        for turn in range(ROUNDS):
            descent.set_prices(self.prices)
            for _ in range(SWEEPS):
                if not descent.sweep(strict=False):
                    break
            if turn >= ROUNDS // 2 and turn % 5 == 4:
                self._harvest(descent.tree.edges)
            self._adjust(descent, 4.0 / (1 + turn / 6))

    def _adjust(self, descent: _Descending, power: float) -> None:
        prices = self.prices * _ratios(descent.loads(), descent.limits) ** power
        self.prices = np.where(prices > 0, np.clip(prices, self._level / RANGE, self._level * RANGE), 0.0)

    def _harvest(self, edges: Ids) -> None:
        tree = Tree(self._problem.graph, edges)
        if repair(self._problem, tree):
            self._improve(tree.edges)

    def _improve(self, edges: Ids) -> None:
        """Lets a plan within its budgets descend, and keeps what is best on the way."""
        self._keep(edges)
        descent = self._descent(edges)
        for share in RELEASES:
            descent.set_prices(self.prices * share)
            for _ in range(MOST_SWEEPS):
                if not descent.sweep(strict=True):
                    break
            self._keep(descent.tree.edges)

    def _keep(self, edges: Ids) -> None:
        better = self._storage(edges) < self._storage(self.best) or not self._problem.holds(self.best)
        if better and self._problem.holds(edges):
            self.best = edges

    def _anneal(self) -> None:
        edges = np.flatnonzero(~useless_edges(self._problem)).tolist()
        steps = min(STEPS_PER_EDGE * len(edges), MOST_STEPS // TURNS)
        if steps < LEAST_STEPS_PER_EDGE * len(edges):
            return
        temperature = float(self._problem.graph.storage[edges].mean()) / 2
        for turn in range(TURNS):
            account = self._account(self.best)
            walk = Annealing(self._problem, account, self._descent(self.best).limits.tolist(), self.prices.tolist())
            found = walk.run(edges, steps, temperature * HEATS[turn % len(HEATS)], turn)
            if found is not None:
                self._improve(found)

    def _account(self, edges: Ids) -> Account:
        tree = Tree(self._problem.graph, edges)
        return Reuse(tree) if self.groups is None else Sums(self.groups, tree)


def _ratios(loads: Costs, limits: Costs) -> Costs:
    """Load over limit, kept between a half and two; 0 where there is no limit."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.where(limits > 0, loads / limits, 2.0)
    return np.where(np.isfinite(limits), np.clip(ratios, 0.5, 2.0), 0.0)
