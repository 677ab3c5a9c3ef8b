"""Moves that lower storage plus priced recreation, under reusable retrieval."""

from __future__ import annotations

import numpy as np

from delc.archive.planning.graph import Costs, Ids
from delc.archive.planning.problem import Problem
from delc.archive.planning.reuse import Reuse
from delc.archive.planning.tree import Tree


class ReuseDescent:
    """As ``Descent``, with snapshots for groups; every edge is looked at on its own."""

    def __init__(self, problem: Problem, edges: Ids) -> None:
        self._problem = problem
        self._reuse = Reuse(Tree(problem.graph, edges))
        self._limits: list[float] = problem.limits.tolist()
        self._prices = [0.0] * len(self._limits)
        self._smallest = 1e-9 * float(problem.graph.storage[edges[1:]].mean() if len(edges) > 1 else 1.0)

    @property
    def tree(self) -> Tree:
        """The tree as it is."""
        return self._reuse.tree

    @property
    def limits(self) -> Costs:
        """The limit of each snapshot (snapshots,)."""
        return self._problem.limits

    def set_prices(self, prices: Costs) -> None:
        """Prices by snapshot, in storage per unit of recreation."""
        self._prices = prices.tolist()

    def loads(self) -> Costs:
        """The cost of each snapshot (snapshots,)."""
        return np.array(self._reuse.costs)

    def sweep(self, *, strict: bool) -> int:
        """The number of moves made. If ``strict``, none takes a snapshot over its limit."""
        self._reuse = Reuse(self.tree.copy())
        ranked = []
        for edge in range(len(self.tree.source)):
            if edge % 256 == 0:
                self._problem.check()
            change = self._change(edge, strict)
            if change < -self._smallest:
                ranked.append((change, edge))
        moved = 0
        for _, edge in sorted(ranked):
            self._problem.check()
            if self._change(edge, strict) < -self._smallest:
                self._reuse.move(edge)
                moved += 1
        return moved

    def _change(self, edge: int, strict: bool) -> float:
        """What the move adds to storage plus priced recreation; 0 where it is not allowed."""
        tree = self.tree
        node = tree.target[edge]
        if tree.edge[node] == edge or tree.is_under(tree.source[edge], node):
            return 0.0
        if self._problem.bounded and not tree.fits(edge, self._problem.deepest):
            return 0.0
        total = tree.storage[edge] - tree.storage[tree.edge[node]]
        for snapshot, change in self._reuse.changes(edge).items():
            if strict and change > 0 and self._reuse.costs[snapshot] + change > self._limits[snapshot]:
                return 0.0
            total += self._prices[snapshot] * change
        return total
