"""Select: one SQL statement over the relations of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delc.dql.attributes import Model, metric_sql
from delc.dql.conditions import Scope, follow, metrics_named, predicate_sql, select_layers, term
from delc.dql.parameters import Bindings
from delc.dql.problems import TooLarge, problem
from delc.dql.selectors import read_selector
from delc.dql.sources import Made, Range, range_of, variable_of
from delc.dql.syntax import (
    Attribute,
    Both,
    Comparison,
    Has,
    IsNull,
    Key,
    Node,
    NodeAttribute,
    Not,
    OneOf,
    Predicate,
    Select,
    Source,
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


@dataclass(frozen=True)
class Planned:
    """A select as SQL."""

    sql: str
    bindings: Bindings
    variables: tuple[str, ...]
    metric: str | None
    ranges: tuple[Range, ...]


def select(query: Select, made: Made, chain: tuple[str, ...] = ()) -> Found:
    """Runs a select; more than ``MOST_ROWS`` rows are an error, because each takes memory of this process."""
    planned = plan(query, made, chain)
    bounded = f"SELECT * FROM ({planned.sql}) AS found LIMIT {MOST_ROWS + 1}"
    with queries.as_owner():
        rows = queries.rows(bounded, *planned.bindings.values)
    if len(rows) > MOST_ROWS:
        raise problem(
            query.places[0],
            f"more than {MOST_ROWS} rows match",
            hint="Join the variables by a condition, or end the query with a limit.",
            kind=TooLarge,
        )
    keys = [f"id{place}" for place in range(len(planned.variables))]
    return Found(
        planned.variables,
        [tuple(row[key] for key in keys) for row in rows],
        planned.metric,
        [row["measured"] for row in rows],
    )


def plan(query: Select, made: Made, chain: tuple[str, ...]) -> Planned:
    """The SQL of a select. Queries that make versions, nested in it, are run through ``made``."""
    bindings = Bindings()
    sql, metric, ranges = _statement(query, made, chain, bindings)
    return Planned(sql, bindings, query.variables, metric, tuple(ranges))


def matching(
    variable: str, source: Range, where: Predicate | None, made: Made, mutated: Sequence[Node] = ()
) -> list[int]:
    """The versions that a source has and for which a condition holds, in the order of their names.

    With ``mutated`` nodes: those that have such a node for which the condition holds (see ``nodes``).
    """
    bindings = Bindings()
    model = Model("v", "n")
    conditions = [*_in_range(source, model, made, bindings)]
    if mutated:
        chosen = [_chosen(variable, node, where, model, bindings) for node in mutated]
        conditions.append("(" + " OR ".join(f"EXISTS (SELECT {each.text})" for each in chosen) + ")")
    elif where is not None:
        conditions.append(predicate_sql(where, Scope({variable: model}, bindings)))
    sql = f"SELECT v.id FROM {_tables(model)} WHERE {' AND '.join(conditions) or 'true'} ORDER BY n.name, v.number"
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
        f"SELECT {chosen.start}.name AS start, {chosen.layer}.name AS name FROM {_tables(model)}, {chosen.tables}"
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


def _statement(
    query: Select, made: Made, chain: tuple[str, ...], bindings: Bindings
) -> tuple[str, str | None, list[Range]]:
    ranges = _ranges(query, chain)
    models = {each.variable: Model(bindings.alias("v"), bindings.alias("n")) for each in ranges}
    scope = Scope(models, bindings)
    conditions: list[str] = []
    for each in ranges:
        conditions += _in_range(each, models[each.variable], made, bindings)
    if query.where is not None:
        conditions.append(predicate_sql(query.where, scope))
    shown = [models[variable] for variable in query.variables]
    hidden = [model for variable, model in models.items() if variable not in query.variables]
    where = " AND ".join(conditions) or "true"
    if hidden:
        where = f"EXISTS (SELECT FROM {', '.join(map(_tables, hidden))} WHERE {where})"
    metric, measured = _measured(query, scope)
    columns = [f"{model.version}.id AS id{place}" for place, model in enumerate(shown)]
    order = [_ordered(key, query.variables, scope) for key in query.order]
    order += [f"{model.line}.name, {model.version}.number" for model in shown]
    limit = "" if query.limit is None else f" LIMIT {bindings.bind(query.limit, 'bigint')}"
    sql = (
        f"SELECT {', '.join(columns)}, {measured} AS measured FROM {', '.join(map(_tables, shown))}"
        f" WHERE {where} ORDER BY {', '.join(order)}{limit}"
    )
    return sql, metric, ranges


def _ranges(query: Select, chain: tuple[str, ...]) -> list[Range]:
    """What every variable of a select ranges over. One source without a name of its own is that of all variables."""
    named: dict[str, Range] = {}
    sources = query.sources
    common = sources[0] if len(sources) == 1 and sources[0].variable is None else None
    if common is None:
        for source in sources:
            found = range_of(source, chain)
            if found.variable in named:
                raise problem(source.place, f"the variable {found.variable} is named twice")
            named[found.variable] = found
    for variable, place in zip(query.variables, query.places, strict=True):
        if common is not None:
            named[variable] = range_of(Source(variable, common.query, common.place), chain)
        else:
            named.setdefault(variable, Range(variable, None, place, chain))
    return list(named.values())


def _in_range(source: Range, model: Model, made: Made, bindings: Bindings) -> list[str]:
    """That a version is one of a source's."""
    if source.query is None:
        return []
    if not isinstance(source.query, Select):
        return [f"{model.version}.id = ANY ({bindings.bind(made(source), 'bigint[]')})"]
    variable_of(source.query, source.place)
    sql, _, _ = _statement(source.query, made, source.chain, bindings)
    return [f"{model.version}.id IN (SELECT nested.id0 FROM ({sql}) AS nested)"]


def _tables(model: Model) -> str:
    version, line = model.version, model.line
    return f"delc.model_versions AS {version} JOIN delc.models AS {line} ON {line}.id = {version}.model_id"


def _measured(query: Select, scope: Scope) -> tuple[str | None, str]:
    """The metric that a select shows: the one that it orders by, otherwise the first one that it asks for."""
    keys = [key.operand for key in query.order if isinstance(key.operand, Attribute)]
    named = [(operand.variable, term(operand, scope).metric) for operand in keys]
    named += metrics_named(query.where, scope)
    for variable, metric in named:
        if metric is not None and variable in query.variables:
            return metric, metric_sql(metric, scope.models[variable], scope.bindings)
    return None, "NULL::double precision"


def _ordered(key: Key, selected: Sequence[str], scope: Scope) -> str:
    found = term(key.operand, scope)
    operand = key.operand if isinstance(key.operand, Attribute) else key.operand.node
    if operand.variable not in selected:
        raise problem(
            operand.place,
            f"{operand.variable} is not selected, so nothing can be ordered by it",
            hint=f"Select it too: select {', '.join([*selected, operand.variable])} ….",
        )
    if found.wrap("x") != "x":
        raise problem(
            key.operand.name_place,
            f"{found.title} has several values, so nothing can be ordered by it",
            hint="Order by an attribute of the model itself, such as m.name or a metric.",
        )
    return f"{found.sql} {'DESC' if key.descending else 'ASC'} NULLS LAST"


def describe(ids: list[int]) -> dict[int, dict[str, Any]]:
    """What is shown of versions, by id."""
    with queries.as_owner():
        found = queries.rows(_DESCRIBE, queries.typed(sorted(set(ids)), "bigint[]"))
    return {row["id"]: row for row in found}


_DESCRIBE = """
    SELECT version.id, model.name || '@' || version.number AS title, version.task, version.parameters, version.run_id,
           dataset.name || '@' || data.number AS dataset,
           (SELECT count(*) FROM delc.layers AS layer WHERE layer.version_id = version.id) AS layers,
           (SELECT string_agg(base_model.name || '@' || base.number, ', ' ORDER BY base.id)
            FROM delc.model_version_parents AS edge JOIN delc.model_versions AS base ON base.id = edge.base
            JOIN delc.models AS base_model ON base_model.id = base.model_id WHERE edge.derived = version.id) AS source
    FROM unnest($1) AS wanted(id)
    JOIN delc.model_versions AS version ON version.id = wanted.id
    JOIN delc.models AS model ON model.id = version.model_id
    LEFT JOIN delc.dataset_versions AS data ON data.id = version.dataset_version_id
    LEFT JOIN delc.datasets AS dataset ON dataset.id = data.dataset_id
"""
