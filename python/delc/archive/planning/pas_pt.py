"""PAS-PT: a tree grown by cheap edges that every budget allows."""

from __future__ import annotations

import heapq
from typing import Protocol

from delc.archive.planning.chains import cut_chains
from delc.archive.planning.graph import ROOT, Ids
from delc.archive.planning.problem import Problem, cheapest_edges, planner
from delc.archive.planning.repair import repaired
from delc.archive.planning.reuse import Reuse
from delc.archive.planning.tree import NONE, Tree


def pas_pt(problem: Problem) -> Ids:
    """Prim's algorithm over storage, taking an edge only where the budgets of its target's snapshots still hold; Miao
    et al., ICDE 2017.

    What is not in the tree yet counts as stored whole. Nodes in the tree move to a new node where that takes less
    storage and recreation does not rise. What is left over in the end is stored whole, and broken budgets are mended by
    PAS-MT's swaps.
    """
    return repaired(problem, cut_chains(problem, _Growth(problem).run()))


plan = planner(pas_pt)


class _Account(Protocol):
    """What snapshots cost with the tree as it is and the other matrices whole."""

    def allows(self, edge: int) -> bool: ...
    def join(self, edge: int) -> None: ...
    def move(self, edge: int) -> bool: ...


class _Growth:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._tree = Tree(problem.graph, [NONE] * (problem.graph.matrices + 1))
        self._fast = cheapest_edges(problem.graph, ROOT, problem.graph.recreation)
        self._start, self._outgoing = problem.graph.outgoing
        self._heap: list[tuple[float, int]] = []
        self._account = self._new_account()

    def _new_account(self) -> _Account:
        nearest = self._problem.nearest.tolist()
        recreation = self._tree.recreation
        whole = [recreation[edge] if edge >= 0 else far for edge, far in zip(self._fast, nearest, strict=True)]
        whole[ROOT] = 0.0
        if self._problem.scheme == "reusable":
            return _Unions(self._problem, self._tree, whole)
        kind = _Sums if self._problem.scheme == "independent" else _Maxima
        return kind(self._problem, self._tree, whole)

    def run(self) -> Ids:
        tree = self._tree
        self._offer(ROOT)
        taken = 0
        while self._heap:
            _, edge = heapq.heappop(self._heap)
            node = tree.target[edge]
            if tree.edge[node] >= 0 or tree.depth[tree.source[edge]] >= self._problem.deepest:
                continue
            if self._account.allows(edge):
                self._account.join(edge)
                self._improve(node)
                self._offer(node)
            taken += 1
            if taken % 256 == 0:
                self._problem.check()
        self._add_left_over()
        return tree.edges

    def _offer(self, node: int) -> None:
        tree = self._tree
        for edge in self._outgoing[self._start[node] : self._start[node + 1]]:
            if tree.edge[tree.target[edge]] < 0:
                heapq.heappush(self._heap, (tree.storage[edge], edge))

    def _improve(self, source: int) -> None:
        """Moves nodes of the tree to the new node where that saves storage and costs no time."""
        tree = self._tree
        for edge in self._outgoing[self._start[source] : self._start[source + 1]]:
            node = tree.target[edge]
            if tree.edge[node] < 0 or tree.storage[edge] >= tree.storage[tree.edge[node]]:
                continue
            if tree.shift(edge) > 0 or tree.is_under(source, node):
                continue
            if self._problem.bounded and not tree.fits(edge, self._problem.deepest):
                continue
            self._account.move(edge)

    def _add_left_over(self) -> None:
        tree = self._tree
        _, shortest = self._problem.shortest
        for node in range(1, len(tree.edge)):
            path = []
            while node != ROOT and tree.edge[node] < 0:
                edge = self._fast[node]
                path.append(edge if edge >= 0 else int(shortest[node]))
                node = tree.source[path[-1]]
            for edge in reversed(path):
                tree.move(edge)


class _Sums:
    """Independent retrieval: the sum over a snapshot's members."""

    def __init__(self, problem: Problem, tree: Tree, whole: list[float]) -> None:
        self._tree, self._whole = tree, whole
        self._limits: list[float] = problem.limits.tolist()
        self._snapshots_of = problem.graph.snapshots_of
        self._cost = [sum(whole[member] for member in held.tolist()) for held in problem.graph.snapshots]

    def allows(self, edge: int) -> bool:
        node = self._tree.target[edge]
        change = self._tree.distance[self._tree.source[edge]] + self._tree.recreation[edge] - self._whole[node]
        return all(self._cost[s] + change <= self._limits[s] for s in self._snapshots_of[node])

    def join(self, edge: int) -> None:
        node = self._tree.target[edge]
        self._tree.move(edge)
        for snapshot in self._snapshots_of[node]:
            self._cost[snapshot] += self._tree.distance[node] - self._whole[node]

    def move(self, edge: int) -> bool:
        shift = self._tree.shift(edge)
        for member in self._tree.move(edge):
            for snapshot in self._snapshots_of[member]:
                self._cost[snapshot] += shift
        return True


class _Maxima:
    """Parallel retrieval: the number of members that are too far must be 0."""

    def __init__(self, problem: Problem, tree: Tree, whole: list[float]) -> None:
        self._tree, self._now = tree, list(whole)
        self._limits: list[float] = problem.limits.tolist()
        self._snapshots_of = problem.graph.snapshots_of
        self._far = [
            sum(whole[member] > limit for member in held.tolist())
            for held, limit in zip(problem.graph.snapshots, self._limits, strict=True)
        ]

    def allows(self, edge: int) -> bool:
        node = self._tree.target[edge]
        reached = self._tree.distance[self._tree.source[edge]] + self._tree.recreation[edge]
        return all(
            reached <= self._limits[s] and self._far[s] == (self._now[node] > self._limits[s])
            for s in self._snapshots_of[node]
        )

    def join(self, edge: int) -> None:
        self._tree.move(edge)
        self._settle([self._tree.target[edge]])

    def move(self, edge: int) -> bool:
        self._settle(self._tree.move(edge))
        return True

    def _settle(self, members: list[int]) -> None:
        for member in members:
            now = self._tree.distance[member]
            for snapshot in self._snapshots_of[member]:
                limit = self._limits[snapshot]
                self._far[snapshot] += (now > limit) - (self._now[member] > limit)
            self._now[member] = now


class _Unions:
    """Reusable retrieval: the Steiner tree of the members in the tree, and the others whole."""

    def __init__(self, problem: Problem, tree: Tree, whole: list[float]) -> None:
        self._tree, self._whole = tree, whole
        self._limits: list[float] = problem.limits.tolist()
        self._snapshots_of = problem.graph.snapshots_of
        self._reuse = Reuse(tree)
        self._left = [sum(whole[member] for member in held.tolist()) for held in problem.graph.snapshots]

    def allows(self, edge: int) -> bool:
        whole = self._whole[self._tree.target[edge]]
        return all(
            self._reuse.costs[s] + self._left[s] + change - whole <= self._limits[s]
            for s, change in self._reuse.changes(edge).items()
        )

    def join(self, edge: int) -> None:
        node = self._tree.target[edge]
        self._reuse.move(edge)
        for snapshot in self._snapshots_of[node]:
            self._left[snapshot] -= self._whole[node]

    def move(self, edge: int) -> bool:
        if max(self._reuse.changes(edge).values(), default=0.0) > 0:
            return False
        self._reuse.move(edge)
        return True
