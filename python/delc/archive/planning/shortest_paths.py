"""The shortest path tree: every matrix as fast to recreate as can be."""

from __future__ import annotations

from delc.archive.planning.chains import shortest_tree_within
from delc.archive.planning.graph import Ids
from delc.archive.planning.problem import Problem, planner


def shortest_paths(problem: Problem) -> Ids:
    """The shortest path tree (SPT); among several the one of least storage."""
    return shortest_tree_within(problem)


plan = planner(shortest_paths)
