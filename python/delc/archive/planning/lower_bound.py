"""Storage that no plan within the budgets can fall below."""

from __future__ import annotations

import numpy as np

from delc.archive.planning.arborescence import least_arborescence
from delc.archive.planning.graph import Costs, StorageGraph
from delc.archive.planning.groups import Groups
from delc.archive.planning.problem import Problem
from delc.archive.planning.pruning import useless_edges

SHARES = (0.0, 0.25, 0.5, 1.0)


def lower_bound(problem: Problem, groups: Groups | None, prices: Costs) -> float:
    """The best of several Lagrangian bounds, for shares of the given prices (groups,).

    At fixed prices a plan costs its storage plus the priced distances, less the priced limits. Taking every matrix's
    distance as the shortest one to its source plus the edge, which it cannot be below, leaves a least arborescence.
    Edges that no plan within the budgets can use are left out.
    """
    part, _ = problem.graph.without(useless_edges(problem))
    if groups is None or not prices.any():
        return _least(problem, part, part.storage)
    reached = problem.nearest[part.source] + part.recreation
    found = []
    for share in SHARES:
        problem.check()
        weight = np.array(groups.weights(prices * share))
        least = _least(problem, part, part.storage + weight[part.target] * reached)
        found.append(least - float((prices * share * groups.limits).sum()))
    return max(found)


def _least(problem: Problem, part: StorageGraph, costs: Costs) -> float:
    edges = least_arborescence(part.matrices, part.source, part.target, costs, problem.check)
    return float(costs[edges[1:]].sum())
