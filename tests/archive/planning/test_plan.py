"""A plan: that it is a tree, and what it costs under each retrieval scheme."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from delc.archive.planning import PLANNERS, StorageGraph, checked_plan
from delc.archive.planning.steiner import steiner_cost
from delc.server.errors import InvalidParameter
from support.storage_graphs import graph_of, graphs, paper_graph


def test_storage_is_the_sum_of_the_edges() -> None:
    assert checked_plan(paper_graph(), [-1, 0, 1, 5, 6, 7]).storage == 2 + 8 + 1 + 4 + 4


def test_independent_retrieval_adds_up_the_paths() -> None:
    plan = checked_plan(paper_graph(), [-1, 0, 1, 5, 6, 7])
    assert plan.recreation("independent").tolist() == [1 + 2, 1.5 + 3 + 3]


def test_parallel_retrieval_waits_for_the_longest_path() -> None:
    assert checked_plan(paper_graph(), [-1, 0, 1, 5, 6, 7]).recreation("parallel").tolist() == [2, 3]


def test_reusable_retrieval_makes_each_matrix_on_the_way_once() -> None:
    plan = checked_plan(paper_graph(), [-1, 0, 1, 5, 6, 7])
    assert plan.recreation("reusable").tolist() == [3, (1 + 0.5) + (2 + 1 + 1)]


def test_deltas_counts_the_chain_below_each_matrix() -> None:
    assert checked_plan(paper_graph(), [-1, 0, 1, 5, 6, 8]).deltas.tolist() == [-1, 0, 0, 1, 1, 2]


def test_an_edge_must_lead_to_its_matrix() -> None:
    with pytest.raises(InvalidParameter, match="edge 0 does not store matrix 2"):
        checked_plan(paper_graph(), [-1, 0, 0, 2, 3, 4])


def test_a_ring_of_deltas_is_refused() -> None:
    graph = graph_of(2, [(0, 1, 9, 1), (1, 2, 1, 1), (2, 1, 1, 1)], [[1, 2]])
    with pytest.raises(InvalidParameter, match="ring of deltas"):
        checked_plan(graph, [-1, 2, 1])


def test_a_chain_longer_than_allowed_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="matrix 5 is 2 deltas away from a whole one, allowed: 1"):
        checked_plan(paper_graph(), [-1, 0, 1, 5, 6, 8], longest_chain=1)


@given(graphs())
def test_a_steiner_tree_of_the_graph_costs_what_its_members_need(graph: StorageGraph) -> None:
    nearest = PLANNERS["shortest_paths"](graph)
    apart = nearest.recreation("independent")
    for snapshot, members in enumerate(graph.snapshots):
        cost = steiner_cost(graph, members.tolist())
        assert nearest.distances[members].max() - 1e-9 <= cost <= apart[snapshot] + 1e-9


def test_the_metric_closure_finds_the_shared_way() -> None:
    edges = [(0, 1, 1, 10), (0, 2, 1, 10), (0, 3, 1, 8), (3, 1, 1, 3), (3, 2, 1, 3)]
    graph = graph_of(3, edges, [[1, 2]])
    assert np.isclose(steiner_cost(graph, [1, 2]), 10 + 10)
    assert np.isclose(steiner_cost(graph, [1, 2, 3]), 8 + 3 + 3)
