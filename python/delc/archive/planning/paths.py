"""Shortest paths by recreation cost."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from delc.archive.planning.arborescence import least_arborescence
from delc.archive.planning.graph import ROOT, Costs, Ids, StorageGraph


def nothing() -> None:
    """What a planner calls now and then where nobody wants to stop it."""


@dataclass(frozen=True)
class ShortestPaths:
    """From one node: to each node the distance (∞ where there is no path) and the last edge of a shortest path (-1)."""

    graph: StorageGraph
    distances: list[float]
    edges: list[int]

    def path(self, node: int) -> list[int]:
        """The edges of the shortest path to ``node``, last first."""
        source = self.graph.lists.source
        found = []
        while self.edges[node] >= 0:
            found.append(self.edges[node])
            node = source[self.edges[node]]
        return found


def distances_from(graph: StorageGraph, origin: int, check: Callable[[], None] = nothing) -> ShortestPaths:
    """Dijkstra's algorithm; of equal paths the one found first."""
    start, outgoing = graph.outgoing
    _, target, _, recreation = graph.lists
    distances = [np.inf] * (graph.matrices + 1)
    edges = [-1] * (graph.matrices + 1)
    distances[origin] = 0.0
    heap = [(0.0, origin)]
    settled = 0
    while heap:
        distance, node = heapq.heappop(heap)
        if distance > distances[node]:
            continue
        settled += 1
        if settled % 4096 == 0:
            check()
        for edge in outgoing[start[node] : start[node + 1]]:
            farther = distance + recreation[edge]
            if farther < distances[target[edge]]:
                distances[target[edge]] = farther
                edges[target[edge]] = edge
                heapq.heappush(heap, (farther, target[edge]))
    return ShortestPaths(graph, distances, edges)


def shortest_path_tree(graph: StorageGraph, check: Callable[[], None] = nothing) -> tuple[Costs, Ids]:
    """Distances from the root and edges by node (matrices + 1,) of the shortest path tree that takes least storage.

    Its edges are the least arborescence among the edges that lie on shortest paths.
    """
    found = distances_from(graph, ROOT, check)
    distances = np.array(found.distances)
    tight = distances[graph.source] + graph.recreation <= distances[graph.target]
    tight[found.edges[1:]] = True
    part, ids = graph.without(~tight)
    edges = least_arborescence(graph.matrices, part.source, part.target, part.storage, check)
    edges[1:] = ids[edges[1:]]
    return distances, edges


def distances_within(graph: StorageGraph, hops: int) -> Costs:
    """Shortest distances over paths of at most ``hops`` edges (matrices + 1,); ∞ where there is none."""
    distances = np.full(graph.matrices + 1, np.inf)
    distances[ROOT] = 0.0
    for _ in range(hops):
        nearer = distances.copy()
        np.minimum.at(nearer, graph.target, distances[graph.source] + graph.recreation)
        if np.array_equal(nearer, distances):
            break
        distances = nearer
    return distances


def fewest_hops(graph: StorageGraph) -> tuple[list[int], list[int]]:
    """For each node the number of edges on the path with fewest, and the last edge of such a path of least storage."""
    start, outgoing = graph.outgoing
    _, target, storage, _ = graph.lists
    hops, edges = [-1] * (graph.matrices + 1), [-1] * (graph.matrices + 1)
    hops[ROOT] = 0
    order = [ROOT]
    for node in order:
        for edge in outgoing[start[node] : start[node + 1]]:
            end = target[edge]
            if hops[end] < 0:
                hops[end] = hops[node] + 1
                order.append(end)
            if hops[end] == hops[node] + 1 and (edges[end] < 0 or storage[edge] < storage[edges[end]]):
                edges[end] = edge
    return hops, edges
