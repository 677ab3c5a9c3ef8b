"""Casts of stored values: whether they can be made, and lose nothing that ALTER COLUMN … TYPE would not let go."""

from __future__ import annotations

from collections.abc import Sequence

from delc.server import queries

NO_CAST = ("42846", "P0001")
"""What PostgreSQL says where there is no cast, and what a cast of the user's may raise."""

_CUTTING = ("character", "bit")
"""Types to whose length a cast in a query cuts values, where an assignment refuses them."""


def through(value: str, types: Sequence[str]) -> str:
    """SQL for a value cast to one type after the other."""
    return "".join([value, *(f"::{type_name}" for type_name in types)])


def problem(rows: str, column: str, types: Sequence[str]) -> str | None:
    """What stands against casting a (quoted) column of ``rows``, a query, to one type after the other; None where
    nothing does.
    """
    value = f"r.{column}"
    found = queries.data_problem(f"SELECT pg_catalog.count({through(value, types)}) FROM ({rows}) AS r", NO_CAST)
    if found is not None:
        return found
    for number, type_name in enumerate(types):
        if type_name.startswith(_CUTTING):
            before, after = (f"pg_catalog.rtrim(({through(value, types[:n])})::text)" for n in (number, number + 1))
            cut = f"SELECT {before} AS text FROM ({rows}) AS r WHERE {before} OPERATOR(pg_catalog.<>) {after} LIMIT 1"
            text = queries.value(cut.replace("::text", "::pg_catalog.text"))
            if text is not None:
                return f'value too long for type {type_name}: "{text}"'
    return None
