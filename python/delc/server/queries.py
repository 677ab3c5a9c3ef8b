"""Queries from inside the server, in the caller's transaction.

Queries run as the caller, with the caller's rights and search path; so do query texts that the caller gave. Inside
``as_owner()`` they run with the rights of the extension's owner, for the extension's own relations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import _delc
import plpy

from delc.server.batches import QueryColumn

EXTERNAL_ROUTINE_EXCEPTION = "38000"
FOREIGN_KEY_VIOLATION = "23503"
UNDEFINED_TABLE = "42P01"
_PLANS_KEPT = 500
_plans: dict[tuple[str, tuple[str, ...]], Any] = {}


@dataclass(frozen=True)
class Typed:
    """A parameter with the PostgreSQL type that it is sent as."""

    value: Any
    type: str


def typed(value: Any, type_name: str) -> Typed:
    """``value`` as a parameter of that type; needed where the Python value alone does not tell it."""
    return Typed(value, type_name)


def json_parameter(value: Any) -> Typed:
    """``value`` as a ``jsonb`` parameter. NaN and infinity, which JSON lacks, become null."""
    return Typed(json.dumps(_without_nonfinite(value)), "jsonb")


def rows(sql: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of a query, each as {column: value}. Placeholders are ``$1``, ``$2``, …"""
    return [dict(row) for row in _run(sql, parameters)]


def row(sql: str, *parameters: Any) -> dict[str, Any] | None:
    """The first row, or None without any."""
    found = _run(sql, parameters)
    return dict(found[0]) if found.nrows() else None


def value(sql: str, *parameters: Any) -> Any:
    """The first column of the first row, or None without any."""
    found = row(sql, *parameters)
    return None if found is None else next(iter(found.values()))


def execute(sql: str, *parameters: Any) -> int:
    """Runs a command; returns the number of rows it processed."""
    return int(_run(sql, parameters).nrows())


def stream(sql: str, rows_at_once: int = 1) -> Iterator[dict[str, Any]]:
    """The rows of a query, of which few are in memory at a time. It goes on running as they are asked for: never ask
    inside ``as_owner()`` for rows of a text that the caller gave.
    """
    cursor = plpy.cursor(sql)
    while batch := cursor.fetch(rows_at_once):
        yield from (dict(row) for row in batch)


@contextmanager
def as_owner() -> Iterator[None]:
    """Runs the queries in the block with the rights of the extension's owner and the search path ``pg_catalog``.

    Only for constant SQL text with parameters and schema-qualified names: a text that the caller had a hand in would
    run with rights the caller does not have.
    """
    caller = _delc.become_owner()
    try:
        yield
    finally:
        _delc.become_caller(*caller)


class _Undo(Exception):
    """Ends a block that is to be rolled back."""


@contextmanager
def rolled_back() -> Iterator[None]:
    """What the block writes is undone at its end; errors go through."""
    try:
        with plpy.subtransaction():
            yield
            raise _Undo
    except _Undo:
        pass


def data_problem(sql: str, also: Sequence[str] = ()) -> str | None:
    """What PostgreSQL has against the values in a query, which is run for that alone: the message of an error of class
    22, or of one of the SQLSTATEs in ``also``, None where they will do. Other errors are raised.
    """
    try:
        plpy.execute(sql)
    except plpy.SPIError as error:
        if sqlstate_of(error).startswith("22") or sqlstate_of(error) in also:
            return str(error)
        raise
    return None


def describe(query: str) -> list[QueryColumn]:
    """The columns of a query, which is not run."""
    found = rows("SELECT name, type FROM delc.describe_query($1)", query)
    return [QueryColumn(column["name"], column["type"]) for column in found]


def quote_identifier(name: str) -> str:
    """``name`` as it is written in SQL."""
    quoted: str = plpy.quote_ident(name)
    return quoted


def quote_literal(text: str) -> str:
    """``text`` as a string literal of SQL."""
    quoted: str = plpy.quote_literal(text)
    return quoted


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE of an error that a query or this package raised."""
    if isinstance(error, plpy.SPIError):
        return _unpacked(error.spidata[0])
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else EXTERNAL_ROUTINE_EXCEPTION


def _unpacked(code: int) -> str:
    """The five characters that PostgreSQL packs into a number, six bits each."""
    return "".join(chr(((code >> 6 * place) & 0x3F) + ord("0")) for place in range(5))


def _run(sql: str, parameters: Sequence[Any]) -> Any:
    if not parameters:
        return plpy.execute(sql)
    types = tuple(_type_of(parameter) for parameter in parameters)
    values = [parameter.value if isinstance(parameter, Typed) else parameter for parameter in parameters]
    return plpy.execute(_plan(sql, types), values)


def _plan(sql: str, types: tuple[str, ...]) -> Any:
    key = (sql, types)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= _PLANS_KEPT:
            _plans.clear()
        plan = plpy.prepare(sql, list(types))
        _plans[key] = plan
    return plan


def _type_of(parameter: Any) -> str:
    """The PostgreSQL type of a Python value. Lists are typed by their first element."""
    if isinstance(parameter, Typed):
        return parameter.type
    if isinstance(parameter, list):
        return _type_of(parameter[0] if parameter else "") + "[]"
    for python_type, name in _TYPES:
        if isinstance(parameter, python_type):
            return name
    raise TypeError(f"no PostgreSQL type for a parameter of type {type(parameter).__name__}; use typed()")


_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "bigint"),
    (float, "double precision"),
    (str, "text"),
    (bytes, "bytea"),
    (type(None), "text"),
)


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(item) for item in value]
    return value
