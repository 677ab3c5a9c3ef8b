"""A place for every node of a graph, in layers from top to bottom.

The steps of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981):
rank by the longest path, put invisible nodes where an edge passes a rank, order each rank by the mean place of its
neighbours, then move nodes towards their neighbours as far as their own neighbours let them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
"""How often ranks are ordered and moved, downwards and upwards in turn."""

Edge = tuple[str, str]


@dataclass(frozen=True)
class Laid:
    """Where everything is. ``x`` are centres; ``rank`` counts from the top; ``paths`` lead along each edge from its
    node through the invisible ones to the other.
    """

    x: Mapping[str, float]
    rank: Mapping[str, int]
    paths: Mapping[Edge, tuple[tuple[float, int], ...]]
    width: float
    ranks: int


def lay_out(nodes: Sequence[str], edges: Sequence[Edge], widths: Mapping[str, float], gap: float) -> Laid:
    """The places of nodes, ``gap`` apart at least. Edges against the order that others give are drawn upwards."""
    rank = _ranks(nodes, edges)
    rows: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for node in nodes:
        rows[rank[node]].append(node)
    sizes = dict(widths)
    chains = {edge: _chain(edge, rank, rows, sizes) for edge in dict.fromkeys(edges)}
    above: dict[str, list[str]] = {node: [] for row in rows for node in row}
    below: dict[str, list[str]] = {node: [] for row in rows for node in row}
    for chain in chains.values():
        ordered = chain if len(chain) < 2 or _rank_of(chain[0], rank) <= _rank_of(chain[-1], rank) else chain[::-1]
        for upper, lower in pairwise(ordered):
            below[upper].append(lower)
            above[lower].append(upper)
    _order(rows, above, below)
    x = _places(rows, above, below, sizes, gap)
    left = min((x[node] - sizes[node] / 2 for node in x), default=0.0)
    x = {node: place - left for node, place in x.items()}
    row_of = {node: number for number, row in enumerate(rows) for node in row}
    paths = {edge: tuple((x[node], row_of[node]) for node in chain) for edge, chain in chains.items()}
    width = max((x[node] + sizes[node] / 2 for node in x), default=0.0)
    return Laid({node: x[node] for node in nodes}, rank, paths, width, len(rows))


def _ranks(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The length of the longest path to every node; edges that would close a cycle do not count."""
    readers: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        if not _leads_to(readers, target, source):
            readers[source].append(target)
    waits = dict.fromkeys(nodes, 0)
    for targets in readers.values():
        for target in targets:
            waits[target] += 1
    rank = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not waits[node]]
    while ready:
        node = ready.pop()
        for target in readers[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    return rank


def _leads_to(readers: Mapping[str, Sequence[str]], start: str, end: str) -> bool:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node == end:
            return True
        if node not in seen:
            seen.add(node)
            waiting += readers[node]
    return False


def _chain(edge: Edge, rank: Mapping[str, int], rows: list[list[str]], sizes: dict[str, float]) -> list[str]:
    """The nodes along an edge, with invisible ones in the ranks that it passes."""
    source, target = edge
    step = 1 if rank[target] >= rank[source] else -1
    between = []
    for number in range(rank[source] + step, rank[target], step):
        name = f"\0{source}\0{target}\0{number}"
        rows[number].append(name)
        sizes[name] = 8.0
        between.append(name)
    return [source, *between, target]


def _rank_of(node: str, rank: Mapping[str, int]) -> int:
    return rank[node] if node in rank else int(node.rsplit("\0", 1)[1])


def _order(rows: list[list[str]], above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for number in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            other = {node: place for place, node in enumerate(rows[number - 1 if down else number + 1])}
            neighbours = above if down else below
            places = {node: place for place, node in enumerate(rows[number])}

            def mean(
                node: str,
                other: Mapping[str, int] = other,
                neighbours: Mapping[str, list[str]] = neighbours,
                places: Mapping[str, int] = places,
            ) -> float:
                near = [other[each] for each in neighbours[node] if each in other]
                return sum(near) / len(near) if near else float(places[node])

            rows[number].sort(key=mean)


def _places(
    rows: list[list[str]],
    above: Mapping[str, list[str]],
    below: Mapping[str, list[str]],
    sizes: Mapping[str, float],
    gap: float,
) -> dict[str, float]:
    x: dict[str, float] = {}
    for row in rows:
        total = sum(sizes[node] for node in row) + gap * (len(row) - 1)
        at = -total / 2
        for node in row:
            x[node] = at + sizes[node] / 2
            at += sizes[node] + gap
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for row in rows if down else reversed(rows):
            wanted = []
            for node in row:
                near = [x[each] for each in neighbours[node]] or [x[node]]
                wanted.append(sum(near) / len(near))
            x.update(zip(row, _apart(wanted, [sizes[node] for node in row], gap), strict=True))
    return x


def _apart(wanted: Sequence[float], sizes: Sequence[float], gap: float) -> list[float]:
    """The places nearest to those wanted (least squares) that keep the order and the distances: pooled neighbours."""
    offsets = [0.0]
    for left, right in pairwise(sizes):
        offsets.append(offsets[-1] + (left + right) / 2 + gap)
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=False):
        mean, count = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean = (mean * count + before * many) / (count + many)
            count += many
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]
