"""Keeping chains of deltas within their bound."""

from __future__ import annotations

from delc.archive.planning.graph import ROOT, Costs, Ids
from delc.archive.planning.paths import fewest_hops
from delc.archive.planning.problem import Problem
from delc.archive.planning.tree import Tree


def cut_chains(problem: Problem, edges: Ids, *, fast: bool = False) -> Ids:
    """The tree of ``edges`` with every matrix that is too deep stored from a shallower one: the one that takes least
    storage, or, if ``fast``, makes the matrix fastest to recreate.

    Walks the tree from the root; where no edge from a shallow enough node enters from outside of the subtree, the
    matrix gets the path of fewest edges, which always fits.
    """
    if not problem.bounded:
        return edges
    tree = Tree(problem.graph, edges)
    order = [ROOT]
    for number, node in enumerate(order):
        if number % 1024 == 0:
            problem.check()
        if tree.depth[node] > problem.deepest:
            _raise(problem, tree, node, fast)
        order.extend(sorted(tree.below[node]))
    if max(tree.depth) > problem.deepest:
        return cut_chains(problem, tree.edges, fast=fast)
    return tree.edges


def _raise(problem: Problem, tree: Tree, node: int, fast: bool) -> None:
    start, incoming = problem.graph.incoming
    best, best_key = -1, (0.0, 0.0)
    for edge in incoming[start[node] : start[node + 1]]:
        source = tree.source[edge]
        if tree.depth[source] >= problem.deepest or tree.is_under(source, node):
            continue
        far = tree.distance[source] + tree.recreation[edge]
        key = (far, tree.storage[edge]) if fast else (tree.storage[edge], far)
        if best < 0 or key < best_key:
            best, best_key = edge, key
    if best >= 0:
        tree.move(best)
        return
    hops, last = fewest_hops(problem.graph)
    path = []
    while node != ROOT:
        path.append(last[node])
        node = tree.source[last[node]]
    for edge in reversed(path):
        if tree.depth[tree.target[edge]] > hops[tree.target[edge]]:
            tree.move(edge)


def shortest_tree_within(problem: Problem) -> Ids:
    """A tree of short paths whose chains keep their bound: the shortest path tree where it does, else that tree cut
    and then improved by moves that shorten a subtree's paths, until there are none.
    """
    _, edges = problem.shortest
    if not problem.bounded:
        return edges
    tree = Tree(problem.graph, cut_chains(problem, edges, fast=True))
    recreation: Costs = problem.graph.recreation
    smallest = 1e-12 * float(recreation.sum() + 1.0)
    moved = True
    while moved:
        moved = False
        problem.check()
        for edge in range(len(tree.source)):
            if tree.shift(edge) < -smallest and tree.fits(edge, problem.deepest):
                tree.move(edge)
                moved = True
    tree.refresh()
    return tree.edges
