"""PAS-MT's swaps: storage for speed, until every budget is kept.

Miao et al., ICDE 2017, section IV-C. As published, all gains are computed anew for each swap, which is quadratic; here
a swap changes only what depends on it.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from delc.archive.planning.graph import ROOT
from delc.archive.planning.problem import Problem
from delc.archive.planning.tree import Tree

LEAST_SHARE = 1e-12
"""A gain below this share of a distance is rounding."""


class Swaps:
    """Swaps in a tree, for independent and parallel retrieval.

    The gain of moving node v over edge (u, v) is its ``rise`` dist(v) − dist(u) − cr, which no node under v can have,
    times the count of what would gain at or under v: pairs of a broken snapshot and its member, or under parallel
    retrieval broken snapshots. So a node's best edge does not depend on the count, and the heap holds one key for each
    node: best rate (rise / cost) times count. Keys in the heap may be too high, never too low; they are looked at again
    when taken.
    """

    def __init__(self, problem: Problem, tree: Tree) -> None:
        self._problem, self._tree = problem, tree
        self._start, self._incoming = problem.graph.incoming
        self._start_out, self._outgoing = problem.graph.outgoing
        self._limits: list[float] = problem.limits.tolist()
        self._parallel = problem.scheme == "parallel"
        self._snapshots_of = problem.graph.snapshots_of
        self._load = self._loads()
        self._broken = [self._is_broken(snapshot) for snapshot in range(len(self._load))]
        nodes = len(tree.edge)
        self._pairs = [0] * nodes
        self._distinct = [-1] * nodes
        self._rate = [0.0] * nodes
        self._best = [-1] * nodes
        self._heap: list[tuple[float, int]] = []

    def _loads(self) -> list[float]:
        """By snapshot: its cost, or under parallel retrieval the number of its members that are too far."""
        distance = np.array(self._tree.distance)
        held = self._problem.graph.snapshots
        if self._parallel:
            return [float((distance[m] > limit).sum()) for m, limit in zip(held, self._limits, strict=True)]
        return [float(distance[members].sum()) for members in held]

    def _is_broken(self, snapshot: int) -> bool:
        return self._load[snapshot] > (0.0 if self._parallel else self._limits[snapshot])

    def run(self) -> bool:
        """Swaps until no budget is broken (True) or nothing gains (False)."""
        left = sum(self._broken)
        if not left:
            return True
        self._count_pairs()
        for node in range(1, len(self._tree.edge)):
            self._look_at(node)
        swaps = 0
        while self._heap and left:
            key, node = heapq.heappop(self._heap)
            if not self._is_due(-key, node):
                continue
            left -= self._swap(node)
            swaps += 1
            if swaps % 256 == 0:
                self._problem.check()
        self._tree.refresh()
        return not left

    def _count_pairs(self) -> None:
        for node, held in enumerate(self._snapshots_of):
            self._pairs[node] = sum(self._broken[snapshot] for snapshot in held)
        for node in reversed(self._tree.preorder()[1:]):
            self._pairs[self._tree.parent[node]] += self._pairs[node]

    def _look_at(self, node: int) -> None:
        """Finds the best edge into ``node`` and puts it into the heap."""
        tree = self._tree
        source, storage, recreation, distance = tree.source, tree.storage, tree.recreation, tree.distance
        here = distance[node]
        stored, least = storage[tree.edge[node]], here * LEAST_SHARE
        height = tree.height(node) if self._problem.bounded else 0
        deepest = self._problem.deepest - 1 - height
        rate, best, highest = 0.0, -1, 0.0
        for edge in self._incoming[self._start[node] : self._start[node + 1]]:
            rise = here - distance[source[edge]] - recreation[edge]
            if rise <= least or tree.depth[source[edge]] > deepest:
                continue
            cost = storage[edge] - stored
            value = rise / cost if cost > 0 else math.inf
            if value > rate or (value == rate and rise > highest):
                rate, best, highest = value, edge, rise
        self._rate[node], self._best[node] = rate, best
        self._push(node)

    def _push(self, node: int) -> None:
        key = self._key(node)
        if key > 0:
            heapq.heappush(self._heap, (-key, node))

    def _key(self, node: int) -> float:
        count = self._distinct[node] if self._distinct[node] >= 0 else self._pairs[node]
        return self._rate[node] * count if count else 0.0

    def _is_due(self, key: float, node: int) -> bool:
        """Whether ``node`` still has this key; if not, its present one goes into the heap."""
        if self._parallel and self._distinct[node] < 0 and self._pairs[node]:
            self._distinct[node] = self._count_distinct(node)
        if self._key(node) < key:
            self._push(node)
            return False
        if not self._key(node):
            return False
        if self._problem.bounded and not self._tree.fits(self._best[node], self._problem.deepest):
            self._look_at(node)
            return False
        return True

    def _count_distinct(self, node: int) -> int:
        under = self._tree.under(node)
        return len({s for member in under for s in self._snapshots_of[member] if self._broken[s]})

    def _swap(self, node: int) -> int:
        """Does the best swap of ``node``; returns how many snapshots it mended."""
        tree = self._tree
        edge, pairs = self._best[node], self._pairs[node]
        self._add_above(tree.parent[node], -pairs)
        before = [tree.distance[member] for member in moved] if (moved := tree.under(node)) and self._parallel else []
        shift = tree.shift(edge)
        tree.move(edge)
        self._add_above(tree.parent[node], pairs)
        mended = self._lower_far(moved, before) if self._parallel else self._lower(moved, shift)
        for snapshot in mended:
            self._mend(snapshot)
        for member in moved:
            self._look_at(member)
        self._look_beyond(moved)
        return len(mended)

    def _add_above(self, node: int, pairs: int) -> None:
        while node > ROOT:
            self._pairs[node] += pairs
            self._distinct[node] = -1
            if pairs > 0:
                self._push(node)
            node = self._tree.parent[node]

    def _lower(self, moved: list[int], shift: float) -> list[int]:
        touched = set()
        for member in moved:
            for snapshot in self._snapshots_of[member]:
                self._load[snapshot] += shift
                touched.add(snapshot)
        return self._mended(touched)

    def _lower_far(self, moved: list[int], before: list[float]) -> list[int]:
        touched = set()
        for member, far in zip(moved, before, strict=True):
            for snapshot in self._snapshots_of[member]:
                if far > self._limits[snapshot] >= self._tree.distance[member]:
                    self._load[snapshot] -= 1
                    touched.add(snapshot)
        return self._mended(touched)

    def _mended(self, touched: set[int]) -> list[int]:
        return [s for s in sorted(touched) if self._broken[s] and not self._is_broken(s)]

    def _mend(self, snapshot: int) -> None:
        self._broken[snapshot] = False
        for node in self._problem.graph.snapshots[snapshot].tolist():
            while node > ROOT:
                self._pairs[node] -= 1
                self._distinct[node] = -1
                node = self._tree.parent[node]

    def _look_beyond(self, moved: list[int]) -> None:
        """Edges out of the moved subtree have become faster: one of them may now be its target's best."""
        tree = self._tree
        target, storage, recreation, distance = tree.target, tree.storage, tree.recreation, tree.distance
        inside = set(moved)
        for member in moved:
            for edge in self._outgoing[self._start_out[member] : self._start_out[member + 1]]:
                node = target[edge]
                rise = distance[node] - distance[member] - recreation[edge]
                if rise <= distance[node] * LEAST_SHARE or node in inside:
                    continue
                cost = storage[edge] - storage[tree.edge[node]]
                if cost <= 0 or rise > self._rate[node] * cost:
                    self._look_at(node)


def take_shortest_paths(problem: Problem, tree: Tree) -> None:
    """Gives the members of broken snapshots their shortest paths; no distance rises. (Ours: where no swap gains, the
    published algorithm ends with its budgets broken.)
    """
    distances, edges = problem.shortest
    for snapshot in np.flatnonzero(problem.costs(tree.edges) > problem.limits).tolist():
        for member in problem.graph.snapshots[snapshot].tolist():
            path, node = [], member
            while node != ROOT and tree.distance[node] > distances[node]:
                path.append(int(edges[node]))
                node = tree.source[path[-1]]
            for edge in reversed(path):
                if tree.edge[tree.target[edge]] != edge:
                    tree.move(edge)
    tree.refresh()
