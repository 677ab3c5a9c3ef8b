"""The exact algorithms against others that are known to be exact."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from delc.archive.planning import PLANNERS, Scheme, StorageGraph
from delc.archive.planning.plan import Plan
from support.storage_graphs import graphs, paper_graph

SCHEMES: tuple[Scheme, ...] = ("independent", "parallel", "reusable")


def all_plans(graph: StorageGraph) -> list[Plan]:
    """Every spanning tree, found by trying every choice of edges."""
    start, edges = graph.incoming
    ways = [edges[start[node] : start[node + 1]] for node in range(1, graph.matrices + 1)]
    return [Plan(graph, np.array([-1, *chosen])) for chosen in itertools.product(*ways) if is_tree(graph, chosen)]


def is_tree(graph: StorageGraph, chosen: tuple[int, ...]) -> bool:
    """Whether the way up from each node ends at the root."""
    for node in range(1, graph.matrices + 1):
        for _ in range(graph.matrices):
            node = int(graph.source[chosen[node - 1]]) if node else 0
        if node:
            return False
    return True


@settings(deadline=None)
@given(graphs(most=4, all_whole=False))
def test_the_tree_of_least_storage_is_the_least_of_all_trees(graph: StorageGraph) -> None:
    assert np.isclose(PLANNERS["least_storage"](graph).storage, min(plan.storage for plan in all_plans(graph)))


@settings(deadline=None)
@given(graphs(most=12, all_whole=False))
def test_the_shortest_path_tree_has_the_distances_of_scipy(graph: StorageGraph) -> None:
    order = np.lexsort((graph.recreation, graph.target, graph.source))
    _, first = np.unique(graph.source[order] * 1000 + graph.target[order], return_index=True)
    kept = order[first]  # scipy adds parallel edges up, and takes 0 for no edge
    lengths = np.maximum(graph.recreation[kept], 1e-12)
    shape = (graph.matrices + 1, graph.matrices + 1)
    known = dijkstra(coo_array((lengths, (graph.source[kept], graph.target[kept])), shape=shape).tocsr(), indices=0)
    assert np.allclose(PLANNERS["shortest_paths"](graph).distances, known)


@settings(deadline=None)
@given(graphs(most=4))
def test_of_all_shortest_path_trees_the_one_of_least_storage_is_taken(graph: StorageGraph) -> None:
    found = PLANNERS["shortest_paths"](graph)
    same = [plan.storage for plan in all_plans(graph) if np.allclose(plan.distances, found.distances)]
    assert np.isclose(found.storage, min(same))


@settings(deadline=None, max_examples=60)
@given(graphs(most=4))
def test_the_integer_program_finds_the_least_storage_within_the_budgets(graph: StorageGraph) -> None:
    for scheme in SCHEMES:
        budgets = PLANNERS["shortest_paths"](graph).recreation(scheme) * 1.3
        held = [plan for plan in all_plans(graph) if (plan.recreation(scheme) <= budgets * (1 + 1e-9)).all()]
        found = PLANNERS["exact"](graph, budgets, scheme)
        assert np.isclose(found.storage, min(plan.storage for plan in held))
        assert found.gap is not None
        assert found.gap < 1e-6


@settings(deadline=None, max_examples=60)
@given(graphs(most=4))
def test_the_integer_program_keeps_chains_short(graph: StorageGraph) -> None:
    held = [plan.storage for plan in all_plans(graph) if plan.deltas.max() <= 1]
    assert np.isclose(PLANNERS["exact"](graph, longest_chain=1).storage, min(held))


def test_the_papers_graph_takes_19_at_least() -> None:
    plan = PLANNERS["least_storage"](paper_graph())
    assert plan.storage == 19


def test_the_papers_optimum_within_its_budgets_is_24() -> None:
    for name in ("exact", "priced"):
        plan = PLANNERS[name](paper_graph(), [3, 6], "independent")
        assert (plan.storage, plan.recreation("independent").tolist()) == (24, [3, 6])
