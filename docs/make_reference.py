"""Writes docs/reference.md from the comments of the extension's objects: make_reference.py CONNECTION_STRING."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"

HEAD = """# SQL reference

Generated from the extension's `COMMENT ON` by `make docs`; do not edit. In psql, `\\df+ delc.*` and `\\d+ delc.*` say
the same.
"""


@dataclass(frozen=True)
class Entry:
    """One object: its kind, name, how it is written, its comment, and its columns with theirs."""

    kind: str
    name: str
    signature: str
    comment: str
    columns: list[tuple[str, str, str | None]]


def reference(connection: psycopg.Connection[Any]) -> str:
    """The whole page."""
    connection.execute("SET LOCAL search_path = pg_catalog, public")  # so that types are always written alike
    entries = [*_routines(connection), *_relations(connection), *_types(connection)]
    parts = [HEAD]
    for room in (ROOT / "sql" / "order").read_text().split():
        script = (ROOT / "sql" / f"{room}.sql").read_text()
        found = [entry for entry in entries if _is_made_in(entry, script)]
        if found:
            parts.append(f"\n## {room}\n")
            parts += [_section(entry) for entry in sorted(found, key=lambda entry: script.index(_words(entry)))]
    return "".join(parts)


def _words(entry: Entry) -> str:
    return f"CREATE {entry.kind.upper()} delc.{entry.name}"


def _is_made_in(entry: Entry, script: str) -> bool:
    start = script.find(_words(entry))
    return start >= 0 and not (
        script[start + len(_words(entry))].isalnum() or script[start + len(_words(entry))] == "_"
    )


def _section(entry: Entry) -> str:
    lines = [f"\n### {entry.kind} `{entry.name}`\n"]
    if entry.signature:
        lines.append(f"\n```\n{entry.signature}\n```\n")
    lines.append(f"\n{entry.comment}\n")
    if entry.columns:
        lines.append("\n| column | type | |\n|---|---|---|\n")
        lines += [f"| {name} | {kind} | {comment or ''} |\n" for name, kind, comment in entry.columns]
    return "".join(lines)


def _routines(connection: psycopg.Connection[Any]) -> list[Entry]:
    rows = connection.execute("""
        SELECT CASE routine.prokind WHEN 'a' THEN 'aggregate' ELSE 'function' END, routine.proname,
               string_agg(format('%s(%s) → %s', routine.proname, pg_get_function_arguments(routine.oid),
                                 pg_get_function_result(routine.oid)), E'\\n' ORDER BY routine.oid),
               string_agg(DISTINCT obj_description(routine.oid, 'pg_proc'), E'\\n\\n')
        FROM pg_proc AS routine
        WHERE routine.pronamespace = 'delc'::regnamespace
        GROUP BY 1, 2
    """).fetchall()
    return [Entry(kind, name, _folded(signature), comment, []) for kind, name, signature, comment in rows]


def _folded(signature: str) -> str:
    """A long list of arguments, one to a line."""
    return "\n".join(
        line if len(line) <= 110 else line.replace("(", "(\n    ", 1).replace(", ", ",\n    ")
        for line in signature.split("\n")
    )


def _relations(connection: psycopg.Connection[Any]) -> list[Entry]:
    rows = connection.execute("""
        SELECT CASE relation.relkind WHEN 'v' THEN 'view' ELSE 'table' END, relation.relname,
               obj_description(relation.oid, 'pg_class'),
               array_agg(ARRAY[attribute.attname::text, format_type(attribute.atttypid, attribute.atttypmod),
                               col_description(relation.oid, attribute.attnum)] ORDER BY attribute.attnum)
        FROM pg_class AS relation
        JOIN pg_attribute AS attribute
             ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
        WHERE relation.relnamespace = 'delc'::regnamespace AND relation.relkind IN ('r', 'v')
        GROUP BY relation.oid
    """).fetchall()
    return [
        Entry(kind, name, "", comment, [tuple(column) for column in columns]) for kind, name, comment, columns in rows
    ]


def _types(connection: psycopg.Connection[Any]) -> list[Entry]:
    rows = connection.execute("""
        SELECT type.typname, obj_description(type.oid, 'pg_type'),
               ARRAY(SELECT ARRAY[attribute.attname::text, format_type(attribute.atttypid, attribute.atttypmod), NULL]
                     FROM pg_attribute AS attribute WHERE attribute.attrelid = type.typrelid AND type.typrelid <> 0
                     ORDER BY attribute.attnum)
        FROM pg_type AS type LEFT JOIN pg_class AS relation ON relation.oid = type.typrelid
        WHERE type.typnamespace = 'delc'::regnamespace AND type.typelem = 0
              AND (relation.oid IS NULL OR relation.relkind = 'c')
    """).fetchall()
    return [Entry("type", name, "", comment, [tuple(column) for column in columns]) for name, comment, columns in rows]


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as given:
        PAGE.write_text(reference(given))
