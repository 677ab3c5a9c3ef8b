"""Comparing a source with the latest version, in one statement: which rows are new, changed or gone, and storing them.

Rows are matched by key and compared by their stored form (``*<>``), so that types without equality can be compared too.
The source is read once. A changed row is stored as a new one, in the split of its predecessor, which the version leaves
out.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import SourceColumn
from delc.datasets.definition import Definition
from delc.datasets.fill import insert_parts, row_order, split_letter
from delc.datasets.layout import removed_name
from delc.datasets.order import order_hash
from delc.datasets.reading import StoredColumn, StoredRows, reading_query
from delc.datasets.splits import Existing
from delc.datasets.versions import DatasetVersion
from delc.server import queries


def store_difference(latest: DatasetVersion, definition: Definition, number: int, last_row: int) -> str:
    """SQL that stores what differs between ``latest`` and the source as version ``number``, with row numbers after
    ``last_row``.

    It gives rows (what, split, rows): what is 'added' or 'removed', and 'source' with the number of all rows of the
    source where keys may be repeated.
    """
    # A source whose keys are sure is not counted, so nothing has to be kept of it.
    kept = "NOT MATERIALIZED" if definition.keys_are_sure else "MATERIALIZED"
    steps = [
        f"delc_source AS {kept} (SELECT source.*, true AS delc_here FROM (\n{definition.source.query}\n) AS source)",
        f"delc_latest AS NOT MATERIALIZED ({_latest(latest, definition)})",
        f"delc_difference AS MATERIALIZED ({_difference(definition)})",
        f"delc_removed AS (INSERT INTO {removed_name(latest.dataset_id)} (delc_row, delc_version)"
        f" SELECT DISTINCT delc_old_row, {number} FROM delc_difference WHERE delc_old_row IS NOT NULL)",
        f"delc_existing AS ({_existing(definition)})",
        f"delc_added AS MATERIALIZED ({_added(definition, number, last_row)})",
    ]
    inserts = insert_parts(latest.dataset_id, definition, latest.parts, "delc_added")
    steps += [f"delc_part{part} AS ({insert})" for part, insert in enumerate(inserts, 1)]
    return f"WITH {', '.join(steps)} {_REPORT}{'' if definition.keys_are_sure else _REPORT_SOURCE}"


def rows_after(stored: StoredRows, columns: Sequence[StoredColumn], last_row: int) -> str:
    """SQL for rows that were added after row number ``last_row``, with number and split."""
    text = reading_query(stored, columns, bookkeeping=["delc_row", "delc_split"], ordered=False)
    return f"{text} AND d.delc_row > {last_row}"


def _latest(latest: DatasetVersion, definition: Definition) -> str:
    columns = latest.stored_columns([column.name for column in definition.columns])
    return reading_query(latest.stored, columns, bookkeeping=["delc_row", "delc_split"], ordered=False)


def _difference(definition: Definition) -> str:
    columns = ", ".join(f"delc_source.{column.quoted}" for column in definition.columns)
    same_key = " AND ".join(
        f"delc_source.{column.quoted} OPERATOR({_equality_schema(column)}.=) delc_latest.{column.quoted}"
        for column in definition.keys
    )
    images = [
        f"ROW({', '.join(f'{side}.{column.quoted}' for column in definition.columns)})::pg_catalog.record"
        for side in ("delc_source", "delc_latest")
    ]
    return (
        f"SELECT {columns}, delc_source.delc_here, delc_latest.delc_row AS delc_old_row,"
        f" delc_latest.delc_split AS delc_old_split, {_stratum('delc_latest', definition)} AS delc_old_stratum"
        f" FROM delc_source FULL JOIN delc_latest ON {same_key}"
        " WHERE delc_source.delc_here IS NULL OR delc_latest.delc_row IS NULL"
        f" OR {images[0]} OPERATOR(pg_catalog.*<>) {images[1]}"
    )


def _existing(definition: Definition) -> str:
    """Rows that each stratum keeps: those of the latest version, less the removed, plus the changed."""
    latest = (
        f"SELECT {_stratum('delc_latest', definition)} AS stratum, delc_split, pg_catalog.count(*) AS n"
        " FROM delc_latest GROUP BY 1, 2"
    )
    gone = (
        "SELECT delc_old_stratum, delc_old_split, -pg_catalog.count(*) FROM delc_difference"
        " WHERE delc_old_row IS NOT NULL GROUP BY 1, 2"
    )
    changed = (
        f"SELECT {_stratum('delc_difference', definition)}, delc_old_split, pg_catalog.count(*) FROM delc_difference"
        " WHERE delc_old_row IS NOT NULL AND delc_here GROUP BY 1, 2"
    )
    splits = "delc_split <> 't' AS is_held_out, delc_split = 'e' AS is_test"
    counted = f"{latest} UNION ALL {gone} UNION ALL {changed}"
    return (
        "SELECT stratum, pg_catalog.sum(n)::pg_catalog.float8 AS rows,"
        " COALESCE(pg_catalog.sum(n) FILTER (WHERE is_held_out), 0)::pg_catalog.float8 AS held_out,"
        " COALESCE(pg_catalog.sum(n) FILTER (WHERE is_test), 0)::pg_catalog.float8 AS test"
        f" FROM (SELECT stratum, n, {splits} FROM ({counted}) AS counted) AS counted"
        " GROUP BY stratum"
    )


def _added(definition: Definition, number: int, last_row: int) -> str:
    """The rows to be stored, with their numbers and splits."""
    columns = ", ".join(f"placed.{column.quoted}" for column in definition.columns)
    order = row_order("placed", definition)
    return (
        f"SELECT {last_row} + pg_catalog.row_number() OVER (ORDER BY {order}) AS delc_row, {number} AS delc_version,"
        f" {_split(definition)} AS delc_split, {columns}"
        f" FROM ({_placed(definition)}) AS placed ORDER BY {order}"
    )


def _split(definition: Definition) -> str:
    existing = Existing("placed.delc_rows", "placed.delc_held_out", "placed.delc_test")
    split = split_letter("placed", "placed.delc_place", definition, existing)
    if definition.split_column:
        return split
    return f"CASE WHEN placed.delc_old_row IS NOT NULL THEN placed.delc_old_split::pg_catalog.text ELSE {split} END"


def _placed(definition: Definition) -> str:
    """New and changed rows with what their stratum has, and their place among its new rows."""
    order = row_order("hashed", definition)
    hashed = (
        f"SELECT delc_difference.*, {order_hash('delc_difference', definition.keys, definition.seed)} AS delc_hash,"
        f" {_stratum('delc_difference', definition)} AS delc_stratum FROM delc_difference WHERE delc_here"
    )
    existing = ", ".join(f"COALESCE(delc_existing.{name}, 0) AS delc_{name}" for name in ("rows", "held_out", "test"))
    return (
        f"SELECT hashed.*, {existing}, pg_catalog.row_number() OVER"
        f" (PARTITION BY hashed.delc_old_row IS NULL, hashed.delc_stratum ORDER BY {order}) AS delc_place"
        f" FROM ({hashed}) AS hashed"
        " LEFT JOIN delc_existing ON delc_existing.stratum OPERATOR(pg_catalog.=) hashed.delc_stratum"
    )


def _stratum(alias: str, definition: Definition) -> str:
    """SQL for a row's stratum as a text that is never NULL; one and the same for all rows where there are no strata."""
    if definition.stratum is None:
        return "'all'::pg_catalog.text"
    text = f"('=' OPERATOR(pg_catalog.||) {alias}.{definition.stratum.quoted}::pg_catalog.text)"
    return f"""COALESCE({text}, 'NULL') COLLATE pg_catalog."C\""""


def _equality_schema(column: SourceColumn) -> str:
    """Where the operator = of a key's type lies: the caller's search path may lack it."""
    with queries.as_owner():
        schema = queries.value(
            "SELECT schema.nspname::text FROM pg_operator AS operator"
            " JOIN pg_namespace AS schema ON schema.oid = operator.oprnamespace"
            " WHERE operator.oprname = '=' AND operator.oprleft = $1::regtype AND operator.oprright = $1::regtype",
            column.base,
        )
    return queries.quote_identifier(schema or "pg_catalog")


_REPORT = """
    SELECT 'added' AS what, delc_split::pg_catalog.text AS split, pg_catalog.count(*) AS rows FROM delc_added GROUP BY 2
    UNION ALL
    SELECT 'removed', delc_old_split::pg_catalog.text, pg_catalog.count(DISTINCT delc_old_row) FROM delc_difference
    WHERE delc_old_row IS NOT NULL GROUP BY 2
"""
_REPORT_SOURCE = "UNION ALL SELECT 'source', '', pg_catalog.count(*) FROM delc_source"
