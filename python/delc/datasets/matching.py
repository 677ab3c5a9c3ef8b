"""Matching a source's rows with those of a version by digests of their keys and values, which reads each side once.

``delc.match_rows`` tells keys apart by their images, where a join asks for their types' own equality. So it is used
only where both say the same, and where what it keeps of the stored rows fits into a share of ``delc.memory_limit``.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import MOST_COLUMNS, SourceColumn
from delc.datasets.definition import Definition
from delc.datasets.versions import DatasetVersion
from delc.server import queries, settings

EQUAL_IS_ALIKE = frozenset(
    {
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "oid",
        "date",
        "time without time zone",
        "timestamp without time zone",
        "timestamp with time zone",
        "uuid",
        "bytea",
        "text",
        "character varying",
    }
)
"""Types whose equal values have the same image, texts under a deterministic collation.

PostgreSQL leaves repeated keys out of indexes of the same types. Not among them: numeric (1.0 is 1.00), real and
double precision (0 is -0), character (blanks at the end), and types that are not PostgreSQL's own but for enums.
"""

BYTES_PER_ROW = 56
"""What delc.match_rows keeps of a stored row, its place in the hash table included, at most."""

MEMORY_SHARE = 4
"""A part of ``delc.memory_limit`` is for this; the rest is for the statement that it is part of."""

_OWN_COLUMNS = 5
"""The columns of ``matched_rows`` besides the definition's."""


def can_match(latest: DatasetVersion, definition: Definition) -> bool:
    """Whether the rows of ``definition.source`` can be matched with those of ``latest`` by digests."""
    most_rows = settings.memory_limit_bytes() // MEMORY_SHARE // BYTES_PER_ROW
    if latest.rows > most_rows or len(definition.columns) > MOST_COLUMNS - _OWN_COLUMNS:
        return False
    keys = definition.keys
    return all(column.is_enum or column.base in EQUAL_IS_ALIKE for column in keys) and are_deterministic(keys)


def matched_rows(latest: DatasetVersion, definition: Definition, *, has_split: bool) -> str:
    """SQL for FROM: the source's rows that are new or changed, and the version's that are gone, as ``delc_matched``.

    It has the definition's columns; with ``has_split`` delc_given_split, the source's delc_split, which is compared
    too; and delc_here (true for a row of the source), delc_repeated (whether its key was there before), delc_old_row
    and delc_old_split.
    """
    columns = definition.columns
    listed = [f"source.{column.quoted}" for column in columns] + ["source.delc_split"] * has_split
    source = f"SELECT {', '.join(listed)} FROM (\n{definition.source.query}\n) AS source"
    bookkeeping = ["delc_row", "delc_version", "delc_split"]
    stored = latest.rows_query([column.name for column in columns], bookkeeping)
    if has_split:
        order = ", ".join(f"stored.{name}" for name in [*bookkeeping, *(c.quoted for c in columns), "delc_split"])
        stored = f"SELECT {order} FROM ({stored}) AS stored"
    arguments = f"{queries.quote_literal(source)}, {queries.quote_literal(stored)}, {_positions(definition)}"
    declared = [column.declaration for column in columns] + ['delc_given_split pg_catalog."char"'] * has_split
    declared += ["delc_here pg_catalog.bool", "delc_repeated pg_catalog.bool", "delc_old_row pg_catalog.int8"]
    declared += ['delc_old_split pg_catalog."char"']
    return f"delc.match_rows({arguments}, {latest.rows}) AS delc_matched({', '.join(declared)})"


def _positions(definition: Definition) -> str:
    names = [column.name for column in definition.columns]
    listed = ", ".join(str(names.index(column.name) + 1) for column in definition.keys)
    return f"'{{{listed}}}'::pg_catalog.int4[]"


def are_deterministic(keys: Sequence[SourceColumn]) -> bool:
    """Whether all collations of the columns tell texts apart that have different bytes. A database's own always do."""
    names = [column.collation for column in keys if column.collation is not None]
    if not names:
        return True
    with queries.as_owner():
        found: bool = queries.value(_DETERMINISTIC, queries.typed(names, "text[]"))
    return found


_DETERMINISTIC = """
    SELECT bool_and(collisdeterministic) FROM pg_collation
    WHERE oid IN (SELECT to_regcollation(name) FROM unnest($1) AS name)
"""
