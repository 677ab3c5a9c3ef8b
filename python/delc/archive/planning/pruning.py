"""Edges that no plan within the budgets can use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from delc.archive.planning.graph import ROOT
from delc.archive.planning.problem import ROUNDING, Problem


def useless_edges(problem: Problem) -> npt.NDArray[np.bool_]:
    """Marks edges (edges,) whose target, even by the shortest path to their source, would be too far for a snapshot
    that holds it with all its other members as near as can be; and edges that another of the same ends beats in both
    costs.
    """
    graph = problem.graph
    reached = problem.nearest[graph.source] + graph.recreation
    farthest = np.full(graph.matrices + 1, np.inf)
    for members, limit, least in zip(graph.snapshots, problem.limits, problem.least_recreation, strict=True):
        room = problem.nearest[members] + (limit - least) if problem.scheme == "independent" else limit
        farthest[members] = np.minimum(farthest[members], room * (1 + ROUNDING))
    return (reached > farthest[graph.target]) | _beaten(problem)


def _beaten(problem: Problem) -> npt.NDArray[np.bool_]:
    """Of parallel edges in order of storage, those that are not faster than all before them."""
    graph = problem.graph
    order = np.lexsort((graph.recreation, graph.storage, graph.target, graph.source))
    pair = graph.source[order] * (graph.matrices + 1) + graph.target[order]
    beaten = np.zeros(len(order), dtype=bool)
    if len(np.unique(pair)) == len(pair):
        return beaten
    fastest = np.inf
    last = ROOT - 1
    for place, edge in enumerate(order.tolist()):
        fastest = fastest if pair[place] == last else np.inf
        last = int(pair[place])
        beaten[edge] = graph.recreation[edge] >= fastest
        fastest = min(fastest, float(graph.recreation[edge]))
    return beaten
