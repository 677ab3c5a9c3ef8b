"""From a tree that breaks budgets to one that keeps them."""

from __future__ import annotations

from delc.archive.planning.arborescence import least_arborescence
from delc.archive.planning.chains import cut_chains, shortest_tree_within
from delc.archive.planning.graph import Ids
from delc.archive.planning.problem import Problem
from delc.archive.planning.reuse import Reuse
from delc.archive.planning.reuse_swaps import mend_reusable
from delc.archive.planning.swaps import Swaps, take_shortest_paths
from delc.archive.planning.tree import Tree


def repair(problem: Problem, tree: Tree) -> bool:
    """Changes ``tree`` by swaps until all budgets are kept; returns whether they are.

    Always True under independent and parallel retrieval with chains unbounded.
    """
    if problem.scheme == "reusable":
        return mend_reusable(problem, Reuse(tree))
    if Swaps(problem, tree).run():
        return True
    if problem.bounded:
        return False
    take_shortest_paths(problem, tree)
    return True


def repaired(problem: Problem, edges: Ids) -> Ids:
    """The tree of ``edges`` after ``repair``; where that fails, the tree of fastest recreation, if it does better."""
    tree = Tree(problem.graph, edges)
    if repair(problem, tree):
        return tree.edges
    fast = fastest(problem)
    return fast if problem.holds(fast) else tree.edges


def fastest(problem: Problem) -> Ids:
    """A tree meant for tight budgets: shortest paths; under reusable retrieval, if that breaks budgets, the tree of
    least recreation cost in all, repaired.
    """
    edges = shortest_tree_within(problem)
    if problem.scheme != "reusable" or problem.holds(edges):
        return edges
    graph = problem.graph
    found = edges
    for start in (edges, least_arborescence(graph.matrices, graph.source, graph.target, graph.recreation)):
        tree = Tree(graph, cut_chains(problem, start, fast=True))
        if repair(problem, tree):
            return tree.edges
        found = tree.edges
    return found
