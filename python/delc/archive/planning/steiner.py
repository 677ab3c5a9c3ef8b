"""What a snapshot costs when every matrix on the way to its members is made once: Steiner trees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from delc.archive.planning.arborescence import least_arborescence
from delc.archive.planning.graph import ROOT, Ids, StorageGraph
from delc.archive.planning.paths import distances_from


def union_of_paths(parents: Sequence[int], steps: Sequence[float], snapshots: Iterable[Ids]) -> list[float]:
    """The cost of each snapshot's Steiner tree inside a tree, where it is the union of the paths to its members.

    ``parents`` and ``steps`` by node: the node above, and the recreation cost from there.
    """
    reached = [-1] * len(parents)
    costs = []
    for number, members in enumerate(snapshots):
        cost = 0.0
        for matrix in members.tolist():
            node = matrix
            while node != ROOT and reached[node] != number:
                reached[node] = number
                cost += steps[node]
                node = parents[node]
        costs.append(cost)
    return costs


def steiner_edges(graph: StorageGraph, members: Iterable[int]) -> list[int]:
    """Edges of a tree of the graph from the root over ``members``, of small recreation cost, ascending.

    The metric-closure method (Kou, Markowsky, Berman 1981) for directed graphs: the least arborescence over the
    shortest distances between the root and the members, its edges replaced by shortest paths, and of those the edges
    that a search from the root keeps. Where all edges exist in both directions at one cost it is at most twice the
    optimum.
    """
    ends = [ROOT, *sorted(set(members))]
    found = [distances_from(graph, end) for end in ends]
    pairs = [(i, j) for i in range(len(ends)) for j in range(1, len(ends)) if i != j]
    pairs = [(i, j) for i, j in pairs if found[i].distances[ends[j]] < np.inf]
    source, target = np.array([i for i, _ in pairs]), np.array([j for _, j in pairs])
    lengths = np.array([found[i].distances[ends[j]] for i, j in pairs])
    chosen = least_arborescence(len(ends) - 1, source, target, lengths)[1:]
    used = {edge for pair in chosen for edge in found[pairs[pair][0]].path(ends[pairs[pair][1]])}
    return _kept(graph, used, ends[1:])


def steiner_cost(graph: StorageGraph, members: Iterable[int]) -> float:
    """The recreation cost of ``steiner_edges``."""
    return float(sum(graph.recreation[edge] for edge in steiner_edges(graph, members)))


def _kept(graph: StorageGraph, used: set[int], ends: Sequence[int]) -> list[int]:
    """Of the edges ``used`` those on the shortest way within them from the root to ``ends``."""
    dropped = np.ones(len(graph.source), dtype=bool)
    dropped[sorted(used)] = False
    part, ids = graph.without(dropped)
    found = distances_from(part, ROOT)
    return sorted({int(ids[edge]) for end in ends for edge in found.path(end)})
