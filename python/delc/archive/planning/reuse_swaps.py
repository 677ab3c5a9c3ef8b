"""Swaps until every budget is kept under reusable retrieval."""

from __future__ import annotations

import math

from delc.archive.planning.problem import Problem
from delc.archive.planning.reuse import Reuse

LEAST_SHARE = 1e-12


def mend_reusable(problem: Problem, reuse: Reuse) -> bool:
    """Whether all budgets are kept in the end.

    Sweeps over all edges, best gain / cost first, where the gain is by how much the broken budgets are broken less; a
    swap that breaks another is not made. (Ours: the paper leaves this scheme's gain open.)
    """
    limits: list[float] = problem.limits.tolist()
    while any(cost > limit for cost, limit in zip(reuse.costs, limits, strict=True)):
        ranked = []
        for edge in range(len(reuse.tree.source)):
            if edge % 256 == 0:
                problem.check()
            gain = _gain(problem, reuse, limits, edge)
            if gain > 0:
                ranked.append((-_rate(reuse, edge, gain), edge))
        moved = False
        for _, edge in sorted(ranked):
            problem.check()
            if _gain(problem, reuse, limits, edge) > 0:
                reuse.move(edge)
                moved = True
        if not moved:
            return False
    return True


def _rate(reuse: Reuse, edge: int, gain: float) -> float:
    tree = reuse.tree
    cost = tree.storage[edge] - tree.storage[tree.edge[tree.target[edge]]]
    return gain / cost if cost > 0 else math.inf


def _gain(problem: Problem, reuse: Reuse, limits: list[float], edge: int) -> float:
    """By how much the swap lowers what broken budgets are over; -1 where it cannot be made or breaks another."""
    tree = reuse.tree
    node = tree.target[edge]
    if tree.edge[node] == edge or tree.is_under(tree.source[edge], node):
        return -1.0
    if problem.bounded and not tree.fits(edge, problem.deepest):
        return -1.0
    gain, least = 0.0, 0.0
    for snapshot, change in reuse.changes(edge).items():
        cost, limit = reuse.costs[snapshot], limits[snapshot]
        if cost <= limit < cost + change:
            return -1.0
        if cost > limit:
            gain += cost - max(cost + change, limit)
            least += cost * LEAST_SHARE
    return gain if gain > least else -1.0
