"""The key of one row, as the user gives it in JSON: checked, and as a relation that rows can be compared with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from delc.datasets.columns import SourceColumn, describe_columns
from delc.datasets.difference import same_key
from delc.datasets.versions import DatasetVersion
from delc.server import queries
from delc.server.errors import InvalidParameter, WrongState

_NEEDS_A_LENGTH = frozenset({"character", "bit"})
"""Without a length these types have the length 1."""


@dataclass(frozen=True)
class RowKey:
    """A row's key: its columns, and the values as the text of a JSON object."""

    columns: Sequence[SourceColumn]
    text: str

    @property
    def relation(self) -> str:
        """SQL for FROM: one row, ``k``, with the key's columns in their types."""
        declared = ", ".join(_declaration(column) for column in self.columns)
        return f"pg_catalog.jsonb_to_record({queries.quote_literal(self.text)}::pg_catalog.jsonb) AS k({declared})"

    def matches(self, alias: str) -> str:
        """SQL for whether a row, given by its alias, has the key of ``relation``."""
        return same_key(self.columns, alias, "k")


def parse(version: DatasetVersion, text: str | None) -> RowKey:
    """The key that a user means: an object with all key columns, or the value alone where there is one.

    Other members are ignored, so that a whole row will do. Errors: ``InvalidParameter`` where a column is missing or
    its value is NULL or not of its type, ``WrongState`` where rows have no key.
    """
    if not version.key_columns:
        raise WrongState(
            f'data set "{version.name}" has no key, so its rows cannot be told apart',
            hint="Create it again with key => …, naming the columns that identify a row.",
        )
    if text is None:
        raise InvalidParameter("the key is NULL", hint=_example(version))
    columns = describe_columns(version.query(None, version.key_columns))
    key = RowKey(columns, _as_object(version, text))
    problem = queries.data_problem(f"SELECT FROM {key.relation}")
    if problem is not None:
        raise InvalidParameter(
            f'{text:.200} is not a key of data set "{version.name}"',
            detail=f"{problem[:1].upper()}{problem[1:]}. The key is {_described(columns)}.",
            hint=_example(version),
        )
    return key


def _as_object(version: DatasetVersion, text: str) -> str:
    """The text of an object that has a value for every key column."""
    given = json.loads(text)
    names = version.key_columns
    if not isinstance(given, dict) and len(names) == 1 and given is not None:
        return f"{{{json.dumps(names[0])}: {text}}}"
    missing = [name for name in names if not isinstance(given, dict) or given.get(name) is None]
    if missing:
        raise InvalidParameter(
            f'{text:.200} is not a key of data set "{version.name}"',
            detail=f"The key is ({', '.join(names)}); it says nothing of {', '.join(missing)}.",
            hint=_example(version),
        )
    return text


def _example(version: DatasetVersion) -> str:
    members = ", ".join(f"{json.dumps(name, ensure_ascii=False)}: …" for name in version.key_columns)
    alone = " or the value alone," if len(version.key_columns) == 1 else ""
    return f"Give the key as JSON: '{{{members}}}',{alone} or the whole row: to_jsonb(row)."


def _described(columns: Sequence[SourceColumn]) -> str:
    return f"({', '.join(f'{column.name} {column.type}' for column in columns)})"


def _declaration(column: SourceColumn) -> str:
    """Without its modifier the type takes any value: a longer or finer one is no key, and shall not be cut to one."""
    return (column if column.base in _NEEDS_A_LENGTH else replace(column, type=column.base)).declaration
