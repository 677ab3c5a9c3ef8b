"""Moves that lower storage plus priced recreation, for budgets that are sums of distances."""

from __future__ import annotations

import numpy as np

from delc.archive.planning.graph import ROOT, Costs, Ids
from delc.archive.planning.groups import Groups
from delc.archive.planning.problem import Problem
from delc.archive.planning.tree import Tree


class Descent:
    """A tree on its way down. What a move of node v changes is storage(new) − storage(old) + weight under v × shift,
    where the weight of a node is the sum of its groups' prices.

    A sweep finds all edges that gain with arrays over all edges, then makes the moves one by one, largest gain first,
    each looked at again with what the moves before it have changed.
    """

    def __init__(self, problem: Problem, groups: Groups, edges: Ids) -> None:
        self._problem, self._groups = problem, groups
        self.tree = Tree(problem.graph, edges)
        self._limits: list[float] = groups.limits.tolist()
        self._weight = [0.0] * len(self.tree.edge)
        self._under: list[float] = list(self._weight)
        self._load: list[float] = []
        self._smallest = 1e-9 * float(problem.graph.storage[edges[1:]].mean() if len(edges) > 1 else 1.0)

    def set_prices(self, prices: Costs) -> None:
        """Prices by group, in storage per unit of recreation."""
        self._weight = self._groups.weights(prices)

    def loads(self) -> Costs:
        """The cost of each group (groups,)."""
        return self._groups.loads(np.array(self.tree.distance))

    @property
    def limits(self) -> Costs:
        """The limit of each group (groups,)."""
        return self._groups.limits

    def sweep(self, *, strict: bool) -> int:
        """The number of moves made. If ``strict``, none takes a group over its limit."""
        self.tree.refresh()
        self._problem.check()
        moved = 0
        done: set[int] = set()
        for number, edge in enumerate(self._gaining(strict)):
            if number % 512 == 0:
                self._problem.check()
            node = self.tree.target[edge]
            if node not in done and self._gains(edge) and self._allowed(edge, strict):
                self._move(edge)
                done.add(node)
                moved += 1
        return moved

    def _gaining(self, strict: bool) -> list[int]:
        """Edges that gain with the tree as it is, largest gain first."""
        graph, tree = self._problem.graph, self.tree
        order = tree.preorder()
        place, size, room = self._survey(order, strict)
        distance, edge = np.array(tree.distance), tree.edges
        under = np.array(self._under)
        current = graph.storage[edge]
        shift = distance[graph.source] + graph.recreation - distance[graph.target]
        change = graph.storage - current[graph.target] + under[graph.target] * shift
        found = np.flatnonzero(change < -self._smallest)
        source, target = graph.source[found], graph.target[found]
        inside = (place[source] >= place[target]) & (place[source] < place[target] + size[target])
        found = found[~inside & (shift[found] <= room[target]) & (edge[target] != found)]
        ranked: list[int] = found[np.argsort(change[found], kind="stable")].tolist()
        return ranked

    def _survey(self, order: list[int], strict: bool) -> tuple[Ids, Ids, Costs]:
        """By node: its place in preorder, the size of its subtree, and by how much the subtree may shift at most, as
        far as single nodes know. Also renews the weights under nodes and the loads.
        """
        parent, under = self.tree.parent, list(self._weight)
        size = [1] * len(parent)
        self._load = self.loads().tolist()
        slack = [limit - load for limit, load in zip(self._limits, self._load, strict=True)]
        room = [np.inf] * len(parent)
        if strict:
            room = [min([slack[group] for group in held], default=np.inf) for held in self._groups.of]
        for node in reversed(order[1:]):
            above = parent[node]
            under[above] += under[node]
            size[above] += size[node]
            if room[node] < room[above]:
                room[above] = room[node]
        self._under = under
        place = np.empty(len(parent), dtype=np.int64)
        place[order] = np.arange(len(order))
        return place, np.array(size), np.maximum(np.array(room), 0.0)

    def _gains(self, edge: int) -> bool:
        tree = self.tree
        node = tree.target[edge]
        saved = tree.storage[tree.edge[node]] - tree.storage[edge]
        return saved - self._under[node] * tree.shift(edge) > self._smallest

    def _allowed(self, edge: int, strict: bool) -> bool:
        tree = self.tree
        node = tree.target[edge]
        if tree.is_under(tree.source[edge], node):
            return False
        if self._problem.bounded and not tree.fits(edge, self._problem.deepest):
            return False
        return not strict or self._has_room(node, tree.shift(edge))

    def _has_room(self, node: int, shift: float) -> bool:
        """Whether no group passes its limit when the subtree of ``node`` shifts."""
        if shift <= 0:
            return True
        load, limits, groups = self._load, self._limits, self._groups.of
        more: dict[int, float] = {}
        for member in self.tree.under(node):
            for group in groups[member]:
                more[group] = more.get(group, 0.0) + shift
                if load[group] + more[group] > limits[group]:
                    return False
        return True

    def _move(self, edge: int) -> None:
        tree = self.tree
        node = tree.target[edge]
        weight = self._under[node]
        self._add_above(tree.parent[node], -weight)
        self._add_above(tree.source[edge], weight)
        shift = tree.shift(edge)
        for member in tree.move(edge):
            for group in self._groups.of[member]:
                self._load[group] += shift

    def _add_above(self, node: int, weight: float) -> None:
        under, parent = self._under, self.tree.parent
        while node > ROOT:
            under[node] += weight
            node = parent[node]
