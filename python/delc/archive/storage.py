"""From choices to a plan: the matrix storage graph of a scope, and what a planner makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delc.archive import budgets, costs
from delc.archive.choices import Choice, Choices
from delc.archive.planning import PLANNERS, Plan, Planner, Scheme, StorageGraph, storage_graph
from delc.archive.scope import Scope
from delc.server import interrupts
from delc.server.errors import unknown

OBJECTIVES: Mapping[str, str | None] = {"budget": None, "smallest": "least_storage", "fastest": "shortest_paths"}
"""The planner that each objective means: 'budget' leaves the choice to the user."""


@dataclass(frozen=True)
class Request:
    """What is asked of a plan. ``planner``: the name of one of ``PLANNERS``."""

    planner: str
    retrieval: Scheme
    budgets: Mapping[str, budgets.Budget] | None
    longest_chain: int


def decide(scope: Scope, choices: Choices, newest: frozenset[int], request: Request) -> dict[int, Choice]:
    """The way in which each tensor of the scope is to be stored.

    Errors are those of the planners: ``BudgetTooSmall`` names the snapshot whose budget nothing can keep.
    """
    built = _graph(scope, choices)
    longest = max([request.longest_chain, *(tensor.hops for tensor in scope.outside.values())])
    allowed: Any = None
    if request.budgets is not None:
        fastest = _planner("shortest_paths")(built.graph, None, request.retrieval, check=interrupts.check)
        shortest = fastest.recreation(request.retrieval).tolist()
        allowed = budgets.allowed(request.budgets, scope.snapshots, newest, shortest)
    plan = _planner(request.planner)(
        built.graph, allowed, request.retrieval, longest_chain=longest, check=interrupts.check
    )
    return built.chosen(plan)


@dataclass(frozen=True)
class _Built:
    """A graph, and what its nodes and edges are."""

    graph: StorageGraph
    edges: Sequence[Choice | None]
    """By edge; None for those into tensors outside of the scope."""

    def chosen(self, plan: Plan) -> dict[int, Choice]:
        picked = (self.edges[edge] for edge in plan.edges[1:].tolist())
        return {choice.target: choice for choice in picked if choice is not None}


def _graph(scope: Scope, choices: Choices) -> _Built:
    ids = [*scope.tensors, *scope.outside]
    node = {None: 0} | {key: place for place, key in enumerate(ids, 1)}
    source, target, stored, recreated = [], [], [], []
    edges: list[Choice | None] = []
    for choice in choices.found:
        source.append(node[choice.base])
        target.append(node[choice.target])
        stored.append(choice.cost.bytes)
        recreated.append(choice.cost.milliseconds)
        edges.append(choice)
    for tensor in scope.outside.values():
        cost = costs.of(tensor, tensor.encoding, tensor.stored_bytes)
        source.append(node[tensor.base])
        target.append(node[tensor.id])
        stored.append(0.0)  # it is there, whatever the plan
        recreated.append(cost.milliseconds)
        edges.append(None)
    members = [np.array([node[key] for key in snapshot.tensors], dtype=np.int64) for snapshot in scope.snapshots]
    titles = [snapshot.title for snapshot in scope.snapshots]
    return _Built(storage_graph(len(ids), source, target, stored, recreated, members, titles), edges)


def _planner(name: str) -> Planner:
    if name not in PLANNERS:
        raise unknown("planner", name, PLANNERS)
    return PLANNERS[name]


def order(chosen: Mapping[int, Choice], scope: Scope) -> list[Choice]:
    """The choices so that each comes after those of all tensors that its base is restored from."""
    waiting: dict[int | None, list[Choice]] = {}
    for choice in chosen.values():
        base = choice.base
        while base is not None and base not in chosen:  # outside of the scope, where all stays as it is
            base = scope.outside[base].base
        waiting.setdefault(base, []).append(choice)
    ordered = list(waiting.get(None, []))
    for choice in ordered:
        ordered.extend(waiting.get(choice.target, []))
    return ordered
