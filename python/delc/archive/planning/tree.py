"""A spanning tree that planners change move by move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from delc.archive.planning.graph import ROOT, Ids, StorageGraph

NONE = -1


class Tree:
    """By node: the edge into it, the node above, the nodes below, the distance and the number of edges from the root.

    A node whose edge is -1 hangs nowhere (yet); the root is node 0.
    """

    def __init__(self, graph: StorageGraph, edges: Sequence[int] | Ids) -> None:
        self.graph = graph
        self.source, self.target, self.storage, self.recreation = graph.lists
        self.edge: list[int] = np.asarray(edges, dtype=np.int64).tolist()
        self.edge[ROOT] = NONE
        self.parent = [self.source[edge] if edge >= 0 else NONE for edge in self.edge]
        self.below: list[set[int]] = [set() for _ in self.edge]
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                self.below[parent].add(node)
        self.distance = [0.0] * len(self.edge)
        self.depth = [0] * len(self.edge)
        self.refresh()

    @property
    def edges(self) -> Ids:
        """The edge into each node (matrices + 1,)."""
        return np.array(self.edge, dtype=np.int64)

    @property
    def total(self) -> float:
        """What all matrices of the tree take."""
        return sum(self.storage[edge] for edge in self.edge if edge >= 0)

    def copy(self) -> Tree:
        """A tree of its own with the same edges."""
        return Tree(self.graph, self.edge)

    def refresh(self) -> None:
        """Distances anew from the edges, without the rounding of moves."""
        for node in self.preorder()[1:]:
            parent = self.parent[node]
            self.distance[node] = self.distance[parent] + self.recreation[self.edge[node]]
            self.depth[node] = self.depth[parent] + 1

    def preorder(self, top: int = ROOT) -> list[int]:
        """``top`` and everything under it, each subtree in one piece."""
        below = self.below
        order: list[int] = []
        stack = [top]
        while stack:
            node = stack.pop()
            order.append(node)
            stack.extend(below[node])
        return order

    def under(self, top: int) -> list[int]:
        """``top`` and everything under it, nearest first."""
        below = self.below
        found = [top]
        for node in found:
            if below[node]:
                found.extend(below[node])
        return found

    def is_under(self, node: int, top: int) -> bool:
        """Whether ``node`` is ``top`` or under it."""
        parent, least = self.parent, self.depth[top]
        while node > ROOT and self.depth[node] > least:
            node = parent[node]
        return node == top

    def height(self, top: int) -> int:
        """The number of edges between ``top`` and the deepest node under it."""
        return max(self.depth[node] for node in self.under(top)) - self.depth[top]

    def shift(self, edge: int) -> float:
        """By how much the distances in the subtree of the edge's target change if the edge takes over."""
        target = self.target[edge]
        return self.distance[self.source[edge]] + self.recreation[edge] - self.distance[target]

    def move(self, edge: int) -> list[int]:
        """Hangs the subtree of the edge's target under its source, and returns the subtree's nodes.

        The source must not lie in the subtree.
        """
        node, parent = self.target[edge], self.source[edge]
        if self.parent[node] >= 0:
            self.below[self.parent[node]].discard(node)
        shift = self.shift(edge)
        deeper = self.depth[parent] + 1 - self.depth[node]
        self.below[parent].add(node)
        self.parent[node] = parent
        self.edge[node] = edge
        moved = self.under(node)
        distance, depth = self.distance, self.depth
        for member in moved:
            distance[member] += shift
        if deeper:
            for member in moved:
                depth[member] += deeper
        return moved

    def fits(self, edge: int, deepest: int) -> bool:
        """Whether moving to ``edge`` keeps every node within ``deepest`` edges of the root."""
        return self.depth[self.source[edge]] + 1 + self.height(self.target[edge]) <= deepest
