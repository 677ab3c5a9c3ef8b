"""Select: which versions match, which of their layers, and what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delc.dql.attributes import Model
from delc.dql.conditions import Scope, follow, predicate_sql, select_layers
from delc.dql.parameters import Bindings
from delc.dql.problems import TooLarge, problem
from delc.dql.selectors import read_selector
from delc.dql.sources import Made, Range
from delc.dql.statements import MOST_ORDERED, in_range, statement
from delc.dql.syntax import (
    Attribute,
    Both,
    Comparison,
    Has,
    IsNull,
    Node,
    NodeAttribute,
    Not,
    OneOf,
    Predicate,
    Select,
)
from delc.server import queries

MOST_ROWS = 100_000


@dataclass(frozen=True)
class Found:
    """The rows of a select: for each, the versions' ids in the order of ``variables``, and what was measured."""

    variables: tuple[str, ...]
    rows: list[tuple[int, ...]]
    metric: str | None
    values: list[float | None]


def select(query: Select, made: Made, chain: tuple[str, ...] = ()) -> Found:
    """Runs a select; more than ``MOST_ROWS`` rows are an error, because each takes memory of this process. Queries that
    make versions, nested in it, are run through ``made``.
    """
    bindings = Bindings()
    planned = statement(query, made, chain, bindings, MOST_ROWS + 1)
    with queries.as_owner():
        rows = queries.rows(planned.sql, *bindings.values)
    if len(rows) > MOST_ROWS:
        raise problem(
            query.places[0],
            f"more than {MOST_ROWS} rows match",
            hint="Join the variables by a condition, or end the query with a limit.",
            kind=TooLarge,
        )
    if rows and rows[0]["candidates"] > MOST_ORDERED:
        raise problem(
            query.order[0].operand.place if isinstance(query.order[0].operand, Attribute) else query.places[0],
            f"more than {MOST_ORDERED} rows match, of which the first are asked for",
            hint="Join the variables by more conditions, or leave order by out: then any of them will do.",
            kind=TooLarge,
        )
    keys = [f"id{place}" for place in range(len(query.variables))]
    return Found(
        query.variables,
        [tuple(row[key] for key in keys) for row in rows],
        planned.metric,
        [row["measured"] for row in rows],
    )


def matching(
    variable: str, source: Range, where: Predicate | None, made: Made, mutated: Sequence[Node] = ()
) -> list[int]:
    """The versions that a source has and for which a condition holds, in the order of their names.

    With ``mutated`` nodes: those that have such a node for which the condition holds (see ``nodes``).
    """
    bindings = Bindings()
    model = Model("v", "n")
    conditions = [*in_range(source, model, made, bindings)]
    if mutated:
        chosen = [_chosen(variable, node, where, model, bindings) for node in mutated]
        conditions.append("(" + " OR ".join(f"EXISTS (SELECT {each.text})" for each in chosen) + ")")
    elif where is not None:
        conditions.append(predicate_sql(where, Scope({variable: model}, bindings)))
    condition = " AND ".join(conditions) or "true"
    sql = f"SELECT v.id FROM {model.tables(bindings)} WHERE {condition} ORDER BY n.name, v.number"
    with queries.as_owner():
        return [row["id"] for row in queries.rows(sql, *bindings.values)]


def nodes(variable: str, version_id: int, node: Node, where: Predicate | None) -> list[tuple[str, dict[int, str]]]:
    """The layers of a version that a node stands for, in order, with what its selector captured: those for which the
    condition holds with the selector standing for the one layer alone.
    """
    bindings = Bindings()
    model = Model("v", "n")
    chosen = _chosen(variable, node, where, model, bindings)
    sql = (
        f"SELECT {chosen.start}.name AS start, {chosen.layer}.name AS name"
        f" FROM {model.tables(bindings)}, {chosen.tables}"
        f" WHERE v.id = {bindings.bind(version_id, 'bigint')} AND {chosen.conditions}"
        f" ORDER BY {chosen.start}.position, {chosen.layer}.position"
    )
    with queries.as_owner():
        found = queries.rows(sql, *bindings.values)
    selector = read_selector(node.selector, node.selector_place)
    captured: dict[str, dict[int, str]] = {}
    for row in found:
        captured.setdefault(row["name"], selector.match(row["start"]) or {})
    return list(captured.items())


def is_named(node: Node, where: Predicate | None) -> bool:
    """Whether a condition speaks of the layers that a node's selector stands for."""
    match where:
        case Both():
            return any(is_named(node, part) for part in where.predicates)
        case Not():
            return is_named(node, where.predicate)
        case Has():
            parts: tuple[object, ...] = (where.node,)
        case Comparison():
            parts = (where.left, where.right)
        case OneOf():
            parts = (where.left,)
        case IsNull():
            parts = (where.operand,)
        case None:
            parts = ()
    found = [part.node if isinstance(part, NodeAttribute) else part for part in parts]
    return any(isinstance(each, Node) and _is_bound(each, node) for each in found)


def _is_bound(one: Node, other: Node) -> bool:
    names = [(each.variable, read_selector(each.selector, each.selector_place).binding) for each in (one, other)]
    return names[0] == names[1]


@dataclass(frozen=True)
class _Chosen:
    """The layers of a model that a node stands for, as parts of SQL: those that it starts at and those it leads to."""

    tables: str
    conditions: str
    start: str
    layer: str

    @property
    def text(self) -> str:
        """What follows a SELECT of them."""
        return f"FROM {self.tables} WHERE {self.conditions}"


def _chosen(variable: str, node: Node, where: Predicate | None, model: Model, bindings: Bindings) -> _Chosen:
    selector = read_selector(node.selector, node.selector_place)
    start = bindings.alias("l")
    scope = Scope({variable: model}, bindings, {(variable, selector.binding): start})
    scope.model(node.variable, node.place)
    tables = [f"delc.layers AS {start}"]
    conditions = [f"{start}.version_id = {model.version}.id", select_layers(selector, start, scope)]
    if where is not None:
        conditions.append(predicate_sql(where, scope))
    layer = start
    for step in node.steps:
        layer = follow(step, layer, tables, conditions, model, bindings)
    return _Chosen(", ".join(tables), " AND ".join(conditions), start, layer)


def describe(ids: list[int]) -> dict[int, dict[str, Any]]:
    """What is shown of versions, by id."""
    with queries.as_owner():
        found = queries.rows(_DESCRIBE, queries.typed(sorted(set(ids)), "bigint[]"))
    return {row["id"]: row for row in found}


_DESCRIBE = """
    SELECT version.id, model.name || '@' || version.number AS title, version.run_id, derived.source,
           version.task || ', ' || version.layers || ' layers, ' || version.parameters || ' parameters'
               || coalesce(', trained on ' || dataset.name || '@' || data.number, '') AS detail
    FROM unnest($1) AS wanted(id)
    JOIN delc.model_versions AS version ON version.id = wanted.id
    JOIN delc.models AS model ON model.id = version.model_id
    LEFT JOIN delc.dataset_versions AS data ON data.id = version.dataset_version_id
    LEFT JOIN delc.datasets AS dataset ON dataset.id = data.dataset_id
    LEFT JOIN (
        SELECT edge.derived, string_agg(line.name || '@' || base.number, ', ' ORDER BY base.id) AS source
        FROM unnest($1) AS wanted(id)
        JOIN delc.model_version_parents AS edge ON edge.derived = wanted.id
        JOIN delc.model_versions AS base ON base.id = edge.base
        JOIN delc.models AS line ON line.id = base.model_id
        GROUP BY edge.derived
    ) AS derived ON derived.derived = version.id
"""
