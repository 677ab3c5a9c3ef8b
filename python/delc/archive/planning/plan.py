"""A plan: for each matrix the edge that stores it, with what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from delc.archive.planning.graph import ROOT, Costs, Ids, Scheme, StorageGraph
from delc.archive.planning.steiner import union_of_paths
from delc.server.errors import InvalidParameter


@dataclass(frozen=True, eq=False)
class Plan:
    """A spanning tree of the graph, rooted in the empty matrix. Made by ``checked_plan``.

    ``edges`` (matrices + 1,): the id of the edge into each matrix; -1 for the root. ``bound``: storage that no plan for
    the same problem can fall below, where the planner proved one.
    """

    graph: StorageGraph
    edges: Ids
    bound: float | None = None

    @cached_property
    def parents(self) -> Ids:
        """The node that each matrix is stored against (matrices + 1,); the root stands for itself."""
        parents = self.graph.source[self.edges]
        parents[ROOT] = ROOT
        return parents

    @property
    def storage(self) -> float:
        """What all matrices together take."""
        return float(self.graph.storage[self.edges[1:]].sum())

    @property
    def gap(self) -> float | None:
        """By how much of itself the storage may exceed the least possible; None where no bound was proved."""
        if self.bound is None:
            return None
        return max(self.storage - self.bound, 0.0) / self.storage if self.storage else 0.0

    @cached_property
    def distances(self) -> Costs:
        """What it costs to recreate each matrix alone (matrices + 1,)."""
        steps = self.graph.recreation[self.edges]
        steps[ROOT] = 0.0
        return _sums_to_root(self.parents, steps)

    @cached_property
    def deltas(self) -> Ids:
        """How many deltas lie between each matrix and the whole one it starts from (matrices + 1,); -1 for the root."""
        steps = np.ones(self.graph.matrices + 1)
        steps[ROOT] = 0.0
        return _sums_to_root(self.parents, steps).astype(np.int64) - 1

    def recreation(self, scheme: Scheme) -> Costs:
        """What it costs to recreate each snapshot (snapshots,)."""
        return recreation_costs(self.graph, self.distances, self.parents, self.edges, scheme)


def recreation_costs(graph: StorageGraph, distances: Costs, parents: Ids, edges: Ids, scheme: Scheme) -> Costs:
    """What a tree costs to recreate each snapshot (snapshots,), from its distances, parents and edges by node."""
    if scheme == "reusable":
        steps = graph.recreation[edges]
        return np.array(union_of_paths(parents.tolist(), steps.tolist(), graph.snapshots), dtype=np.float64)
    held = [distances[members] for members in graph.snapshots]
    if scheme == "independent":
        return np.array([values.sum() for values in held], dtype=np.float64)
    return np.array([values.max(initial=0.0) for values in held], dtype=np.float64)


def checked_plan(
    graph: StorageGraph, edges: npt.ArrayLike, *, longest_chain: int | None = None, bound: float | None = None
) -> Plan:
    """The plan that stores matrix v by edge ``edges[v]`` (``edges[0]`` does not count).

    ``InvalidParameter`` where an edge does not lead to its matrix, where matrices are deltas of each other in a ring,
    and where more than ``longest_chain`` deltas follow each other.
    """
    chosen = np.array(edges, dtype=np.int64)
    if chosen.shape != (graph.matrices + 1,):
        raise InvalidParameter(f"a plan for {graph.matrices} matrices has shape {chosen.shape}")
    chosen[ROOT] = -1
    inside = (chosen[1:] >= 0) & (chosen[1:] < len(graph.target))
    wrong = np.flatnonzero(~inside | (graph.target[np.where(inside, chosen[1:], 0)] != np.arange(1, len(chosen))))
    if len(wrong):
        raise InvalidParameter(f"edge {chosen[wrong[0] + 1]} does not store matrix {wrong[0] + 1}")
    plan = Plan(graph, chosen, bound)
    longest = int(plan.deltas.max(initial=-1))
    if longest_chain is not None and longest > longest_chain:
        matrix = int(plan.deltas.argmax())
        raise InvalidParameter(f"matrix {matrix} is {longest} deltas away from a whole one, allowed: {longest_chain}")
    return plan


def _sums_to_root(parents: Ids, steps: Costs) -> Costs:
    """For each node the sum of ``steps`` on its way up, by doubling the stretch that is summed."""
    sums, above = steps.copy(), parents.copy()
    for _ in range(len(parents).bit_length() + 1):
        if not above.any():
            return sums
        sums += sums[above]
        above = above[above]
    matrix = int(np.flatnonzero(above)[0])
    raise InvalidParameter(f"matrix {matrix} is stored as a delta that, in a ring of deltas, depends on itself")
