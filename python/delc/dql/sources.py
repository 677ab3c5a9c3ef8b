"""What variables range over: the repository, a stored query, or a nested one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from delc.dql.problems import Place, TooLarge, problem, unknown_name
from delc.dql.syntax import Query, Select, Source, StoredQuery
from delc.server import queries

DEEPEST = 16
"""How many stored queries may name one another in a row."""


@dataclass(frozen=True)
class Range:
    """What one variable ranges over; ``query`` is None for the whole repository. ``chain`` names the stored queries
    that led here.
    """

    variable: str
    query: Query | None
    place: Place
    chain: tuple[str, ...]


def range_of(source: Source, chain: tuple[str, ...]) -> Range:
    """What a source is, with stored queries read; a variable without a name is that of the query itself."""
    query = source.query
    if isinstance(query, StoredQuery):
        chain = (*chain, query.name)
        query = stored_query(query, chain)
    if query is None:
        assert source.variable is not None
        return Range(source.variable, None, source.place, chain)
    return Range(source.variable or variable_of(query, source.place), query, source.place, chain)


def variable_of(query: Query, place: Place) -> str:
    """The one variable whose models a query gives."""
    if not isinstance(query, Select):
        return query.variable
    if len(query.variables) > 1:
        raise problem(
            place,
            f"the query gives {len(query.variables)} variables, {', '.join(query.variables)}, and one is wanted",
            hint=f"Select one of them: select {query.variables[0]} from {', '.join(query.variables)} where …",
        )
    return query.variables[0]


def stored_query(name: StoredQuery, chain: tuple[str, ...]) -> Query:
    """The stored query of that name."""
    from delc.dql.parser import parse

    if len(chain) > DEEPEST:
        raise problem(
            name.place, f"stored queries name one another {len(chain)} deep: {' → '.join(chain[-4:])}", kind=TooLarge
        )
    with queries.as_owner():
        text = queries.value("SELECT query FROM delc.queries WHERE name = $1", name.name)
        if text is None:
            known = [row["name"] for row in queries.rows("SELECT name FROM delc.queries ORDER BY name")]
            raise unknown_name(name.place, "stored query", name.name, known)
    return parse(text).query


Made = Callable[[Range], list[int]]
"""Runs a query that makes versions; gives their ids."""
