"""Comparing rows with a version, in one statement: which are new, changed or gone, and storing them as a new version.

Rows are matched by key, in a join or by digests, and compared by their stored form. The source is read once. A changed
row is stored as a new one, in the split of its predecessor, which the version leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from delc.datasets import images
from delc.datasets.columns import SourceColumn
from delc.datasets.definition import Definition
from delc.datasets.fill import insert_parts, row_order, split_letter
from delc.datasets.matching import can_match, matched_rows
from delc.datasets.order import order_hash
from delc.datasets.reading import StoredColumn, StoredRows, reading_query, remove_rows
from delc.datasets.splits import SPLITS, Existing
from delc.datasets.versions import DatasetVersion
from delc.server import queries

Scope = Literal["all", "given", "clash", "removal"]


@dataclass(frozen=True)
class Change:
    """What a new version takes from the rows that ``definition.source`` gives.

    ``scope``: of 'all' rows, so that those which the source lacks go; of the 'given' rows, so that all others stay;
    'clash' is the same, and counts rows of a key that is there already even when they are alike; 'removal' takes the
    rows with the source's keys away. ``given``: the columns that the source has, where it has not all; the others keep
    their values. ``has_split``: the source says each row's split in a column delc_split.
    """

    definition: Definition
    scope: Scope = "all"
    given: frozenset[str] | None = None
    has_split: bool = False

    @property
    def counts_source(self) -> bool:
        """Whether the number of the source's rows tells of repeated keys."""
        return self.scope == "all" and not self.definition.keys_are_sure


def store_difference(latest: DatasetVersion, change: Change, number: int, last_row: int) -> str:
    """SQL that stores what ``change`` makes of ``latest`` as version ``number``, with row numbers after ``last_row``.

    It gives rows (what, split, rows): what is 'added', 'removed', 'new' (added under a new key), and where keys of the
    source may be repeated, 'source' with the number of all its rows or 'repeated' with those whose keys came before.
    Columns of ``latest`` are those of the new version.
    """
    definition = change.definition
    by_digest = change.scope == "all" and change.given is None and can_match(latest, definition)
    steps = _matched(latest, change) if by_digest else _joined(latest, change)
    steps += [
        f"delc_removed AS ({remove_rows(latest.dataset_id, number, _OLD_ROWS)})",
        f"delc_existing AS ({_existing(latest, definition)})",
        f"delc_added AS MATERIALIZED ({_added(change, number, last_row)})",
    ]
    columns = latest.stored_columns([column.name for column in definition.columns])
    inserts = insert_parts(latest.dataset_id, columns, "delc_added")
    steps += [f"delc_part{part} AS ({insert})" for part, insert in enumerate(inserts, 1)]
    report = [_REPORT]
    if change.counts_source:
        report.append(_REPORT_REPEATED if by_digest else _REPORT_SOURCE)
    return f"WITH {', '.join(steps)} {' UNION ALL '.join(report)}"


def matching_keys(latest: DatasetVersion, change: Change, *, known: bool) -> str:
    """SQL for the keys of the source that ``latest`` has (``known``) or has not: their text, three of them, and how
    many there are.
    """
    keys = change.definition.keys
    test = f"delc_latest.delc_row IS {'NOT ' if known else ''}NULL"
    return (
        f"WITH delc_latest AS NOT MATERIALIZED ({_latest(latest, change.definition)})"
        f" SELECT {key_text(keys, 'delc_source')} AS key, pg_catalog.count(*) OVER () AS keys"
        f" FROM (\n{change.definition.source.query}\n) AS delc_source"
        f" LEFT JOIN delc_latest ON {same_key(keys, 'delc_source', 'delc_latest')} WHERE {test}"
        f" ORDER BY {', '.join(f'delc_source.{column.quoted}' for column in keys)} LIMIT 3"
    )


def key_text(keys: Sequence[SourceColumn], alias: str) -> str:
    """SQL for how errors show the key of a row, given by its alias: ``(7, north)``."""
    texts = ", ', ', ".join(f"COALESCE({alias}.{column.quoted}::pg_catalog.text, 'NULL')" for column in keys)
    return f"pg_catalog.concat('(', {texts}, ')')"


def same_key(keys: Sequence[SourceColumn], left: str, right: str) -> str:
    """SQL for whether two rows, given by their aliases, have the same key."""
    return images.same_key(keys, left, right, [_equality_schema(column) for column in keys])


def rows_after(stored: StoredRows, columns: Sequence[StoredColumn], last_row: int) -> str:
    """SQL for rows that were added after row number ``last_row``, with number and split."""
    text = reading_query(stored, columns, bookkeeping=["delc_row", "delc_split"], ordered=False)
    return f"{text} AND d.delc_row > {last_row}"


def _latest(latest: DatasetVersion, definition: Definition) -> str:
    return latest.rows_query([column.name for column in definition.columns])


def _joined(latest: DatasetVersion, change: Change) -> list[str]:
    """The steps that find what differs by joining the source with the stored rows, for keys of any type."""
    # A source whose keys are sure is not counted, so nothing has to be kept of it.
    kept = "MATERIALIZED" if change.counts_source else "NOT MATERIALIZED"
    source = change.definition.source.query
    return [
        f"delc_source AS {kept} (SELECT source.*, true AS delc_here FROM (\n{source}\n) AS source)",
        f"delc_latest AS NOT MATERIALIZED ({_latest(latest, change.definition)})",
        f"delc_difference AS MATERIALIZED ({_difference(change)})",
    ]


def _matched(latest: DatasetVersion, change: Change) -> list[str]:
    """The same by digests."""
    definition = change.definition
    rows = matched_rows(latest, definition, has_split=change.has_split)
    if definition.stratum is not None:
        strata = latest.rows_query([definition.stratum.name], ["delc_row"])
        rows += f" LEFT JOIN ({strata}) AS delc_latest ON delc_latest.delc_row = delc_matched.delc_old_row"
    stratum = _stratum("delc_latest", definition)
    return [f"delc_difference AS MATERIALIZED (SELECT delc_matched.*, {stratum} AS delc_old_stratum FROM {rows})"]


def _difference(change: Change) -> str:
    definition = change.definition
    columns = ", ".join(f"{_value(change, column)} AS {column.quoted}" for column in definition.columns)
    here = "delc_source.delc_here" if change.scope != "removal" else "NULL::pg_catalog.bool AS delc_here"
    split = ", delc_source.delc_split AS delc_given_split" if change.has_split else ""
    join, condition = _JOINS[change.scope]
    if "{alike}" in condition:
        compared = [c for c in definition.columns if change.given is None or c.name in change.given]
        alike = images.alike(compared, "delc_source", "delc_latest")
        if change.has_split:
            alike = f"{alike} AND delc_source.delc_split OPERATOR(pg_catalog.=) delc_latest.delc_split"
        condition = condition.format(alike=alike)
    return (
        f"SELECT {columns}, {here}{split}, delc_latest.delc_row AS delc_old_row,"
        f" delc_latest.delc_split AS delc_old_split, {_stratum('delc_latest', definition)} AS delc_old_stratum"
        f" FROM delc_source {join} delc_latest ON {same_key(definition.keys, 'delc_source', 'delc_latest')}"
        f" WHERE {condition}"
    )


_JOINS: dict[Scope, tuple[str, str]] = {
    "all": ("FULL JOIN", "delc_source.delc_here IS NULL OR delc_latest.delc_row IS NULL OR NOT ({alike})"),
    "given": ("LEFT JOIN", "delc_latest.delc_row IS NULL OR NOT ({alike})"),
    "clash": ("LEFT JOIN", "true"),
    "removal": ("JOIN", "true"),
}


def _value(change: Change, column: SourceColumn) -> str:
    """Where the new row takes a column's value from."""
    from_source = change.scope != "removal" and (change.given is None or column.name in change.given)
    return f"{'delc_source' if from_source else 'delc_latest'}.{column.quoted}"


def _existing(latest: DatasetVersion, definition: Definition) -> str:
    """Rows that each stratum keeps: those of the latest version, less the removed, plus the changed. They are counted
    where rows with new keys are to be placed.
    """
    gone = (
        "SELECT delc_old_stratum, delc_old_split, -pg_catalog.count(*) FROM delc_difference"
        " WHERE delc_old_row IS NOT NULL GROUP BY 1, 2"
    )
    changed = (
        f"SELECT {_stratum('delc_difference', definition)}, delc_old_split, pg_catalog.count(*) FROM delc_difference"
        " WHERE delc_old_row IS NOT NULL AND delc_here GROUP BY 1, 2"
    )
    splits = "delc_split <> 't' AS is_held_out, delc_split = 'e' AS is_test"
    counted = f"{_counted(latest, definition)} UNION ALL {gone} UNION ALL {changed}"
    return (
        "SELECT stratum, pg_catalog.sum(n)::pg_catalog.float8 AS rows,"
        " COALESCE(pg_catalog.sum(n) FILTER (WHERE is_held_out), 0)::pg_catalog.float8 AS held_out,"
        " COALESCE(pg_catalog.sum(n) FILTER (WHERE is_test), 0)::pg_catalog.float8 AS test"
        f" FROM (SELECT stratum, n, {splits} FROM ({counted}) AS counted) AS counted"
        " GROUP BY stratum"
    )


def _counted(latest: DatasetVersion, definition: Definition) -> str:
    """SQL for stratum, delc_split and number of rows (n) of the latest version."""
    if definition.stratum is None:
        counts = latest.split_counts()
        listed = ", ".join(f"('all', '{letter}', {counts[split]})" for split, letter in SPLITS.items())
        return (
            'SELECT stratum::pg_catalog.text, delc_split::pg_catalog."char", n::pg_catalog.int8'
            f" FROM (VALUES {listed}) AS known(stratum, delc_split, n)"
        )
    column = definition.stratum
    rows = latest.rows_query([column.name], ["delc_split"])
    grouped = (
        f"SELECT latest.{column.quoted}, latest.delc_split, pg_catalog.count(*) AS n FROM ({rows}) AS latest"
        " WHERE EXISTS (SELECT FROM delc_difference WHERE delc_here AND delc_old_row IS NULL) GROUP BY 1, 2"
    )
    return f"SELECT {_stratum('latest', definition)} AS stratum, delc_split, n FROM ({grouped}) AS latest"


def _added(change: Change, number: int, last_row: int) -> str:
    """The rows to be stored, with their numbers and splits."""
    definition = change.definition
    columns = ", ".join(f"placed.{column.quoted}" for column in definition.columns)
    order = row_order("placed", definition)
    return (
        f"SELECT {last_row} + pg_catalog.row_number() OVER (ORDER BY {order}) AS delc_row, {number} AS delc_version,"
        f" {_split(change)} AS delc_split, {columns}, placed.delc_old_row"
        f" FROM ({_placed(definition)}) AS placed ORDER BY {order}"
    )


def _split(change: Change) -> str:
    if change.has_split:
        return "placed.delc_given_split"
    definition = change.definition
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
    return stratum_text(alias, definition.stratum)


def stratum_text(alias: str, stratum: SourceColumn | None) -> str:
    """SQL for a row's stratum as a text that is never NULL; one and the same for all rows where there are no strata."""
    if stratum is None:
        return "'all'::pg_catalog.text"
    text = f"('=' OPERATOR(pg_catalog.||) {alias}.{stratum.quoted}::pg_catalog.text)"
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


_OLD_ROWS = "SELECT delc_old_row AS delc_row FROM delc_difference WHERE delc_old_row IS NOT NULL"

_REPORT = """
    SELECT 'added' AS what, delc_split::pg_catalog.text AS split, pg_catalog.count(*) AS rows FROM delc_added GROUP BY 2
    UNION ALL
    SELECT 'removed', delc_old_split::pg_catalog.text, pg_catalog.count(DISTINCT delc_old_row) FROM delc_difference
    WHERE delc_old_row IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'new', '', pg_catalog.count(*) FROM delc_added WHERE delc_old_row IS NULL
"""
_REPORT_SOURCE = "SELECT 'source', '', pg_catalog.count(*) FROM delc_source"
_REPORT_REPEATED = "SELECT 'repeated', '', pg_catalog.count(*) FROM delc_difference WHERE delc_repeated"
