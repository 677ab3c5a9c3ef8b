"""The matrix storage graph: what it accepts, and what it says about the rest."""

from __future__ import annotations

import pytest

from delc.archive.planning import storage_graph
from delc.server.errors import InvalidParameter
from support.storage_graphs import graph_of


def test_edges_may_be_parallel_and_snapshots_may_overlap() -> None:
    graph = graph_of(2, [(0, 1, 3, 1), (0, 1, 2, 4), (1, 2, 1, 1), (0, 2, 3, 1)], [[1, 2], [2]])
    start, edges = graph.incoming
    assert edges[start[1] : start[2]] == [0, 1]
    assert graph.snapshots_of[2] == [0, 1]


def test_a_matrix_that_nothing_stores_is_named() -> None:
    with pytest.raises(InvalidParameter, match="matrix 2 cannot be stored"):
        graph_of(3, [(0, 1, 1, 1), (2, 3, 1, 1), (3, 2, 1, 1)], [[1]])


@pytest.mark.parametrize("edge", [(1, 0, 1, 1), (1, 1, 1, 1), (0, 3, 1, 1), (-1, 2, 1, 1)])
def test_edges_go_from_the_root_or_a_matrix_to_another_matrix(edge: tuple[int, int, float, float]) -> None:
    with pytest.raises(InvalidParameter, match=f"edge 2 goes from node {edge[0]} to node {edge[1]}"):
        graph_of(2, [(0, 1, 1, 1), (0, 2, 1, 1), edge], [[1]])


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_costs_are_finite_and_not_negative(cost: float) -> None:
    with pytest.raises(InvalidParameter, match="recreation cost"):
        graph_of(1, [(0, 1, 1, cost)], [[1]])


def test_a_snapshot_holds_matrices_of_the_graph() -> None:
    with pytest.raises(InvalidParameter, match="snapshot 1 holds matrix 7"):
        graph_of(1, [(0, 1, 1, 1)], [[1], [1, 7]])


def test_a_graph_has_at_least_one_matrix() -> None:
    with pytest.raises(InvalidParameter, match="a graph of 0 matrices"):
        storage_graph(0, [], [], [], [], [])
