"""Rows that the user gives by hand, as a query: brought to the columns and types of the version that they change."""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.checks import check_keys
from delc.datasets.columns import SourceColumn, describe_columns
from delc.datasets.source import find_source
from delc.datasets.versions import DatasetVersion
from delc.server import queries
from delc.server.errors import DatatypeMismatch, InvalidParameter

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_NUMBERS = _INTEGERS | {"numeric", "real", "double precision"}
_TEXTS = frozenset({"text", "character varying", "character"})


def read_delta(query: str | None, version: DatasetVersion, needed: Sequence[str], what: str) -> tuple[str, list[str]]:
    """The query as one that gives the version's types, and the columns that it has, in the version's order.

    Errors: ``UndefinedObject`` for a column that the version lacks, ``InvalidParameter`` for a ``needed`` column that
    the query lacks, ``DatatypeMismatch`` for a value that would have to be cast by guess.
    """
    source = find_source(query)
    given = {column.name: column for column in describe_columns(source.query)}
    version.stored_columns(list(given))
    missing = [name for name in needed if name not in given]
    if missing:
        whole = missing[0] not in version.key_columns
        raise InvalidParameter(
            f'the {what} lacks column "{missing[0]}" of data set "{version.title}"',
            detail=f"It has {', '.join(given)}; needed are {', '.join(needed)}.",
            hint="Add it to the query" + (", as NULL where nothing is known." if whole else "."),
        )
    order = [name for name in version.column_names if name in given]
    stored = {c.name: c for c in describe_columns(version.query(None, version.column_names))}
    selected = ", ".join(_cast(given[name], stored[name], version) for name in order)
    return f"SELECT {selected} FROM (\n{source.query}\n) AS delta", order


def _cast(given: SourceColumn, stored: SourceColumn, version: DatasetVersion) -> str:
    """A column of the delta with the stored type. Texts keep their length: too long ones are refused, not cut."""
    value = f"delta.{given.quoted}"
    if given.type == stored.type:
        return value
    if not _is_safe(given.base, stored.base):
        raise DatatypeMismatch(
            f'column "{given.name}" is {given.type} here, and {stored.type} in data set "{version.title}"',
            hint=f"Cast it in the query: {given.quoted}::{stored.type}.",
        )
    if stored.base in _TEXTS:
        return f"{value}::{'pg_catalog.bpchar' if stored.base == 'character' else stored.base} AS {given.quoted}"
    return f"{value}::{stored.type} AS {given.quoted}"


def _is_safe(given: str, stored: str) -> bool:
    """Whether the cast is an error where it would change the value's meaning."""
    if given == stored or (given in _TEXTS and stored in _TEXTS) or (given in _INTEGERS and stored in _INTEGERS):
        return True
    if given in _NUMBERS and stored in _NUMBERS - _INTEGERS:
        return True
    with queries.as_owner():
        found = queries.value(
            "SELECT EXISTS (SELECT FROM pg_cast WHERE castsource = $1::regtype AND casttarget = $2::regtype"
            " AND castcontext = 'i')",
            given,
            stored,
        )
    return bool(found)


def read_resolutions(
    query: str | None, keys: Sequence[SourceColumn], version: DatasetVersion, sides: Sequence[str]
) -> str | None:
    """The user's query of keys and the side that each is resolved by (``resolution``), checked; None without one."""
    if query is None:
        return None
    source = find_source(query)
    given = [column.name for column in describe_columns(source.query)]
    needed = [*(column.name for column in keys), "resolution"]
    missing = [name for name in needed if name not in given]
    if missing:
        raise InvalidParameter(
            f'the resolutions lack column "{missing[0]}"',
            detail=f'Needed are the key of data set "{version.name}" and resolution: {", ".join(needed)}.',
            hint=f"Such as SELECT {', '.join(column.quoted for column in keys)}, 'theirs' AS resolution FROM ….",
        )
    known = ", ".join(f"'{side}'" for side in sides)
    other = queries.row(
        "SELECT COALESCE(r.resolution::pg_catalog.text, 'NULL') AS said FROM"
        f" (\n{source.query}\n) AS r WHERE (r.resolution::pg_catalog.text IN ({known})) IS NOT TRUE LIMIT 1"
    )
    if other is not None:
        raise InvalidParameter(f'"{other["said"]}" is no resolution', detail=f"Known are: {', '.join(sides)}.")
    check_keys(f"(\n{source.query}\n) AS r", keys, version.name, given=True)
    listed = ", ".join([*(f"r.{column.quoted}" for column in keys), "r.resolution::pg_catalog.text AS resolution"])
    return f"SELECT {listed} FROM (\n{source.query}\n) AS r"
