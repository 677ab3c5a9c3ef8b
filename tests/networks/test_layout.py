"""Where the nodes of a picture are."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from delc.networks.layout import lay_out

Edges = list[tuple[str, str]]

graphs = st.integers(1, 12).flatmap(
    lambda size: st.tuples(
        st.just([f"n{i}" for i in range(size)]),
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=24),
    )
)


def test_a_chain_is_one_column() -> None:
    laid = lay_out(["a", "b", "c"], [("a", "b"), ("b", "c")], {"a": 10, "b": 50, "c": 30}, 5)
    assert [laid.rank[name] for name in "abc"] == [0, 1, 2]
    assert {round(laid.x[name], 6) for name in "abc"} == {25}
    assert laid.width == 50


def test_an_edge_that_passes_ranks_goes_beside_the_nodes_there() -> None:
    laid = lay_out(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")], dict.fromkeys("abc", 40.0), 5)
    (_, (beside, rank), _) = laid.paths["a", "c"]
    assert rank == 1
    assert abs(beside - laid.x["b"]) >= 20


@given(graphs)
def test_nodes_of_a_rank_never_overlap_and_edges_lead_down(graph: tuple[list[str], list[tuple[int, int]]]) -> None:
    nodes, numbers = graph
    edges = [(nodes[min(pair)], nodes[max(pair)]) for pair in numbers if pair[0] != pair[1]]
    widths = {node: 20.0 + 7 * number for number, node in enumerate(nodes)}
    laid = lay_out(nodes, edges, widths, 5)
    for rank in range(laid.ranks):
        row = sorted((laid.x[node], widths[node]) for node in nodes if laid.rank[node] == rank)
        for (left, left_width), (right, right_width) in pairwise(row):
            assert right - left >= (left_width + right_width) / 2 + 5 - 1e-6
    for source, target in edges:
        assert laid.rank[source] < laid.rank[target]
        assert [rank for _, rank in laid.paths[source, target]] == list(
            range(laid.rank[source], laid.rank[target] + 1)
        )
    assert min(laid.x[node] - widths[node] / 2 for node in nodes) >= -1e-6


@given(graphs)
def test_edges_that_close_a_cycle_are_drawn_upwards(graph: tuple[list[str], list[tuple[int, int]]]) -> None:
    nodes, numbers = graph
    edges: Edges = [(nodes[a], nodes[b]) for a, b in numbers if a != b]
    laid = lay_out(nodes, edges, dict.fromkeys(nodes, 30.0), 5)
    assert laid.x.keys() == set(nodes)
    assert laid.paths.keys() == set(edges)
