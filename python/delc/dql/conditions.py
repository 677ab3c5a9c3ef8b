"""Conditions as SQL over the relations of models, versions, layers and edges.

Every piece of text is constant; what the query says is bound. A condition on layers holds for a model when it holds for
one of them. Where a selector is bound to one layer, it stands for that layer alone: so the same conditions choose the
nodes of ``mutate``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeGuard

from delc.dql.attributes import Model, Term, attribute_term
from delc.dql.parameters import Bindings
from delc.dql.problems import Place, WrongValue, problem, unknown_name
from delc.dql.selectors import Selector, read_selector
from delc.dql.syntax import (
    Argument,
    Attribute,
    Both,
    Comparison,
    Has,
    IsNull,
    ListLiteral,
    Literal,
    Node,
    NodeAttribute,
    Not,
    OneOf,
    Operand,
    Predicate,
    Value,
)
from delc.dql.templates import Wanted, canonical, read_template
from delc.networks import KINDS

_NODE_PLAIN = {
    "name": ("{layer}.name", "text"),
    "kind": ("{layer}.kind", "text"),
    "position": ("{layer}.position", "number"),
    "parameters": ("{layer}.parameters", "number"),
    "output_shape": ("to_jsonb({layer}.output_shape)", "json"),
    "inputs": (
        "(SELECT count(*) FROM delc.layer_edges AS i"
        " WHERE i.version_id = {layer}.version_id AND i.to_layer = {layer}.name)",
        "number",
    ),
    "outputs": (
        "(SELECT count(*) FROM delc.layer_edges AS i"
        " WHERE i.version_id = {layer}.version_id AND i.from_layer = {layer}.name)",
        "number",
    ),
}

_ARGUMENTS = frozenset(argument.name for kind in KINDS.values() for argument in kind.arguments)

MOST_JOINED = 3
"""Tables of a walk of one step, which PostgreSQL may join with those of other conditions."""

MOST_WALKS = 2
"""So many walks of a statement may be joined: each may be the rare one by which versions are found, but joined with all
versions many of them take minutes. The others are looked at version by version.
"""

MOST_INTEGER = 2**31 - 1

_LISTS = 'Lists are compared with those of layers: m["conv1"].output_shape = [6, 16, 16].'

_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-](0\d|1[0-4])(:[0-5]\d)?)?)?")
"""Times as both Python and PostgreSQL read them; no clock is further from Greenwich than 14 hours."""

_SWAPPED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Scope:
    """What the names of a query stand for: variables, and selectors that are bound to one layer (their texts → alias
    of the layer's row). ``edges``: the relation that has the edges between layers.
    """

    models: Mapping[str, Model]
    bindings: Bindings
    bound: Mapping[tuple[str, str], str] = field(default_factory=dict)
    edges: str = "delc.layer_edges"

    def model(self, variable: str, place: Place) -> Model:
        """The tables of a variable."""
        if variable not in self.models:
            raise unknown_name(place, "variable", variable, self.models)
        return self.models[variable]

    def bind(self, value: object, type_name: str) -> str:
        """The placeholder of a value."""
        return self.bindings.bind(value, type_name)


def predicate_sql(predicate: Predicate, scope: Scope) -> str:
    """The SQL of a predicate."""
    match predicate:
        case Both():
            word = " AND " if predicate.word == "and" else " OR "
            return "(" + word.join(predicate_sql(part, scope) for part in predicate.predicates) + ")"
        case Not():
            return f"(NOT {predicate_sql(predicate.predicate, scope)})"
        case Has():
            return _has(predicate, scope)
        case Comparison():
            return _comparison(predicate, scope)
        case OneOf():
            left = term(predicate.left, scope)
            conditions = [
                _compared(left, "=", _literal_for(left, literal, scope))
                for literal in predicate.values
            ]
            return left.wrap("(" + " OR ".join(conditions) + ")")
        case IsNull():
            return _is_null(term(predicate.operand, scope))


def term(operand: Operand, scope: Scope) -> Term:
    """The SQL of an operand."""
    match operand:
        case Attribute():
            return attribute_term(operand, scope.model(operand.variable, operand.place), scope.bindings)
        case NodeAttribute():
            return _node_attribute(operand, scope)
        case Literal():
            return _plain_literal(operand, scope)
        case ListLiteral():
            raise problem(operand.place, "a list is compared with no attribute", hint=_LISTS)


def _is_null(left: Term) -> str:
    """That there is no value: of what may have several, none."""
    there = f"({left.sql} IS NOT NULL)"
    if left.type == "json":
        there = f"coalesce({left.sql} <> 'null', false)"
    return f"(NOT {left.wrap(there)})"


def select_layers(selector: Selector, layer: str, scope: Scope) -> str:
    """That the layer of an alias is one of the selector's."""
    return _is_named(selector, f"{layer}.name", scope)


def _is_named(selector: Selector, column: str, scope: Scope) -> str:
    """That the name in a column is one of the selector's."""
    if selector.is_names:
        names = selector.names()
        if len(names) == 1:
            return f"{column} = {scope.bind(names[0], 'text')}"
        return f"{column} = ANY ({scope.bind(names, 'text[]')})"
    patterns = selector.like_patterns()
    if patterns == ["%"]:
        return "true"
    if len(patterns) == 1:
        return f"{column} LIKE {scope.bind(patterns[0], 'text')}"
    return f"{column} LIKE ANY ({scope.bind(patterns, 'text[]')})"


def follow(step: str, layer: str, tables: list[str], conditions: list[str], model: Model, bindings: Bindings) -> str:
    """Adds one step along the edges to the tables and conditions; the alias of the layer that it leads to."""
    edge, following = bindings.alias("e"), bindings.alias("l")
    here, there = ("from_layer", "to_layer") if step == "next" else ("to_layer", "from_layer")
    tables += [f"delc.layer_edges AS {edge}", f"delc.layers AS {following}"]
    conditions += [
        f"{edge}.version_id = {model.version}.id AND {edge}.{here} = {layer}.name",
        f"{following}.version_id = {model.version}.id AND {following}.name = {edge}.{there}",
    ]
    return following


@dataclass(frozen=True)
class _Walk:
    """Layers reached from a node: the tables, the conditions that join them, and the alias of the last layer."""

    tables: tuple[str, ...]
    conditions: tuple[str, ...]
    layer: str
    is_joined: bool

    def exists(self, *held: str) -> str:
        """That there is such a layer for which the conditions hold."""
        conditions = " AND ".join([*self.conditions, *held]) or "true"
        if not self.tables:
            return f"({conditions})"
        # Joined with all versions at once, long walks multiply; each of them alone is short. OFFSET keeps them apart.
        fence = "" if self.is_joined and "EXISTS" not in conditions else " OFFSET 0"
        return f"EXISTS (SELECT FROM {', '.join(self.tables)} WHERE {conditions}{fence})"


def _walk(node: Node, scope: Scope) -> _Walk:
    model = scope.model(node.variable, node.place)
    selector = read_selector(node.selector, node.selector_place)
    tables: list[str] = []
    conditions: list[str] = []
    layer = scope.bound.get((node.variable, selector.binding))
    if layer is None:
        layer = scope.bindings.alias("l")
        tables.append(f"delc.layers AS {layer}")
        conditions += [f"{layer}.version_id = {model.version}.id", select_layers(selector, layer, scope)]
    for step in node.steps:
        layer = follow(step, layer, tables, conditions, model, scope.bindings)
    scope.bindings.walks += 1
    is_joined = len(tables) <= MOST_JOINED and scope.bindings.walks <= MOST_WALKS
    return _Walk(tuple(tables), tuple(conditions), layer, is_joined)


def _has(predicate: Has, scope: Scope) -> str:
    walk = _walk(predicate.node, scope)
    if predicate.template is None:
        return walk.exists()
    return walk.exists(*_template_conditions(read_template(predicate.template), walk, scope))


def template_sql(wanted: Wanted, layer: str, scope: Scope) -> str:
    """That the layer of an alias is one that a template stands for."""
    return " AND ".join(_template_conditions(wanted, _Walk((), (), layer, False), scope)) or "true"


def _template_conditions(wanted: Wanted, walk: _Walk, scope: Scope) -> list[str]:
    conditions = []
    layer = walk.layer
    if len(wanted.kinds) < len(KINDS):
        conditions.append(f"{layer}.kind = ANY ({scope.bind(list(wanted.kinds), 'text[]')})")
    if wanted.name is not None:
        if "$" in wanted.name:
            raise problem(
                wanted.template.place,
                f'"{wanted.name:.60}" uses a capture, which only the templates of mutate may',
                hint='Write a pattern, such as "relu*".',
            )
        conditions.append(select_layers(read_selector(wanted.name, wanted.template.place), layer, scope))
    conditions += [_argument_condition(argument, walk, scope) for argument in wanted.arguments]
    return conditions + [_reads(layer, other, wanted, scope) for other in wanted.other_inputs()]


def _reads(layer: str, other: str, wanted: Wanted, scope: Scope) -> str:
    """That a layer reads a layer, or an input of the network, that a selector names."""
    assert wanted.others is not None
    edge = scope.bindings.alias("e")
    named = _is_named(read_selector(other, wanted.others.place), f"{edge}.from_layer", scope)
    return (
        f"EXISTS (SELECT FROM {scope.edges} AS {edge}"
        f" WHERE {edge}.version_id = {layer}.version_id AND {edge}.to_layer = {layer}.name AND {named})"
    )


def _argument_condition(argument: Argument, walk: _Walk, scope: Scope) -> str:
    assert argument.name is not None
    found = _layer_argument(argument.name, walk, scope)
    given = list(argument.values) if argument.is_list else argument.values[0]
    return _json_compared(found, argument.comparison, given, argument.place, scope)


def _layer_argument(name: str, walk: _Walk, scope: Scope) -> Term:
    """An argument of a walk's layer. Those that are looked for are found by index; one that is at hand is not."""
    arguments = f"{walk.layer}.arguments"
    document = (arguments, name) if walk.tables else None
    sql = f"({arguments} -> {scope.bind(name, 'text')})"
    return Term(
        sql, "json", lambda held: walk.exists(held), title=name, document=document, argument=(walk.layer, name)
    )


def _node_attribute(operand: NodeAttribute, scope: Scope) -> Term:
    found = _whole_attribute(operand, scope)
    if operand.index is None:
        return found
    if found.type != "json":
        raise problem(operand.name_place, f"{operand.name} is a {found.type}, which has no elements", kind=WrongValue)
    if found.integers is not None:
        place = scope.bind(operand.index, "integer")
        if operand.index < 0:
            place = f"cardinality({found.integers}) + 1 + {place}"
        return Term(f"({found.integers}[{place}])", "number", found.wrap, found.title)
    place = scope.bind(operand.index - 1 if operand.index > 0 else operand.index, "integer")
    element = f"{found.sql} -> {place}"
    # Sizes that are the same in all dimensions are one number.
    sql = f"(CASE jsonb_typeof({found.sql}) WHEN 'array' THEN {element} ELSE {found.sql} END)"
    return Term(sql, "json", found.wrap, found.title)


def _whole_attribute(operand: NodeAttribute, scope: Scope) -> Term:
    name, node = operand.name.lower(), operand.node
    if name == "input_shape":  # that of the layers that it reads
        name, node = "output_shape", replace(node, steps=(*node.steps, "prev"))
    walk = _walk(node, scope)
    if operand.index is not None and node.steps and read_selector(node.selector, node.selector_place).is_names:
        # How often an element of a shape has a value, no statistics tell; of layers that are named few are looked at.
        walk = replace(walk, is_joined=False)
    if name in _NODE_PLAIN:
        sql, type_name = _NODE_PLAIN[name]
        integers = f"{walk.layer}.output_shape" if name == "output_shape" else None
        return Term(
            sql.format(layer=walk.layer), type_name, lambda held: walk.exists(held), title=name, integers=integers
        )
    if name not in _ARGUMENTS:
        known = [*_NODE_PLAIN, "input_shape", *_ARGUMENTS]
        raise unknown_name(operand.name_place, "attribute of layers", operand.name, known)
    return _layer_argument(name, walk, scope)


def _comparison(predicate: Comparison, scope: Scope) -> str:
    left, right = predicate.left, predicate.right
    if isinstance(left, Literal | ListLiteral) and isinstance(right, Literal | ListLiteral):
        raise problem(left.place, "two values are compared, and no attribute", hint="Write, for example, m.name = …")
    if isinstance(left, Literal | ListLiteral):
        if predicate.operator == "like":
            raise problem(left.place, "a value is matched, and no attribute")
        return _comparison(Comparison(right, _SWAPPED[predicate.operator], left, predicate.place), scope)
    found = term(left, scope)
    if predicate.operator == "like":
        return _like(found, right, scope, predicate.place)
    if isinstance(right, Literal | ListLiteral):
        condition = _compared(found, predicate.operator, _literal_for(found, right, scope))
        return found.wrap(condition)
    other = term(right, scope)
    if {found.type, other.type} == {"json", "number"} or found.type == other.type == "json":
        found, other = _as_json(found), _as_json(other)
    elif "json" in (found.type, other.type):
        found, other = _as_text(found), _as_text(other)
    if found.type != other.type:
        raise problem(
            predicate.place,
            f"{found.title or 'this'} ({found.type}) and {other.title or 'this'} ({other.type}) cannot be compared",
            kind=WrongValue,
        )
    return found.wrap(other.wrap(f"({found.sql} {predicate.operator} {other.sql})"))


def _like(found: Term, right: Operand, scope: Scope, place: Place) -> str:
    assert isinstance(right, Literal)
    found = _as_text(found)
    if found.type != "text":
        raise problem(place, f"{found.title} is a {found.type}, which has no pattern", kind=WrongValue)
    pattern = str(right.value)
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise problem(right.place, "the pattern ends with a backslash, which stands before another character")
    return found.wrap(f"({found.sql} LIKE {scope.bind(pattern, 'text')})")


_Held = tuple[Value | Sequence[Value], Place, Scope]


def _compared(left: Term, operator: str, right: str | _Held) -> str:
    if isinstance(right, tuple):
        value, place, scope = right
        return _json_compared(left, operator, value, place, scope)
    return f"({left.sql} {operator} {right})"


def _literal_for(left: Term, literal: Literal | ListLiteral, scope: Scope) -> str | _Held:
    """A value in the type of what it is compared with; of a json one it is left to ``_json_compared``."""
    if isinstance(literal, ListLiteral):
        if left.type != "json":
            message = f"{left.title or 'this attribute'} is a {left.type}, which is not compared with a list"
            raise problem(literal.place, message, hint=_LISTS, kind=WrongValue)
        return literal.values, literal.place, scope
    value = literal.value
    if left.type == "json":
        return value, literal.place, scope
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if left.type == "number" and is_number:
        return scope.bind(float(value), "double precision")
    if left.type == "text" and isinstance(value, str):
        return scope.bind(value, "text")
    if left.type == "boolean" and isinstance(value, bool):
        return scope.bind(value, "boolean")
    if left.type == "time" and isinstance(value, str):
        return scope.bind(_time(value, literal.place), "timestamptz")
    shown = f'"{value:.60}"' if isinstance(value, str) else json.dumps(value)
    raise problem(
        literal.place,
        f"{left.title or 'this attribute'} is a {left.type}, which {shown} is not",
        hint='Times are written "2026-01-31" or "2026-01-31 18:00".' if left.type == "time" else None,
        kind=WrongValue,
    )


def _json_compared(left: Term, operator: str, value: Value | Sequence[Value], place: Place, scope: Scope) -> str:
    """A value of an argument, shape or option, which is JSON, compared."""
    sql = left.sql
    if operator in ("=", "<>"):
        return _json_equals(left, value, scope) if operator == "=" else _json_differs(left, value, scope)
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        raise problem(
            place, f"{json.dumps(value)} has no order", hint="Only numbers are greater or less.", kind=WrongValue
        )
    return f"(jsonb_typeof({sql}) = 'number' AND {sql} {operator} {scope.bind(json.dumps(value), 'jsonb')})"


def _json_equals(left: Term, value: Value | Sequence[Value], scope: Scope) -> str:
    if left.integers is not None and _are_integers(value):
        return f"({left.integers} = {scope.bind(list(value), 'integer[]')})"
    held = f"{left.sql} = {scope.bind(json.dumps(value), 'jsonb')}"
    if left.document is not None:
        arguments, name = left.document
        contains = f"{arguments} @> {scope.bind(json.dumps({name: value}), 'jsonb')}"
        held = contains if isinstance(value, bool | str | int | float) else f"{contains} AND {held}"
    layer, kinds = _one_number(left, value)
    if not kinds:
        return f"({held})"
    assert isinstance(value, Sequence)
    one = _json_equals(replace(left, argument=None), value[0], scope)
    return f"({held} OR {one} AND {layer}.kind = ANY ({scope.bind(kinds, 'text[]')}))"


def _json_differs(left: Term, value: Value | Sequence[Value], scope: Scope) -> str:
    if left.integers is not None and _are_integers(value):
        return f"({left.integers} <> {scope.bind(list(value), 'integer[]')})"
    layer, kinds = _one_number(left, value)
    differs = f"{left.sql} <> {scope.bind(json.dumps(value), 'jsonb')}"
    if not kinds:
        return f"({differs})"
    assert isinstance(value, Sequence)
    other = f"{left.sql} <> {scope.bind(json.dumps(value[0]), 'jsonb')}"
    return f"({differs} AND ({other} OR {layer}.kind <> ALL ({scope.bind(kinds, 'text[]')})))"


def _one_number(left: Term, value: Value | Sequence[Value]) -> tuple[str, list[str]]:
    """The kinds of layers in which an argument with this list, of sizes that are all equal, is stored as one number;
    and the alias of the layer.
    """
    if left.argument is None or not isinstance(value, list | tuple):
        return "", []
    layer, name = left.argument
    given = list(value)
    return layer, [kind for kind in KINDS if isinstance(canonical(kind, name, given), int)]


def _are_integers(value: Value | Sequence[Value]) -> TypeGuard[Sequence[int]]:
    return isinstance(value, list | tuple) and all(type(each) is int and abs(each) <= MOST_INTEGER for each in value)


def _plain_literal(literal: Literal, scope: Scope) -> Term:
    value = literal.value
    if isinstance(value, bool):
        return Term(scope.bind(value, "boolean"), "boolean")
    if isinstance(value, str):
        return Term(scope.bind(value, "text"), "text")
    return Term(scope.bind(float(value), "double precision"), "number")


def _as_json(found: Term) -> Term:
    return found if found.type == "json" else Term(f"to_jsonb({found.sql})", "json", found.wrap, found.title)


def _as_text(found: Term) -> Term:
    return Term(f"({found.sql} #>> '{{}}')", "text", found.wrap, found.title) if found.type == "json" else found


def _time(text: str, place: Place) -> str:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        datetime.fromisoformat(text)
    except ValueError:
        raise problem(
            place,
            f'"{text:.60}" is no time',
            hint='Times are written "2026-01-31" or "2026-01-31 18:00".',
            kind=WrongValue,
        ) from None
    return text


def metrics_named(predicate: Predicate | None, scope: Scope) -> list[tuple[str, str]]:
    """The metrics of models that a predicate asks for, in order: (variable, metric)."""
    found: list[tuple[str, str]] = []

    def visit(part: object) -> None:
        if isinstance(part, Attribute):
            metric = term(part, scope).metric
            if metric is not None:
                found.append((part.variable, metric))
        elif isinstance(part, Both):
            for each in part.predicates:
                visit(each)
        elif isinstance(part, Not):
            visit(part.predicate)
        elif isinstance(part, Comparison):
            visit(part.left)
            visit(part.right)
        elif isinstance(part, OneOf):
            visit(part.left)

    if predicate is not None:
        visit(predicate)
    return found
