"""Simulated annealing over plans, for graphs small enough that it looks at each edge many times."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Protocol

from delc.archive.planning.graph import Ids
from delc.archive.planning.problem import Problem
from delc.archive.planning.tree import Tree

PERIOD = 64
"""Steps between changes of the prices for passing budgets."""

COOLING = 300.0
"""The first temperature in the last."""


class Account(Protocol):
    """What ``Sums`` and ``Reuse`` have in common."""

    tree: Tree
    costs: list[float]

    def changes(self, edge: int) -> dict[int, float]: ...
    def move(self, edge: int) -> None: ...


class Annealing:
    """Kirkpatrick, Gelatt, Vecchi (1983), on storage plus priced excess over the budgets.

    A step moves one subtree to an edge drawn at random. The prices rise while a budget is broken and fall while it is
    kept, so that the walk goes along the border of what is allowed.
    """

    def __init__(self, problem: Problem, account: Account, limits: Sequence[float], prices: Sequence[float]) -> None:
        self._problem, self._account = problem, account
        self._limits, self._prices = limits, list(prices)
        self._over = [cost > limit for cost, limit in zip(account.costs, limits, strict=True)]
        self._total = account.tree.total
        self.best: list[int] | None = None
        self.least = math.inf

    def run(self, edges: Sequence[int], steps: int, temperature: float, seed: int) -> Ids | None:
        """The plan of least storage met that keeps all budgets, or None if there was none. Draws from ``edges``."""
        draw = random.Random(seed)
        cooling = COOLING ** (-1.0 / max(steps, 1))
        for step in range(steps):
            if step % PERIOD == 0:
                self._problem.check()
                self._adjust()
            temperature *= cooling
            edge = edges[int(draw.random() * len(edges))]
            if self._possible(edge):
                self._step(edge, -temperature * math.log(1.0 - draw.random()))
        return None if self.best is None else Tree(self._account.tree.graph, self.best).edges

    def _possible(self, edge: int) -> bool:
        tree = self._account.tree
        node = tree.target[edge]
        if tree.edge[node] == edge or tree.is_under(tree.source[edge], node):
            return False
        return not self._problem.bounded or tree.fits(edge, self._problem.deepest)

    def _step(self, edge: int, allowed: float) -> None:
        """Moves if storage plus priced excess rises by no more than ``allowed``."""
        account, tree = self._account, self._account.tree
        saved = tree.storage[tree.edge[tree.target[edge]]] - tree.storage[edge]
        rise = -saved
        changes = account.changes(edge)
        for group, change in changes.items():
            cost, limit = account.costs[group], self._limits[group]
            rise += self._prices[group] * (max(cost + change - limit, 0.0) - max(cost - limit, 0.0))
        if rise > allowed:
            return
        account.move(edge)
        self._total -= saved
        for group in changes:
            self._over[group] = account.costs[group] > self._limits[group]
        if self._total < self.least and not any(self._over):
            self.least = self._total
            self.best = list(tree.edge)

    def _adjust(self) -> None:
        for group, over in enumerate(self._over):
            self._prices[group] *= 1.2 if over else 0.9
