"""LAST: a tree between least storage and shortest paths."""

from __future__ import annotations

import numpy as np

from delc.archive.planning.chains import shortest_tree_within
from delc.archive.planning.graph import ROOT, Costs, Ids
from delc.archive.planning.least_storage import least_storage
from delc.archive.planning.problem import Problem, planner
from delc.archive.planning.tree import Tree

STRETCHES = 24
"""How many stretches are tried between the shortest paths and the longest path of the tree of least storage."""


def last(problem: Problem) -> Ids:
    """The best within the budgets of the LASTs of several stretches; Khuller, Raghavachari, Young, "Balancing Minimum
    Spanning Trees and Shortest-Path Trees", Algorithmica 14, 1995.
    """
    found = shortest_tree_within(problem)
    base, (_, shortest_edges) = least_storage(problem), problem.shortest
    distances = problem.shortest[0]
    for stretch in _stretches(problem, base, distances):
        problem.check()
        edges = last_of_stretch(problem, base, distances, shortest_edges, stretch)
        fits = not problem.bounded or max(Tree(problem.graph, edges).depth) <= problem.deepest
        storage = problem.graph.storage
        if fits and storage[edges[1:]].sum() < storage[found[1:]].sum() and problem.holds(edges):
            found = edges
    return found


plan = planner(last)


def _stretches(problem: Problem, base: Ids, distances: Costs) -> list[float]:
    """1 … the largest stretch of ``base``, in equal ratios."""
    far = np.array(Tree(problem.graph, base).distance)
    known = distances > 0
    most = float((far[known] / distances[known]).max(initial=1.0))
    return [*np.geomspace(1.0, max(most, 1.0), STRETCHES).tolist(), np.inf]


def last_of_stretch(problem: Problem, base: Ids, distances: Costs, shortest: Ids, stretch: float) -> Ids:
    """The tree in which no matrix is farther than ``stretch`` times its shortest distance.

    Walks the tree ``base`` depth first, both ways; a matrix that is too far gets its shortest path. For directed graphs
    the way up is taken only where an edge leads up.
    """
    walk = _Walk(problem, base, distances.tolist(), shortest.tolist(), stretch)
    walk.run()
    return np.array(walk.edge, dtype=np.int64)


class _Walk:
    def __init__(self, problem: Problem, base: Ids, shortest: list[float], edges: list[int], stretch: float) -> None:
        self._tree = Tree(problem.graph, base)
        self._up = _edges_up(problem, self._tree)
        self._shortest, self._shortest_edges = shortest, edges
        self._stretch = stretch
        self._far = [0.0] + [np.inf] * problem.graph.matrices
        self.edge = [-1] * (problem.graph.matrices + 1)

    def run(self) -> None:
        tree = self._tree
        stack = [(ROOT, iter(sorted(tree.below[ROOT])))]
        while stack:
            node, children = stack[-1]
            child = next(children, None)
            if child is not None:
                self._enter(child)
                stack.append((child, iter(sorted(tree.below[child]))))
                continue
            stack.pop()
            if self._up[node] >= 0:
                self._relax(self._up[node])

    def _enter(self, node: int) -> None:
        self._relax(self._tree.edge[node])
        if self._far[node] > self._stretch * self._shortest[node]:
            path = []
            while self._far[node] > self._shortest[node]:
                path.append(self._shortest_edges[node])
                node = self._tree.source[path[-1]]
            for edge in reversed(path):
                self._relax(edge)

    def _relax(self, edge: int) -> None:
        tree = self._tree
        far = self._far[tree.source[edge]] + tree.recreation[edge]
        if far < self._far[tree.target[edge]]:
            self._far[tree.target[edge]] = far
            self.edge[tree.target[edge]] = edge


def _edges_up(problem: Problem, tree: Tree) -> list[int]:
    """For each node the fastest edge to the node above it, or -1."""
    found = [-1] * len(tree.parent)
    for edge, source in enumerate(tree.source):
        if source != ROOT and tree.parent[source] == tree.target[edge]:
            held = found[source]
            if held < 0 or tree.recreation[edge] < tree.recreation[held]:
                found[source] = edge
    problem.check()
    return found
