"""The matrix storage graph: every way to store each matrix, and what it costs.

Miao, Li, Davis, Deshpande, "Towards Unified Data and Lifecycle Management for Deep Learning", ICDE 2017, section IV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from delc.server.errors import InvalidParameter

Ids = npt.NDArray[np.int64]
Costs = npt.NDArray[np.float64]

Scheme = Literal["independent", "parallel", "reusable"]
"""How a snapshot's matrices are fetched: one after the other, all at once, or one after the other with every matrix on
the way kept until the last is done."""

ROOT = 0
"""The empty matrix; an edge from it stores its target whole."""


class EdgeLists(NamedTuple):
    """The edges as Python lists, which loops over single edges read several times faster than arrays."""

    source: list[int]
    target: list[int]
    storage: list[float]
    recreation: list[float]


class Adjacency(NamedTuple):
    """Edge ids grouped by node: those of node v are ``edges[start[v]:start[v + 1]]``, in the order of their ids."""

    start: list[int]
    edges: list[int]


@dataclass(frozen=True, eq=False)
class StorageGraph:
    """Nodes 1 … ``matrices`` and the root 0; edges are directed and may be parallel. Made by ``storage_graph``.

    ``source``, ``target``: node ids (edges,). ``storage``, ``recreation``: costs in any unit, ≥ 0, (edges,).
    ``snapshots``: the matrices of each snapshot, ascending; a matrix may be in several. ``names``: what to call the
    snapshots in messages.
    """

    matrices: int
    source: Ids
    target: Ids
    storage: Costs
    recreation: Costs
    snapshots: tuple[Ids, ...]
    names: tuple[str, ...]

    @cached_property
    def lists(self) -> EdgeLists:
        """The edges as lists."""
        return EdgeLists(self.source.tolist(), self.target.tolist(), self.storage.tolist(), self.recreation.tolist())

    @cached_property
    def incoming(self) -> Adjacency:
        """The edges into each node."""
        return self._grouped(self.target)

    @cached_property
    def outgoing(self) -> Adjacency:
        """The edges out of each node."""
        return self._grouped(self.source)

    @cached_property
    def snapshots_of(self) -> list[list[int]]:
        """For each node the snapshots that hold it, ascending."""
        found: list[list[int]] = [[] for _ in range(self.matrices + 1)]
        for snapshot, members in enumerate(self.snapshots):
            for matrix in members.tolist():
                found[matrix].append(snapshot)
        return found

    def _grouped(self, key: Ids) -> Adjacency:
        order = np.argsort(key, kind="stable")
        start = np.searchsorted(key[order], np.arange(self.matrices + 2))
        return Adjacency(start.tolist(), order.tolist())

    def without(self, dropped: npt.NDArray[np.bool_]) -> tuple[StorageGraph, Ids]:
        """The graph without the edges marked in ``dropped`` (edges,), and the ids here of the edges there."""
        kept = np.flatnonzero(~dropped)
        columns = (self.source[kept], self.target[kept], self.storage[kept], self.recreation[kept])
        return StorageGraph(self.matrices, *columns, self.snapshots, self.names), kept


def storage_graph(
    matrices: int,
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    storage: npt.ArrayLike,
    recreation: npt.ArrayLike,
    snapshots: Iterable[npt.ArrayLike],
    names: Sequence[str] | None = None,
) -> StorageGraph:
    """The graph of these edges and snapshots, once checked.

    ``InvalidParameter`` for ids out of range, loops, edges into the root, costs that are negative or not finite, and a
    matrix that no path from the root reaches.
    """
    if matrices < 1:
        raise InvalidParameter(f"a graph of {matrices} matrices", detail="There is at least one.")
    sources, targets = _ids("source", source), _ids("target", target)
    stores, recreates = _costs("storage", storage), _costs("recreation", recreation)
    if not len(sources) == len(targets) == len(stores) == len(recreates):
        sizes = f"{len(sources)}, {len(targets)}, {len(stores)} and {len(recreates)}"
        raise InvalidParameter(f"the columns of the edges have different lengths: {sizes}")
    _check_ends(matrices, sources, targets)
    held = tuple(_members(number, ids, matrices) for number, ids in enumerate(snapshots))
    called = tuple(names) if names is not None else tuple(str(number) for number in range(len(held)))
    if len(called) != len(held):
        raise InvalidParameter(f"there are {len(called)} names for {len(held)} snapshots")
    graph = StorageGraph(matrices, sources, targets, stores, recreates, held, called)
    _check_reachable(graph)
    return graph


def _ids(what: str, values: npt.ArrayLike) -> Ids:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidParameter(f"{what} must be a list of node numbers, not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _costs(what: str, values: npt.ArrayLike) -> Costs:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InvalidParameter(f"{what} costs must be a list of numbers, not of shape {array.shape}")
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if len(wrong):
        raise InvalidParameter(
            f"{what} cost {array[wrong[0]]} of edge {wrong[0]}", detail="Costs are finite and not negative."
        )
    return array


def _check_ends(matrices: int, source: Ids, target: Ids) -> None:
    wrong = np.flatnonzero(
        (source < ROOT) | (source > matrices) | (target <= ROOT) | (target > matrices) | (source == target)
    )
    if len(wrong):
        edge = int(wrong[0])
        raise InvalidParameter(
            f"edge {edge} goes from node {source[edge]} to node {target[edge]}",
            detail=f"Edges go from 0 (the root) … {matrices} to another node of 1 … {matrices}.",
        )


def _members(number: int, ids: npt.ArrayLike, matrices: int) -> Ids:
    members = np.unique(_ids(f"snapshot {number}", ids))
    if len(members) and (members[0] <= ROOT or members[-1] > matrices):
        wrong = members[0] if members[0] <= ROOT else members[-1]
        raise InvalidParameter(f"snapshot {number} holds matrix {wrong}", detail=f"Matrices are 1 … {matrices}.")
    return members


def _check_reachable(graph: StorageGraph) -> None:
    start, edges = graph.outgoing
    target = graph.lists.target
    seen = [False] * (graph.matrices + 1)
    seen[ROOT] = True
    found = [ROOT]
    for node in found:
        for edge in edges[start[node] : start[node + 1]]:
            if not seen[target[edge]]:
                seen[target[edge]] = True
                found.append(target[edge])
    if len(found) <= graph.matrices:
        raise InvalidParameter(
            f"matrix {seen.index(False)} cannot be stored",
            detail="No path of edges leads from the root to it.",
            hint="Add the edge that stores it whole.",
        )
