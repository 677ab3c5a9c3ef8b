"""The columns of a source: what they are called, and their types as the store's tables declare them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from delc.server import queries
from delc.server.errors import DatatypeMismatch, InvalidParameter, LimitExceeded

MOST_COLUMNS = 1600
"""PostgreSQL's limit for tables; a query may have a few more."""

_RESERVED_PREFIX = "delc_"
_SYSTEM_COLUMNS = frozenset({"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})
_UNNAMED = "?column?"
_MODIFIER = re.compile(r"(\([^()]*\))(?:\[\])?$")


@dataclass(frozen=True)
class SourceColumn:
    """A column of a source.

    ``type`` names its type with schema and modifier, so that it means the same under any search path. ``base`` is the
    type without modifier. A domain is stored as the type under it. ``width`` is the bytes that a value takes, -1 where
    that varies. ``collation`` is set where it is not that of the type; ``compared_by`` either way, if the type has one.
    """

    name: str
    type: str
    base: str
    is_enum: bool
    width: int
    collation: str | None = None
    compared_by: str | None = None

    @property
    def quoted(self) -> str:
        return queries.quote_identifier(self.name)

    @property
    def declaration(self) -> str:
        """The column as CREATE TABLE takes it."""
        collation = f" COLLATE {self.collation}" if self.collation else ""
        return f"{self.quoted} {self.type}{collation}"


def describe_columns(query: str) -> list[SourceColumn]:
    """The columns of a query of the caller's, which is not run; errors for those that cannot be stored."""
    found = queries.rows(
        "SELECT name, type, pg_catalog.to_regtype(type)::pg_catalog.oid::pg_catalog.int8 AS type_id"
        " FROM delc.describe_query($1)",
        query,
    )
    names = [column["name"] for column in found]
    _check_names(names)
    types = _types([column["type_id"] for column in found])
    for column in found:
        _check_type(column["name"], column["type"], types.get(column["type_id"]))
    own = {column["name"]: types[column["type_id"]]["collation"] for column in found}
    collations = _collations(query, {name: collation for name, collation in own.items() if collation})
    return [
        _source_column(column["name"], column["type"], types[column["type_id"]], collations.get(column["name"]))
        for column in found
    ]


def _check_names(names: list[str]) -> None:
    if not names:
        raise InvalidParameter("the source has no columns")
    if len(names) > MOST_COLUMNS:
        raise LimitExceeded(
            f"the source has {len(names)} columns",
            detail=f"A data set may have up to {MOST_COLUMNS}.",
            hint="Put numbers side by side in an array column.",
        )
    if _UNNAMED in names:
        raise InvalidParameter(
            f"column {names.index(_UNNAMED) + 1} of the source has no name", hint="Give it one: expression AS name."
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InvalidParameter(
            f'the source has more than one column "{repeated[0]}"', hint="Name each column once: expression AS name."
        )
    for name in names:
        if name.startswith(_RESERVED_PREFIX) or name in _SYSTEM_COLUMNS:
            raise InvalidParameter(
                f'a data set cannot have a column "{name}"',
                detail=f"Names that begin with {_RESERVED_PREFIX} and those of PostgreSQL's system columns are taken.",
                hint=f"Give it another name in a query: SELECT {queries.quote_identifier(name)} AS other_name, …",
            )


def _check_type(name: str, type_name: str, known: dict[str, Any] | None) -> None:
    if known is None or known["is_pseudo"]:
        raise DatatypeMismatch(
            f'column "{name}" has the type {type_name}, which cannot be stored',
            hint="Cast it in a query, or name its fields as columns of the query.",
        )
    if known["is_temporary"]:
        raise DatatypeMismatch(
            f'column "{name}" has the type {type_name}, which belongs to this session',
            hint="Name its fields as columns of a query.",
        )


def _types(type_ids: list[int]) -> dict[int, dict[str, Any]]:
    with queries.as_owner():
        found = queries.rows(_TYPES, queries.typed(type_ids, "oid[]"))
    return {row["type_id"]: row for row in found}


_TYPES = """
    SELECT type.oid::int8 AS type_id, format_type(type.oid, NULL) AS name, schema.nspname = 'pg_catalog' AS is_system,
           schema.nspname LIKE 'pg\\_temp\\_%' AS is_temporary, type.typtype = 'p' AS is_pseudo,
           type.typtype = 'e' AS is_enum, type.typlen AS width, type.typcollation::int8 AS collation,
           NULLIF(type.typcollation, 0)::regcollation::text AS compared_by
    FROM pg_type AS type
    JOIN pg_namespace AS schema ON schema.oid = type.typnamespace
    WHERE type.oid = ANY ($1)
"""


def _collations(query: str, own: dict[str, int]) -> dict[str, str]:
    """The collations of columns that differ from those of their types (``own``).

    The query is planned but no row of it is read.
    """
    if not own:
        return {}
    columns = ", ".join(
        f"pg_catalog.pg_collation_for(source.{queries.quote_identifier(name)})::pg_catalog.regcollation::pg_catalog.oid"
        f"::pg_catalog.int8 AS c{i}"
        for i, name in enumerate(own)
    )
    found = queries.rows(f"SELECT {columns} FROM (SELECT) AS one LEFT JOIN (\n{query}\n) AS source ON false")[0]
    ids = zip(own.items(), found.values(), strict=True)
    differing = {name: collation for (name, of_type), collation in ids if collation not in (None, of_type)}
    with queries.as_owner():
        known = queries.rows(
            "SELECT oid::int8 AS id, oid::regcollation::text AS name FROM pg_collation WHERE oid = ANY ($1)",
            queries.typed(list(differing.values()), "oid[]"),
        )
    names = {row["id"]: row["name"] for row in known}
    return {name: names[i] for name, i in differing.items()}


def _source_column(name: str, written: str, known: dict[str, Any], collation: str | None) -> SourceColumn:
    return SourceColumn(
        name=name,
        type=_type_anywhere(written, known),
        base=known["name"],
        is_enum=known["is_enum"],
        width=known["width"],
        collation=collation,
        compared_by=collation or known["compared_by"],
    )


def _type_anywhere(written: str, known: dict[str, Any]) -> str:
    """The type with its schema and modifier. ``written`` is how it reads under the caller's search path."""
    if known["is_system"]:
        return written
    name: str = known["name"]
    modifier = _MODIFIER.search(written)
    if modifier is None:
        return name
    return f"{name.removesuffix('[]')}{modifier[1]}{'[]' if name.endswith('[]') else ''}"
