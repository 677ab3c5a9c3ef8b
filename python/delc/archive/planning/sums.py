"""Groups' costs under independent and parallel retrieval, kept while a tree changes."""

from __future__ import annotations

from delc.archive.planning.groups import Groups
from delc.archive.planning.tree import Tree


class Sums:
    """For each group the sum of its members' distances; the counterpart of ``Reuse``."""

    def __init__(self, groups: Groups, tree: Tree) -> None:
        self.tree = tree
        self._of = groups.of
        self.costs = [0.0] * len(groups.limits)
        for node, held in enumerate(groups.of):
            for group in held:
                self.costs[group] += tree.distance[node]

    def changes(self, edge: int) -> dict[int, float]:
        """By how much each group's cost would change if the edge's target, with all under it, moved to the edge."""
        tree, of = self.tree, self._of
        shift = tree.shift(edge)
        found: dict[int, float] = {}
        for member in tree.under(tree.target[edge]):
            for group in of[member]:
                found[group] = found.get(group, 0.0) + shift
        return found

    def move(self, edge: int) -> None:
        """Moves the edge's target to it, in the tree too."""
        for group, change in self.changes(edge).items():
            self.costs[group] += change
        self.tree.move(edge)
