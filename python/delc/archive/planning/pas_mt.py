"""PAS-MT: from least storage, swap by swap, to the budgets."""

from __future__ import annotations

from delc.archive.planning.graph import Ids
from delc.archive.planning.least_storage import least_storage
from delc.archive.planning.problem import Problem, planner
from delc.archive.planning.repair import repaired


def pas_mt(problem: Problem) -> Ids:
    """The minimum spanning tree, changed by the swap of largest gain / cost until every budget is kept; Miao et al.,
    ICDE 2017.
    """
    return repaired(problem, least_storage(problem))


plan = planner(pas_mt)
