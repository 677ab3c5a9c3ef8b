"""Planners of the archive: which matrix to keep as a delta of which, so that storage is least and snapshots stay fast.

Pure computation on a ``StorageGraph``; nothing here knows a database. ``PLANNERS`` has them all by name; ``priced`` is
ours and the one to use, ``exact`` proves the optimum for small graphs, the others are baselines.
"""

from __future__ import annotations

from collections.abc import Mapping

from delc.archive.planning import (
    best_of_two,
    exact,
    last,
    least_storage,
    pas_mt,
    pas_pt,
    priced,
    shortest_paths,
    whole,
)
from delc.archive.planning.graph import Scheme, StorageGraph, storage_graph
from delc.archive.planning.plan import Plan, checked_plan
from delc.archive.planning.problem import BudgetTooSmall, Planner, PlanOverBudget

PLANNERS: Mapping[str, Planner] = {
    "whole": whole.plan,
    "least_storage": least_storage.plan,
    "shortest_paths": shortest_paths.plan,
    "last": last.plan,
    "pas_mt": pas_mt.plan,
    "pas_pt": pas_pt.plan,
    "best_of_two": best_of_two.plan,
    "priced": priced.plan,
    "exact": exact.plan,
}

__all__ = [
    "PLANNERS",
    "BudgetTooSmall",
    "Plan",
    "PlanOverBudget",
    "Planner",
    "Scheme",
    "StorageGraph",
    "checked_plan",
    "storage_graph",
]
