"""PAS-MT or PAS-PT, whichever takes less storage, as the paper's authors advise."""

from __future__ import annotations

from delc.archive.planning.graph import Ids
from delc.archive.planning.pas_mt import pas_mt
from delc.archive.planning.pas_pt import pas_pt
from delc.archive.planning.problem import Problem, planner


def best_of_two(problem: Problem) -> Ids:
    """The plan of PAS-MT or of PAS-PT: of those that keep every budget the one of less storage."""
    found = [pas_mt(problem), pas_pt(problem)]
    storage = problem.graph.storage
    return min(found, key=lambda edges: (not problem.holds(edges), float(storage[edges[1:]].sum())))


plan = planner(best_of_two)
