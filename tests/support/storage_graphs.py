"""Small matrix storage graphs, drawn by hypothesis, and the paper's own."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from delc.archive.planning import StorageGraph, storage_graph

PAPER_EDGES = (
    (0, 1, 2, 1), (0, 2, 8, 2), (0, 3, 2, 1), (0, 4, 8, 2), (0, 5, 8, 2),
    (1, 3, 1, 0.5), (2, 4, 4, 1), (2, 5, 4, 1), (4, 5, 4, 1),
)  # fmt: skip
"""Source, target, storage, recreation: figure 5 of Miao et al., ICDE 2017."""

Edge = tuple[int, int, float, float]


def graph_of(matrices: int, edges: list[Edge] | tuple[Edge, ...], snapshots: list[list[int]]) -> StorageGraph:
    """The graph of edges as (source, target, storage, recreation)."""
    source, target, storage, recreation = zip(*edges, strict=True)
    return storage_graph(matrices, source, target, storage, recreation, snapshots)


def paper_graph() -> StorageGraph:
    """The test vector: two snapshots, {m1, m2} and {m3, m4, m5}."""
    return graph_of(5, PAPER_EDGES, [[1, 2], [3, 4, 5]])


@dataclass(frozen=True)
class Drawn:
    """A graph, and budgets as shares ≥ 1 of what its shortest path tree takes."""

    graph: StorageGraph
    share: float


@st.composite
def graphs(draw: st.DrawFn, most: int = 8, all_whole: bool = True) -> StorageGraph:
    """Directed graphs with parallel edges, costs of 0 and overlapping snapshots. Without ``all_whole`` some matrices
    can only be reached through others.
    """
    matrices = draw(st.integers(1, most))
    node = st.integers(1, matrices)
    cost = st.integers(0, 20)
    edges: list[Edge] = []
    for matrix in range(1, matrices + 1):
        source = 0 if all_whole else draw(st.integers(0, matrix - 1))
        edges.append((source, matrix, draw(st.integers(5, 30)), draw(st.integers(1, 10))))
    others = draw(st.lists(st.tuples(st.integers(0, matrices), node, cost, cost), max_size=4 * matrices))
    edges += [edge for edge in others if edge[0] != edge[1]]
    snapshots = draw(st.lists(st.lists(node, min_size=1, max_size=4), min_size=1, max_size=4))
    return graph_of(matrices, edges, snapshots)


@st.composite
def problems(draw: st.DrawFn, most: int = 8) -> Drawn:
    """A graph in which every matrix can be stored whole, and a share for its budgets."""
    return Drawn(draw(graphs(most)), draw(st.sampled_from([1.0, 1.05, 1.2, 1.5, 2.0, 3.0])))
