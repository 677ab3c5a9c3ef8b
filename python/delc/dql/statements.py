"""The SQL of a select.

Variables that conditions join are looked for together, others apart from them. Of each such part only as many rows are
asked for as the whole may have: what comes first in the product of parts is made of what comes first in each of them.
So a limit bounds the work also where variables are not joined at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from delc.dql.attributes import Model, metric_sql
from delc.dql.conditions import Scope, metrics_named, predicate_sql, term
from delc.dql.parameters import Bindings
from delc.dql.problems import problem
from delc.dql.sources import Made, Range, range_of, variable_of
from delc.dql.syntax import (
    Attribute,
    Both,
    Comparison,
    Has,
    IsNull,
    Key,
    ListLiteral,
    Literal,
    Not,
    OneOf,
    Operand,
    Predicate,
    Select,
    Source,
)

MOST_ORDERED = 1_000_000
"""So many rows of variables that are joined are put in the order that a query asks for, to take the first ones."""


@dataclass(frozen=True)
class Statement:
    """A select as SQL: columns id0, id1, … of the variables, "measured", and "candidates": from how many rows, up to
    one more than ``MOST_ORDERED``, the first ones were taken.
    """

    sql: str
    metric: str | None


@dataclass(frozen=True)
class _Sorted:
    """A key of the order: its SQL, of which variable, which way, and the column that has it."""

    variable: str
    sql: str
    way: str
    column: str


@dataclass(frozen=True)
class _Part:
    """Variables that conditions join, those that are selected and others, with these conditions."""

    shown: tuple[str, ...]
    hidden: tuple[str, ...]
    conditions: list[Predicate] = field(default_factory=list)


def statement(
    query: Select, made: Made, chain: tuple[str, ...], bindings: Bindings, most: int | None = None
) -> Statement:
    """The SQL of a select, of at most so many rows. Queries that make versions, nested in it, are run by ``made``."""
    ranges = _ranges(query, chain)
    models = {each.variable: Model(bindings.alias("v"), bindings.alias("n"), {}) for each in ranges}
    scope = Scope(models, bindings)
    limits = [limit for limit in (query.limit, most) if limit is not None]
    limit = f" LIMIT {bindings.bind(min(limits), 'bigint')}" if limits else ""
    metric, measured = _measured(query, scope)
    keys = _keys(query, scope)
    parts = _parts(query, [each.variable for each in ranges])
    within = {each.variable: in_range(each, models[each.variable], made, bindings) for each in ranges}
    builder = _Builder(query, scope, within, keys, measured, limit)
    alone = [builder.exists(part) for part in parts if not part.shown]
    pieces = [builder.part(part, alone if place == 0 else []) for place, part in enumerate(p for p in parts if p.shown)]
    return Statement(builder.joined(pieces), metric)


@dataclass(frozen=True)
class _Piece:
    """The SQL of one part, or of several joined ones; its columns for the order, and whether its rows are counted."""

    sql: str
    keys: tuple[_Sorted, ...]
    counted: tuple[str, ...]


@dataclass(frozen=True)
class _Builder:
    """What the parts of a statement have in common."""

    query: Select
    scope: Scope
    within: Mapping[str, list[str]]
    keys: Sequence[_Sorted]
    measured: tuple[str, str] | None
    limit: str

    def exists(self, part: _Part) -> str:
        """That there are versions for the variables of a part."""
        other = [each for each in part.conditions if variables_of(each).isdisjoint(part.hidden)]
        held = [predicate_sql(each, self.scope) for each in other]
        return " AND ".join([*held, *self._hidden(part.hidden, part.conditions, ())])

    def _hidden(self, variables: Sequence[str], conditions: Sequence[Predicate], known: Sequence[str]) -> list[str]:
        """That there are versions for variables that are not selected: one in another, the nearest to those that are
        known first. So for each that does not fit none of those that hang on it is looked for, and of each that does,
        one is enough.
        """
        return [
            self._nested(group, [each for each in conditions if not variables_of(each).isdisjoint(group)], known)
            for group in _joined(variables, conditions)
        ]

    def _nested(self, group: Sequence[str], conditions: Sequence[Predicate], known: Sequence[str]) -> str:
        first = _nearest(group, conditions, known)
        rest = [variable for variable in group if variable != first]
        own = [each for each in conditions if variables_of(each).isdisjoint(rest)]
        others = [each for each in conditions if not variables_of(each).isdisjoint(rest)]
        held = [
            *self._conditions([first]),
            *(predicate_sql(each, self.scope) for each in own),
            *self._hidden(rest, others, [*known, first]),
        ]
        return f"EXISTS (SELECT FROM {self._tables([first])} WHERE {' AND '.join(held) or 'true'})"

    def part(self, part: _Part, also: Sequence[str]) -> _Piece:
        """The rows of a part's selected variables."""
        conditions = [*also, *self._conditions(part.shown)]
        of_hidden = [each for each in part.conditions if not variables_of(each).isdisjoint(part.hidden)]
        conditions += [predicate_sql(each, self.scope) for each in part.conditions if each not in of_hidden]
        conditions += self._hidden(part.hidden, of_hidden, part.shown)
        keys = tuple(key for key in self.keys if key.variable in part.shown)
        columns = [self._id(variable) for variable in part.shown] + [f"{key.sql} AS {key.column}" for key in keys]
        if self.measured is not None and self.measured[0] in part.shown:
            columns.append(f"{self.measured[1]} AS measured")
        sql = (
            f"SELECT {', '.join(columns)} FROM {self._tables(part.shown)} WHERE {' AND '.join(conditions) or 'true'}"
        )
        if not self.limit:
            return _Piece(sql, keys, ())
        if any(self._are_equal_metrics(each) for each in part.conditions):
            # Planned for all of its rows, by hash; for the first few only, each version would be compared with each.
            sql = f"WITH matched AS MATERIALIZED ({sql}) SELECT * FROM matched"
        if len(part.shown) == 1:
            return _Piece(f"{sql}{_order(keys)}{self.limit}", keys, ())
        if not self.query.order:
            return _Piece(sql + self.limit, keys, ())
        counted = f"counted{self.query.variables.index(part.shown[0])}"
        bound = self.scope.bind(MOST_ORDERED + 1, "bigint")
        sql = f"SELECT joined.*, count(*) OVER () AS {counted} FROM ({sql} LIMIT {bound}) AS joined"
        return _Piece(f"{sql}{_order(keys)}{self.limit}", keys, (counted,))

    def _are_equal_metrics(self, predicate: Predicate) -> bool:
        """Whether a condition is that metrics of two variables are equal, of which no index and no statistics tell."""
        if not isinstance(predicate, Comparison) or predicate.operator != "=":
            return False
        sides = [side for side in (predicate.left, predicate.right) if isinstance(side, Attribute)]
        metrics = [term(side, self.scope).metric for side in sides]
        return None not in metrics and len({side.variable for side in sides}) == len(metrics) == 2

    def joined(self, pieces: Sequence[_Piece]) -> str:
        """All rows, in order."""
        whole = pieces[0]
        for piece in pieces[1:]:
            keys = tuple(key for key in self.keys if key in whole.keys or key in piece.keys)
            sql = f"SELECT * FROM ({whole.sql}) AS one CROSS JOIN ({piece.sql}) AS other{_order(keys)}{self.limit}"
            whole = _Piece(sql, keys, whole.counted + piece.counted)
        columns = [f"id{place}" for place in range(len(self.query.variables))]
        columns.append("NULL::double precision AS measured" if self.measured is None else "measured")
        candidates = f"greatest({', '.join(whole.counted)})" if whole.counted else "0::bigint"
        order = _order(whole.keys) if self.limit else ""
        return f"SELECT {', '.join(columns)}, {candidates} AS candidates FROM ({whole.sql}) AS found{order}"

    def _id(self, variable: str) -> str:
        return f"{self.scope.models[variable].version}.id AS id{self.query.variables.index(variable)}"

    def _tables(self, variables: Iterable[str]) -> str:
        return " CROSS JOIN ".join(f"({self.scope.models[each].tables(self.scope.bindings)})" for each in variables)

    def _conditions(self, variables: Iterable[str]) -> list[str]:
        return [condition for variable in variables for condition in self.within[variable]]


def _order(keys: Sequence[_Sorted]) -> str:
    return f" ORDER BY {', '.join(f'{key.column} {key.way}' for key in keys)}"


def variables_of(predicate: Predicate) -> set[str]:
    """The variables that a condition speaks of."""
    match predicate:
        case Both():
            return set().union(*map(variables_of, predicate.predicates))
        case Not():
            return variables_of(predicate.predicate)
        case Has():
            return {predicate.node.variable}
        case Comparison():
            return {*_variable_of(predicate.left), *_variable_of(predicate.right)}
        case OneOf():
            return _variable_of(predicate.left)
        case IsNull():
            return _variable_of(predicate.operand)


def _variable_of(operand: Operand) -> set[str]:
    if isinstance(operand, Literal | ListLiteral):
        return set()
    return {operand.variable if isinstance(operand, Attribute) else operand.node.variable}


def _joined(variables: Sequence[str], conditions: Sequence[Predicate]) -> list[list[str]]:
    """The variables in groups, those together that conditions join."""
    groups = [{variable} for variable in variables]
    for condition in conditions:
        named = variables_of(condition)
        touched = [group for group in groups if not group.isdisjoint(named)]
        if len(touched) > 1:
            groups = [group for group in groups if group not in touched] + [set().union(*touched)]
    found = [[variable for variable in variables if variable in group] for group in groups]
    return sorted(found, key=lambda group: list(variables).index(group[0]))


def _nearest(group: Sequence[str], conditions: Sequence[Predicate], known: Sequence[str]) -> str:
    """Of variables that conditions join the one to look for first: one that a condition joins with those known, and
    without which the others fall apart most.
    """
    near = [
        variable
        for variable in group
        if any(variable in (named := variables_of(each)) and not named.isdisjoint(known) for each in conditions)
    ]

    def largest_left(variable: str) -> int:
        rest = [other for other in group if other != variable]
        return max((len(left) for left in _joined(rest, conditions)), default=0)

    return min(near or group, key=largest_left)


def _parts(query: Select, variables: Sequence[str]) -> list[_Part]:
    """The variables, those together that conditions join."""
    conditions = _all_of(query.where)
    parts = []
    for place, group in enumerate(_joined(variables, conditions)):
        shown = tuple(variable for variable in query.variables if variable in group)
        hidden = tuple(variable for variable in variables if variable in group and variable not in shown)
        mine = [condition for condition in conditions if not variables_of(condition).isdisjoint(group)]
        if place == 0:  # what speaks of no variable that there is: errors, to be found when they are written as SQL
            mine += [condition for condition in conditions if variables_of(condition).isdisjoint(variables)]
        parts.append(_Part(shown, hidden, mine))
    return parts


def _all_of(where: Predicate | None) -> list[Predicate]:
    if isinstance(where, Both) and where.word == "and":
        return list(where.predicates)
    return [] if where is None else [where]


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


def in_range(source: Range, model: Model, made: Made, bindings: Bindings) -> list[str]:
    """That a version is one of a source's."""
    if source.query is None:
        return []
    if not isinstance(source.query, Select):
        return [f"{model.version}.id = ANY ({bindings.bind(made(source), 'bigint[]')})"]
    variable_of(source.query, source.place)
    nested = statement(source.query, made, source.chain, bindings)
    return [f"{model.version}.id IN (SELECT nested.id0 FROM ({nested.sql}) AS nested)"]


def _measured(query: Select, scope: Scope) -> tuple[str | None, tuple[str, str] | None]:
    """The metric that a select shows, with its variable and SQL: the one that it orders by, otherwise the first one
    that it asks for.
    """
    keys = [key.operand for key in query.order if isinstance(key.operand, Attribute)]
    named = [(operand.variable, term(operand, scope).metric) for operand in keys]
    named += metrics_named(query.where, scope)
    for variable, metric in named:
        if metric is not None and variable in query.variables:
            return metric, (variable, metric_sql(metric, scope.models[variable], scope.bindings))
    return None, None


def _keys(query: Select, scope: Scope) -> list[_Sorted]:
    """What rows are sorted by: what the query says, then the names and numbers of its variables' versions."""
    keys = [_asked(key, f"key{place}", query.variables, scope) for place, key in enumerate(query.order)]
    for place, variable in enumerate(query.variables):
        model = scope.models[variable]
        keys.append(_Sorted(variable, f"{model.line}.name", "ASC", f"name{place}"))
        keys.append(_Sorted(variable, f"{model.version}.number", "ASC", f"number{place}"))
    return keys


def _asked(key: Key, column: str, selected: Sequence[str], scope: Scope) -> _Sorted:
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
    return _Sorted(operand.variable, found.sql, f"{'DESC' if key.descending else 'ASC'} NULLS LAST", column)
