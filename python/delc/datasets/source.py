"""Where a data set takes its rows from: a relation or a query of the user's, read with the caller's rights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from delc.datasets.identifiers import split_identifiers
from delc.server import queries
from delc.server.errors import InvalidParameter, UndefinedObject, nearest

_QUERY_BEGINS = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*(select|values|table|with)\b", re.IGNORECASE | re.DOTALL
)
_READABLE = {
    "r": "a table",
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
}


_SAMPLE = "sample of "


@dataclass(frozen=True)
class Source:
    """A source as it is stored with the data set.

    ``text`` is a relation's name with its schema, or the user's query. ``query`` reads its rows; it can stand in
    parentheses in FROM. ``relation`` is the relation's oid.
    """

    text: str
    query: str
    relation: int | None = None


def find_source(text: str | None) -> Source:
    """The source that the user named; errors when there is no such relation or it is no query that gives rows."""
    if not text or not text.strip():
        raise InvalidParameter("no source was given", hint="Give a relation's name, or a query.")
    names = split_identifiers(text, ".")
    if names is not None:
        return _relation(text, names)
    if not _QUERY_BEGINS.match(text):
        raise InvalidParameter(
            f'the source "{_shortened(text)}" is neither the name of a relation nor a query',
            detail="A query begins with SELECT, VALUES, TABLE or WITH.",
            hint="Put a name that is not in small letters in double quotes: '\"Customers 2024\"'.",
        )
    return Source(text, _query(text))


def sample_text(version: str) -> str:
    """What stands as the source of a data set that is a sample of a version; neither a relation nor a query."""
    return f"{_SAMPLE}{version}"


def is_sample(text: str) -> bool:
    """Whether a stored source says that the data set is a sample; names of relations have their schema."""
    return text.startswith(_SAMPLE)


def sampled_version(text: str) -> str:
    """The version, as users name it, that a sample was drawn from."""
    return text.removeprefix(_SAMPLE)


def _query(text: str) -> str:
    """The user's query without a closing semicolon, checked to be one query that gives rows."""
    queries.describe(text)
    query = text.rstrip().rstrip(";").rstrip()
    queries.describe(f"SELECT FROM (\n{query}\n) AS source")
    return query


def _relation(text: str, names: list[str]) -> Source:
    written = ".".join(queries.quote_identifier(name) for name in names)
    found = queries.row(_RELATION, written) if len(names) <= 3 else None
    if found is None:
        raise _no_relation(text, names[-1])
    if found["relkind"] not in _READABLE:
        raise InvalidParameter(
            f'"{text}" has no rows to take', detail=f"A source is {', '.join(_READABLE.values())}, or a query."
        )
    schema = "pg_temp" if found["is_temporary"] else found["nspname"]
    name = f"{queries.quote_identifier(schema)}.{queries.quote_identifier(found['relname'])}"
    return Source(name, f"SELECT * FROM {name}", found["relation"])


def _no_relation(text: str, name: str) -> UndefinedObject:
    visible = queries.rows(
        "SELECT relname::pg_catalog.text AS name FROM pg_catalog.pg_class"
        " WHERE pg_catalog.pg_table_is_visible(oid) AND relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND relnamespace <> 'pg_catalog'::pg_catalog.regnamespace"
    )
    match = nearest(name, [row["name"] for row in visible])
    hint = f'Did you mean "{match}"?' if match else "Name its schema too, as in 'sales.customers', or give a query."
    return UndefinedObject(f'there is no relation "{text}" to take rows from', hint=hint)


def primary_key(source: Source) -> list[str]:
    """The columns of a relation's primary key in their order; none for other sources."""
    if source.relation is None:
        return []
    found = queries.rows(_PRIMARY_KEY, queries.typed(source.relation, "oid"))
    return [row["name"] for row in found]


def is_unique(source: Source, columns: Sequence[str]) -> bool:
    """Whether an index of the relation keeps these columns, or some of them, unique and not NULL, by the equality of
    the column's type and collation.
    """
    if source.relation is None:
        return False
    found: bool = queries.value(
        _IS_UNIQUE, queries.typed(source.relation, "oid"), queries.typed(list(columns), "text[]")
    )
    return found


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "…"


_RELATION = """
    SELECT c.oid::pg_catalog.int8 AS relation, c.relname, c.relkind, n.nspname,
           n.nspname LIKE 'pg\\_temp\\_%' AS is_temporary
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = pg_catalog.to_regclass($1)
"""

_PRIMARY_KEY = """
    SELECT a.attname::pg_catalog.text AS name
    FROM pg_catalog.pg_index AS i
    CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(attnum, position)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = $1 AND i.indisprimary AND k.position <= i.indnkeyatts
    ORDER BY k.position
"""

# A table with children may repeat what its own index keeps unique. Deterministic collations have one equality. Types
# without an operator class of their own are compared by one of these. A NOT NULL that is NOT VALID may not hold.
_IS_UNIQUE = """
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
        WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND (c.relkind IN ('p', 'm') OR (c.relkind = 'r' AND NOT c.relhassubclass))
          AND NOT EXISTS (
              SELECT FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(attnum, position)
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              CROSS JOIN LATERAL (
                  SELECT i.indcollation[k.position - 1] AS collation, i.indclass[k.position - 1] AS class
              ) AS own
              WHERE k.position <= i.indnkeyatts AND NOT (
                  a.attnotnull AND a.attname::pg_catalog.text = ANY ($2)
                  AND (own.collation = a.attcollation
                       OR 2 = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_collation AS known
                               WHERE known.oid IN (own.collation, a.attcollation)
                                 AND known.collisdeterministic))
                  AND own.class IN (
                      WITH RECURSIVE type AS (
                          SELECT a.atttypid AS oid
                          UNION ALL
                          SELECT domain.typbasetype FROM type
                          JOIN pg_catalog.pg_type AS domain ON domain.oid = type.oid AND domain.typtype = 'd'
                      ), default_class AS (
                          SELECT class.oid, class.opcintype
                          FROM pg_catalog.pg_opclass AS class JOIN pg_catalog.pg_am AS method
                          ON method.oid = class.opcmethod AND method.amname = 'btree'
                          WHERE class.opcdefault
                      ), exact AS (
                          SELECT class.oid FROM default_class AS class JOIN type ON type.oid = class.opcintype
                      )
                      SELECT exact.oid FROM exact
                      UNION ALL
                      SELECT class.oid FROM default_class AS class
                      WHERE class.opcintype IN ('text'::pg_catalog.regtype, 'inet'::pg_catalog.regtype,
                                                'oid'::pg_catalog.regtype, 'record'::pg_catalog.regtype,
                                                'anyarray'::pg_catalog.regtype, 'anyenum'::pg_catalog.regtype,
                                                'anyrange'::pg_catalog.regtype, 'anymultirange'::pg_catalog.regtype)
                        AND NOT EXISTS (SELECT FROM exact)))))
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS written
            WHERE written.conrelid = $1 AND written.contype = 'n' AND NOT written.convalidated)
"""
