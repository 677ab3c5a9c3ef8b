"""delc's functions with Python values: dictionaries for jsonb, and rows as dictionaries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row, tuple_row

_AS_JSON_TEXT = ("network", "schedule", "loss", "class_weights")
_JSONB = ("features", "optimizer_arguments")


def train(connection: Connection[Any], model: str, dataset: str, **options: Any) -> dict[str, Any]:
    r"""Trains ``model`` on a data set; returns the row of ``delc.train``.

    ``options`` are those of the SQL function by name (``\df+ delc.train``); networks, schedules and the like may be
    dictionaries and lists.
    """
    given = {"model": model, "dataset": dataset, **options}
    return _rows(connection, "train", {name: _option(name, value) for name, value in given.items()})[0]


def predict(connection: Connection[Any], model: str, value: Any) -> str:
    """What a model says of one row: an array, a torch tensor, a list of numbers, bytes, or a mapping from columns to
    values. The connection must be registered for arrays and tensors.
    """
    if isinstance(value, Mapping):
        names = sql.SQL(", ").join(map(sql.Identifier, value))
        places = sql.SQL(", ").join(sql.Placeholder() for _ in value)
        row = sql.SQL("SELECT delc.predict(%s, given) FROM (VALUES ({})) AS given({})").format(places, names)
        return _one(connection, row, [model, *value.values()])
    typed = sql.SQL("%s::double precision[]" if isinstance(value, list | tuple) else "%s")
    wanted = list(value) if isinstance(value, tuple) else value
    return _one(connection, sql.SQL("SELECT delc.predict(%s, {})").format(typed), [model, wanted])


def predict_rows(
    connection: Connection[Any], model: str, query: str, *, top: int | None = None, key_column: str | None = None
) -> list[dict[str, Any]]:
    """The rows of ``delc.predict_rows``: key, rank, label, probability, value."""
    return _rows(connection, "predict_rows", {"model": model, "query": query, "top": top, "key_column": key_column})


def evaluate(connection: Connection[Any], model: str, data: str | None = None, **options: Any) -> list[dict[str, Any]]:
    """The rows of ``delc.evaluate``: metric, class, value, low, high, …"""
    return _rows(connection, "evaluate", {"model": model, "data": data, **options})


def dql(connection: Connection[Any], query: str, *, dry_run: bool = False, seed: int = 0) -> list[dict[str, Any]]:
    """The rows of a query of DQL (docs/dql.md): what it found, made, or tried and kept."""
    return _rows(connection, "dql", {"query": query, "dry_run": dry_run, "seed": seed})


def save_config(connection: Connection[Any], name: str, config: Mapping[str, Any]) -> str:
    """Stores a configuration for ``with config = "name"``; returns its name."""
    return _one(connection, sql.SQL("SELECT delc.save_config(%s, %s::jsonb)"), [name, json.dumps(config)])


def save_query(connection: Connection[Any], name: str, query: str) -> str:
    """Stores a query of DQL under a name; returns its name."""
    return _one(connection, sql.SQL("SELECT delc.save_query(%s, %s)"), [name, query])


def _option(name: str, value: Any) -> Any:
    structured = isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str))
    if name in _JSONB and value is not None:
        return sql.SQL("{}::jsonb").format(sql.Literal(value if isinstance(value, str) else json.dumps(value)))
    return json.dumps(value) if name in _AS_JSON_TEXT and structured else value


def _rows(connection: Connection[Any], function: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = [(name, value) for name, value in arguments.items() if value is not None]
    named = [sql.SQL("{} => {}").format(sql.Identifier(name), _written(value)) for name, value in given]
    call = sql.SQL("SELECT * FROM delc.{}({})").format(sql.Identifier(function), sql.SQL(", ").join(named))
    with connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(call).fetchall())


def _written(value: Any) -> sql.Composable:
    return value if isinstance(value, sql.Composable) else sql.Literal(value)


def _one(connection: Connection[Any], query: sql.Composed | sql.SQL, parameters: Sequence[Any]) -> str:
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(query, parameters).fetchone()
    assert found is not None
    return str(found[0])
