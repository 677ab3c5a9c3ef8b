"""The minimum spanning tree: least storage, whatever recreation costs."""

from __future__ import annotations

from delc.archive.planning.arborescence import least_arborescence
from delc.archive.planning.chains import cut_chains
from delc.archive.planning.graph import Ids
from delc.archive.planning.problem import Problem, planner


def least_storage(problem: Problem) -> Ids:
    """The spanning tree of least storage (MST), exact for directed graphs; its chains are then cut where they are too
    long.
    """
    graph = problem.graph
    edges = least_arborescence(graph.matrices, graph.source, graph.target, graph.storage, problem.check)
    return cut_chains(problem, edges)


plan = planner(least_storage)
