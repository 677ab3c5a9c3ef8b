"""Budgets as sums over groups of matrices: a snapshot, or under parallel retrieval each matrix alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from delc.archive.planning.graph import Costs, Ids
from delc.archive.planning.problem import Problem


@dataclass(frozen=True, eq=False)
class Groups:
    """The distances of each group's members must not sum to more than its limit.

    ``group`` and ``node`` (pairs,): who is in which; ``limits`` (groups,); ``of``: by node the groups that hold it.
    """

    group: Ids
    node: Ids
    limits: Costs
    of: list[list[int]]

    def loads(self, distances: Costs) -> Costs:
        """The sum of each group (groups,)."""
        found = np.bincount(self.group, weights=distances[self.node], minlength=len(self.limits))
        return found.astype(np.float64)

    def weights(self, prices: Costs) -> list[float]:
        """For each node what a unit of its distance costs at these prices (groups,)."""
        found: list[float] = np.bincount(self.node, weights=prices[self.group], minlength=len(self.of)).tolist()
        return found


def groups_of(problem: Problem) -> Groups:
    """The groups with a finite limit, for independent and parallel retrieval."""
    graph = problem.graph
    kept = [s for s in range(len(graph.snapshots)) if np.isfinite(problem.limits[s])]
    if problem.scheme == "parallel":
        limit = np.full(graph.matrices + 1, np.inf)
        for snapshot in kept:
            members = graph.snapshots[snapshot]
            limit[members] = np.minimum(limit[members], problem.limits[snapshot])
        node = np.flatnonzero(np.isfinite(limit))
        group, limits = np.arange(len(node)), limit[node]
    else:
        sizes = [len(graph.snapshots[s]) for s in kept]
        group = np.repeat(np.arange(len(kept)), sizes)
        node = np.concatenate([np.empty(0, np.int64), *(graph.snapshots[s] for s in kept)])
        limits = problem.limits[kept]
    of: list[list[int]] = [[] for _ in range(graph.matrices + 1)]
    for place, member in zip(group.tolist(), node.tolist(), strict=True):
        of[member].append(place)
    return Groups(group, node, limits, of)
