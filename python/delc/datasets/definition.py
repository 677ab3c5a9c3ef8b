"""What a data set is made of, once the user's arguments have been checked against the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delc.datasets.columns import SourceColumn
from delc.datasets.identifiers import split_identifiers
from delc.datasets.source import Source, primary_key
from delc.datasets.splits import FEWEST_ROWS_IN_STRATUM, MOST_STRATA, Shares
from delc.server import queries
from delc.server.errors import InvalidParameter, unknown

_STRATIFIED_TYPES = frozenset({"text", "character varying", "character", '"char"', "name", "boolean", "uuid"})
_INTEGER_TYPES = frozenset({"smallint", "integer", "bigint"})


@dataclass(frozen=True)
class Definition:
    """A data set's source, columns, and what the columns are for.

    ``stratum`` is the column whose values are split on their own; None where all rows are split together.
    """

    source: Source
    columns: tuple[SourceColumn, ...]
    keys: tuple[SourceColumn, ...]
    targets: tuple[SourceColumn, ...]
    split_column: SourceColumn | None
    stratum: SourceColumn | None
    shares: Shares
    seed: int
    keys_are_sure: bool
    """Whether the database itself sees to it that keys are unique and never NULL."""


def named_columns(what: str, text: str | None, columns: Sequence[SourceColumn]) -> tuple[SourceColumn, ...]:
    """The columns that an argument (``what``) names, separated by commas; none for NULL."""
    if text is None:
        return ()
    names = split_identifiers(text, ",")
    if names is None:
        raise InvalidParameter(
            f"{what} => '{text}' does not name columns",
            detail="Columns are separated by commas; names that are not in small letters stand in double quotes.",
            hint=f"""For instance: {what} => 'region, "Customer No"'.""",
        )
    if len(set(names)) < len(names):
        raise InvalidParameter(f"{what} => '{text}' names a column twice")
    return tuple(find_column(what, name, columns) for name in names)


def find_column(what: str, name: str, columns: Sequence[SourceColumn]) -> SourceColumn:
    """The column of that name, or an error with the nearest one."""
    by_name = {column.name: column for column in columns}
    if name not in by_name:
        raise unknown(f"{what} column", name, by_name)
    return by_name[name]


def key_columns(text: str | None, source: Source, columns: Sequence[SourceColumn]) -> tuple[SourceColumn, ...]:
    """The key that the user named, or else the relation's primary key."""
    by_name = {column.name: column for column in columns}
    keys = named_columns("key", text, columns) if text is not None else tuple(by_name[n] for n in primary_key(source))
    for column in keys:
        if not _can_be_key(column):
            raise InvalidParameter(
                f'column "{column.name}" cannot be a key: values of type {column.type} cannot be sorted and joined',
                hint="Cast it to text in a query, or name another key.",
            )
    return keys


def stratum_column(source: Source, targets: Sequence[SourceColumn], wanted: bool) -> SourceColumn | None:
    """The target, where its values are classes: text, boolean, enum, uuid, or a few different integers.

    To see how many integers there are, the source is read once before its rows are taken.
    """
    if not wanted or len(targets) != 1:
        return None
    target = targets[0]
    is_class = target.is_enum or target.base in _STRATIFIED_TYPES
    return target if is_class or (target.base in _INTEGER_TYPES and _has_few_values(source, target)) else None


def _has_few_values(source: Source, column: SourceColumn) -> bool:
    """Whether the integers look like classes: at most 50 different ones, and each for some rows."""
    found = queries.rows(
        "SELECT pg_catalog.count(*) AS different, COALESCE(pg_catalog.sum(times), 0)::pg_catalog.int8 AS rows"
        f" FROM (SELECT pg_catalog.count(*) AS times FROM (\n{source.query}\n) AS source"
        f" GROUP BY source.{column.quoted} LIMIT {MOST_STRATA + 1}) AS value"
    )[0]
    return bool(found["different"] <= MOST_STRATA and found["rows"] >= found["different"] * FEWEST_ROWS_IN_STRATUM)


def _can_be_key(column: SourceColumn) -> bool:
    with queries.as_owner():
        found = queries.value(_CAN_BE_KEY, column.base)
    return bool(found)


# A type can be a key when it, or what it is cast to without change, has a default B-tree operator class whose equality
# can join; arrays are compared by their elements.
_CAN_BE_KEY = """
    SELECT EXISTS (
        SELECT FROM pg_type AS type
        LEFT JOIN pg_type AS element ON element.oid = type.typelem AND type.typcategory = 'A'
        JOIN pg_opclass AS class ON class.opcdefault
        JOIN pg_am AS method ON method.oid = class.opcmethod AND method.amname = 'btree'
        JOIN pg_amop AS equal ON equal.amopfamily = class.opcfamily AND equal.amopstrategy = 3
             AND equal.amoplefttype = class.opcintype AND equal.amoprighttype = class.opcintype
        JOIN pg_operator AS operator ON operator.oid = equal.amopopr AND (operator.oprcanmerge OR operator.oprcanhash)
        WHERE type.oid = $1::regtype
          AND (class.opcintype = COALESCE(element.oid, type.oid)
               OR (class.opcintype = 'anyenum'::regtype AND COALESCE(element.typtype, type.typtype) = 'e')
               OR (class.opcintype = 'anyrange'::regtype AND type.typtype = 'r')
               OR EXISTS (SELECT FROM pg_cast AS c WHERE c.castsource = COALESCE(element.oid, type.oid)
                          AND c.casttarget = class.opcintype AND c.castmethod = 'b' AND c.castcontext = 'i')))
"""
