"""The exact optimum, by an integer program, for small graphs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import optimize, sparse

from delc.archive.planning.graph import Costs, Ids, StorageGraph
from delc.archive.planning.priced import priced
from delc.archive.planning.problem import Problem, planner
from delc.archive.planning.pruning import useless_edges
from delc.server.errors import LimitExceeded

MOST_VARIABLES = 400_000
"""Above this the program would take gigabytes and hours."""

FIRST_SECONDS, MOST_SECONDS = 20.0, 320.0
"""The solver cannot be interrupted: it gets these seconds, and then, after a look at ``check``, twice as many."""


def exact(problem: Problem) -> tuple[Ids, float]:
    """The plan of least storage and a proven lower bound; they differ where the solver ran out of time.

    A flow of one unit from the root to every matrix, on edges that are paid for once (Wong 1980); its relaxation is
    tight, and snapshots' costs are linear in it under every scheme. Where the time is out, the better of what the
    solver has and of the planner "priced". ``LimitExceeded`` for large graphs.
    """
    part, ids = problem.graph.without(useless_edges(problem))
    variables = len(part.source) * (part.matrices + 1)
    if variables > MOST_VARIABLES:
        raise LimitExceeded(
            f"the exact planner would need {variables} variables",
            detail=f"Allowed are {MOST_VARIABLES}, about the edges times the matrices.",
            hint='Use the planner "priced".',
        )
    found, bound, proven = _solve(problem, _Program(problem, part))
    storage = problem.graph.storage
    edges = np.full(part.matrices + 1, -1)
    if found is not None:
        chosen = np.flatnonzero(found)
        edges[part.target[chosen]] = ids[chosen]
        if proven:
            return edges, bound
    searched, its_bound = priced(problem)
    better = found is None or (problem.holds(searched) and storage[searched[1:]].sum() < storage[edges[1:]].sum())
    return (searched if better else edges), max(bound, its_bound)


plan = planner(exact)


def _solve(problem: Problem, program: _Program) -> tuple[Ids | None, float, bool]:
    """The edges used (edges,) as 0 and 1, or None where none were found in time; a bound of the storage; and whether
    they are the optimum.
    """
    seconds = FIRST_SECONDS
    while True:
        problem.check()
        answer = optimize.milp(
            program.costs,
            integrality=program.integrality,
            bounds=optimize.Bounds(0, 1),
            constraints=program.constraints(),
            options={"time_limit": seconds, "mip_rel_gap": 0.0},
        )
        if answer.status == 0 or seconds >= MOST_SECONDS:
            break
        seconds *= 2
    problem.check()
    bound = float(answer.fun) if answer.status == 0 else float(answer.mip_dual_bound or 0.0)
    used = None if answer.x is None else np.round(answer.x[: program.edges]).astype(np.int64)
    return used, max(bound, 0.0), answer.status == 0


@dataclass
class _Rows:
    """Constraints low ≤ A x ≤ high in the making."""

    row: list[Ids] = field(default_factory=list)
    column: list[Ids] = field(default_factory=list)
    value: list[Costs] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, columns: Ids, values: Costs, low: float, high: float) -> None:
        self.row.append(np.full(len(columns), len(self.low)))
        self.column.append(columns)
        self.value.append(values)
        self.low.append(low)
        self.high.append(high)


class _Program:
    """Variables: whether each edge is used; for each matrix whether each edge lies on its path; under reusable
    retrieval for each snapshot whether each edge lies in its Steiner tree.
    """

    def __init__(self, problem: Problem, part: StorageGraph) -> None:
        self._problem, self._part = problem, part
        self.edges = len(part.source)
        self._shared = [s for s in range(len(part.snapshots)) if np.isfinite(problem.budgets[s])]
        blocks = 1 + part.matrices + (len(self._shared) if problem.scheme == "reusable" else 0)
        self.costs = np.zeros(self.edges * blocks)
        self.costs[: self.edges] = part.storage
        self.integrality = np.zeros(self.edges * blocks)
        self.integrality[: self.edges] = 1
        self._rows = _Rows()
        self._one_edge_into_each()
        for matrix in range(1, part.matrices + 1):
            self._path_to(matrix)
        self._budgets()

    def constraints(self) -> optimize.LinearConstraint:
        rows = self._rows
        place = (np.concatenate(rows.row), np.concatenate(rows.column))
        shape = (len(rows.low), len(self.costs))
        matrix = sparse.csr_array((np.concatenate(rows.value), place), shape=shape)
        return optimize.LinearConstraint(matrix, np.array(rows.low), np.array(rows.high))

    def _one_edge_into_each(self) -> None:
        for matrix in range(1, self._part.matrices + 1):
            into = np.flatnonzero(self._part.target == matrix)
            self._rows.add(into, np.ones(len(into)), 1, 1)

    def _path_to(self, matrix: int) -> None:
        part, rows, first = self._part, self._rows, matrix * self.edges
        for node in range(1, part.matrices + 1):
            into, out = np.flatnonzero(part.target == node), np.flatnonzero(part.source == node)
            ways = np.concatenate([np.ones(len(into)), -np.ones(len(out))])
            end = float(node == matrix)
            rows.add(first + np.concatenate([into, out]), ways, end, end)
        for edge in range(self.edges):
            rows.add(np.array([edge, first + edge]), np.array([1.0, -1.0]), 0, np.inf)
        if self._problem.bounded:
            rows.add(first + np.arange(self.edges), np.ones(self.edges), 0, self._problem.deepest)

    def _budgets(self) -> None:
        part, limits = self._part, self._problem.limits
        for place, snapshot in enumerate(self._shared):
            paths = [matrix * self.edges + np.arange(self.edges) for matrix in part.snapshots[snapshot].tolist()]
            limit = float(limits[snapshot])
            if self._problem.scheme == "independent" and paths:
                self._rows.add(np.concatenate(paths), np.tile(part.recreation, len(paths)), 0, limit)
            elif self._problem.scheme == "parallel":
                for path in paths:
                    self._rows.add(path, part.recreation, 0, limit)
            elif self._problem.scheme == "reusable":
                self._shared_budget((1 + part.matrices + place) * self.edges, paths, limit)

    def _shared_budget(self, first: int, paths: list[Ids], limit: float) -> None:
        for path in paths:
            for edge in range(self.edges):
                self._rows.add(np.array([first + edge, path[edge]]), np.array([1.0, -1.0]), 0, np.inf)
        self._rows.add(first + np.arange(self.edges), self._part.recreation, 0, limit)
