"""Snapshots' costs under reusable retrieval, kept while a tree changes."""

from __future__ import annotations

from delc.archive.planning.graph import ROOT
from delc.archive.planning.tree import Tree


class Reuse:
    """For each node the members of each snapshot at or under it, and for each snapshot the cost of its Steiner tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        graph = tree.graph
        self._held: list[dict[int, int]] = [dict.fromkeys(held, 1) for held in graph.snapshots_of]
        self.costs = [0.0] * len(graph.snapshots)
        for node in reversed(tree.preorder()[1:]):
            for snapshot, count in self._held[node].items():
                self.costs[snapshot] += tree.recreation[tree.edge[node]]
                above = self._held[tree.parent[node]]
                above[snapshot] = above.get(snapshot, 0) + count

    def changes(self, edge: int) -> dict[int, float]:
        """By how much each snapshot's cost would change if the edge's target moved to it. The target may hang nowhere;
        the source must not be under it.
        """
        tree = self.tree
        node = tree.target[edge]
        held, old = self._held[node], tree.edge[node]
        step = tree.recreation[edge] - (tree.recreation[old] if old >= 0 else 0.0)
        found = dict.fromkeys(held, step)
        left, joined = self._ways(node, tree.source[edge])
        for above in left:
            counts, cost = self._held[above], tree.recreation[tree.edge[above]]
            for snapshot, count in held.items():
                if counts[snapshot] == count:
                    found[snapshot] -= cost
        for above in joined:
            counts, cost = self._held[above], tree.recreation[tree.edge[above]]
            for snapshot in held:
                if snapshot not in counts:
                    found[snapshot] += cost
        return found

    def move(self, edge: int) -> None:
        """Moves the edge's target to it, in the tree too."""
        tree = self.tree
        node = tree.target[edge]
        for snapshot, change in self.changes(edge).items():
            self.costs[snapshot] += change
        left, joined = self._ways(node, tree.source[edge])
        for above in left:
            self._add(above, node, -1)
        for above in joined:
            self._add(above, node, 1)
        tree.move(edge)

    def _add(self, above: int, node: int, sign: int) -> None:
        counts = self._held[above]
        for snapshot, count in self._held[node].items():
            counts[snapshot] = counts.get(snapshot, 0) + sign * count
            if not counts[snapshot]:
                del counts[snapshot]

    def _ways(self, node: int, source: int) -> tuple[list[int], list[int]]:
        """The nodes above ``node`` that are not above or at ``source``, and the other way round."""
        parent, depth = self.tree.parent, self.tree.depth
        left: list[int] = []
        joined: list[int] = []
        above = max(parent[node], ROOT)
        while above != source:
            if depth[above] >= depth[source]:
                left.append(above)
                above = parent[above]
            else:
                joined.append(source)
                source = parent[source]
        return left, joined
