"""Every matrix stored whole."""

from __future__ import annotations

import numpy as np

from delc.archive.planning.graph import ROOT, Ids
from delc.archive.planning.problem import Problem, cheapest_edges, planner
from delc.server.errors import InvalidParameter


def whole(problem: Problem) -> Ids:
    """Stores each matrix by its edge from the root that takes least storage."""
    graph = problem.graph
    edges = np.array(cheapest_edges(graph, ROOT, graph.storage), dtype=np.int64)
    missing = np.flatnonzero(edges[1:] < 0) + 1
    if len(missing):
        raise InvalidParameter(
            f"matrix {missing[0]} cannot be stored whole", detail="No edge leads to it from the root."
        )
    return edges


plan = planner(whole)
