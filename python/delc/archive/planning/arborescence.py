"""The spanning tree of least cost of a directed graph, rooted in node 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from delc.archive.planning.graph import ROOT, Costs, Ids


def least_arborescence(
    nodes: int, source: Ids, target: Ids, cost: Costs, check: Callable[[], None] = lambda: None
) -> Ids:
    """For each of the nodes 1 … ``nodes`` the edge into it of the exact optimum (nodes + 1,); -1 for node 0.

    The algorithm of Chu, Liu (1965) and Edmonds (1967) with mergeable heaps as in Tarjan (1977), and the rings kept as
    a forest from which the edges are read at the end (Camerini et al. 1979): O(E log N). Every node must be reachable.
    """
    work = _Contraction(nodes, source, target, cost)
    for node in range(1, nodes + 1):
        if node % 1024 == 0:
            check()
        work.grow(node)
    return work.edges()


class _Contraction:
    """Follows cheapest edges backwards from each node until the root's tree is met; rings on the way become one node.

    The edges into a node are a skew heap whose nodes are the edges themselves. ``_change`` at a heap's node is added to
    the costs of the edges below and at it, and is handed down when the node is looked at.
    """

    def __init__(self, nodes: int, source: Ids, target: Ids, cost: Costs) -> None:
        self._nodes = nodes
        self._source: list[int] = source.tolist()
        self._target: list[int] = target.tolist()
        self._cost: list[float] = cost.tolist()
        self._change = [0.0] * len(self._cost)
        self._right = [-1] * len(self._cost)
        self._left = [-1] * len(self._cost)
        self._heap = [-1] * (nodes + 1)
        self._order_edges(target, cost)
        self._group = list(range(nodes + 1))
        self._ring_of = [-1] * (nodes + 1)
        self._entering = [-1] * (nodes + 1)
        self._done = [False] * (nodes + 1)
        self._done[ROOT] = True

    def _order_edges(self, target: Ids, cost: Costs) -> None:
        """Each node's heap begins as a path down the left, cheapest first; merging then needs no building."""
        order = np.lexsort((np.arange(len(cost)), cost, target))
        ordered = target[order]
        same = ordered[:-1] == ordered[1:]
        left = np.full(len(cost), -1, dtype=np.int64)
        left[order[:-1][same]] = order[1:][same]
        self._left = left.tolist()
        first = np.flatnonzero(np.concatenate([[True], ~same])) if len(order) else np.empty(0, dtype=np.int64)
        for edge in order[first].tolist():
            self._heap[self._target[edge]] = edge

    def grow(self, node: int) -> None:
        """Joins ``node`` to the tree of the root, with all nodes on the way."""
        path: list[int] = []
        on_path: set[int] = set()
        at = self._find(node)
        while not self._done[at]:
            path.append(at)
            on_path.add(at)
            edge = self._take_cheapest(at)
            self._entering[at] = edge
            at = self._find(self._source[edge])
            if at in on_path:
                at = self._contract(path, on_path, at)
        for member in path:
            self._done[member] = True

    def _contract(self, path: list[int], on_path: set[int], first: int) -> int:
        """Makes one node of the end of ``path`` from ``first`` on; it costs what its entering edge saves."""
        ring = len(self._group)
        self._group.append(ring)
        self._ring_of.append(-1)
        self._entering.append(-1)
        self._done.append(False)
        heap = -1
        while True:
            member = path.pop()
            on_path.discard(member)
            top = self._heap[member]
            if top >= 0:
                self._add(top, -self._cost[self._entering[member]])
                heap = self._merge(heap, top)
            self._group[member] = ring
            self._ring_of[member] = ring
            if member == first:
                break
        self._heap.append(heap)
        return ring

    def _take_cheapest(self, node: int) -> int:
        """Removes the cheapest edge that enters from elsewhere; ``_cost`` then holds its cost less what it replaces."""
        top = self._heap[node]
        while self._find(self._source[top]) == node:
            self._hand_down(top)
            top = self._merge(self._left[top], self._right[top])
        self._hand_down(top)
        self._heap[node] = self._merge(self._left[top], self._right[top])
        return top

    def _add(self, edge: int, change: float) -> None:
        self._cost[edge] += change
        self._change[edge] += change

    def _hand_down(self, edge: int) -> None:
        change = self._change[edge]
        if change:
            self._change[edge] = 0.0
            for below in (self._left[edge], self._right[edge]):
                if below >= 0:
                    self._cost[below] += change
                    self._change[below] += change

    def _merge(self, first: int, second: int) -> int:
        """One skew heap of two: their right paths in order of cost (then of id), children swapped on the way."""
        cost, left, right = self._cost, self._left, self._right
        path = []
        while first >= 0 and second >= 0:
            if cost[second] < cost[first] or (cost[second] == cost[first] and second < first):
                first, second = second, first
            self._hand_down(first)
            path.append(first)
            first = right[first]
        merged = first if first >= 0 else second
        for edge in reversed(path):
            right[edge] = left[edge]
            left[edge] = merged
            merged = edge
        return merged

    def _find(self, node: int) -> int:
        group = self._group
        while group[node] != node:
            group[node] = group[group[node]]
            node = group[node]
        return node

    def edges(self) -> Ids:
        """Opens the rings, the last one first: its entering edge replaces the one of the member that it leads to."""
        entering, ring_of = self._entering, self._ring_of
        opened = [False] * len(entering)
        for ring in range(len(entering) - 1, self._nodes, -1):
            if opened[ring]:
                continue
            edge = entering[ring]
            node = self._target[edge]
            while node != ring:
                entering[node] = edge
                if node > self._nodes:
                    opened[node] = True
                node = ring_of[node]
        return np.array([-1, *entering[1 : self._nodes + 1]], dtype=np.int64)
