"""How two versions differ, column by column: counts, NULLs, moments, and how far the distribution has shifted.

The shift of numbers and times is the two-sample Kolmogorov-Smirnov statistic, the largest distance between the two
distribution functions; that of classes is the total variation distance, half the sum of the differences of shares. Both
lie between 0 (the same) and 1 (nothing in common), and are exact: all values count, not bins of them.
"""

from __future__ import annotations

from typing import Any

from delc.datasets.columns import SourceColumn
from delc.datasets.comparing import stored_columns
from delc.datasets.versions import DatasetVersion
from delc.server import interrupts, queries

_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
_TIMES = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
_CLASSES = frozenset({"text", "character varying", "character", "boolean", "uuid", '"char"', "name"})

KOLMOGOROV_SMIRNOV, TOTAL_VARIATION = "kolmogorov-smirnov", "total variation"


def summarize(a: DatasetVersion, b: DatasetVersion) -> list[dict[str, Any]]:
    """A ``delc.dataset_column_difference`` for each column of either version."""
    old, new = stored_columns(a), stored_columns(b)
    found = []
    for name in dict.fromkeys([*old, *new]):
        interrupts.check()
        sides = [_statistics(version, columns.get(name)) for version, columns in ((a, old), (b, new))]
        row: dict[str, Any] = {"column_name": name, "old_type": None, "new_type": None}
        for side, columns, statistics in zip(("old", "new"), (old, new), sides, strict=True):
            row[f"{side}_type"] = columns[name].type if name in columns else None
            row |= {f"{side}_{what}": value for what, value in statistics.items()}
        found.append(row | _shift(a, b, old.get(name), new.get(name)))
    return found


def _kind(column: SourceColumn) -> str | None:
    if column.base in _NUMBERS or column.base in _TIMES:
        return KOLMOGOROV_SMIRNOV
    return TOTAL_VARIATION if column.is_enum or column.base in _CLASSES else None


def _statistics(version: DatasetVersion, column: SourceColumn | None) -> dict[str, Any]:
    nothing = {"rows": version.rows, "nulls": None, "distinct": None, "mean": None, "deviation": None}
    if column is None:
        return nothing
    value = f"r.{column.quoted}"
    kind = _kind(column)
    selected = [f"pg_catalog.count(*) - pg_catalog.count({value}) AS nulls"]
    if kind is not None:
        selected.append(f'pg_catalog.count(DISTINCT {_comparable(value, column)}) AS "distinct"')
    if column.base in _NUMBERS:
        finite = f"CASE WHEN {value}::pg_catalog.text NOT IN ('NaN', 'Infinity', '-Infinity') THEN {value} END"
        number = finite if column.base in ("real", "double precision", "numeric") else value
        selected.append(f"pg_catalog.avg({number})::pg_catalog.float8 AS mean")
        selected.append(f"pg_catalog.stddev_samp({number})::pg_catalog.float8 AS deviation")
    rows = version.rows_query([column.name], [])
    return nothing | queries.rows(f"SELECT {', '.join(selected)} FROM ({rows}) AS r")[0]


def _comparable(value: str, column: SourceColumn) -> str:
    """A value as the shift sees it: times as seconds, classes by their text."""
    if column.base in _TIMES:
        return f"EXTRACT(epoch FROM {value})::pg_catalog.float8"
    if column.base in _NUMBERS:
        return f"{value}::pg_catalog.float8" if column.base != "numeric" else value
    return f'{value}::pg_catalog.text COLLATE pg_catalog."C"'


def _shift(a: DatasetVersion, b: DatasetVersion, old: SourceColumn | None, new: SourceColumn | None) -> dict[str, Any]:
    if old is None or new is None or _kind(old) is None or _kind(old) != _kind(new):
        return {"shift": None, "measure": None}
    kind = _kind(old)
    sides = " UNION ALL ".join(
        f"SELECT {_comparable(f'r.{column.quoted}', column)} AS value, {first} AS old, {1 - first} AS new"
        f" FROM ({version.rows_query([column.name], [])}) AS r WHERE r.{column.quoted} IS NOT NULL"
        for version, column, first in ((a, old, 1), (b, new, 0))
    )
    text = (_LARGEST_DISTANCE if kind == KOLMOGOROV_SMIRNOV else _SUM_OF_DISTANCES).replace("{sides}", sides)
    return {"shift": queries.value(text), "measure": kind}


_SHARES = """
    SELECT value,
           pg_catalog.sum(old)::pg_catalog.float8 / NULLIF(pg_catalog.sum(pg_catalog.sum(old)) OVER (), 0) AS old,
           pg_catalog.sum(new)::pg_catalog.float8 / NULLIF(pg_catalog.sum(pg_catalog.sum(new)) OVER (), 0) AS new
    FROM ({sides}) AS side GROUP BY value
"""

_SUM_OF_DISTANCES = (
    "SELECT pg_catalog.sum(pg_catalog.abs(old - new))::pg_catalog.float8 / 2 FROM (" + _SHARES + ") AS share"
)

_LARGEST_DISTANCE = (
    "SELECT pg_catalog.max(pg_catalog.abs(distance))::pg_catalog.float8 FROM ("
    "SELECT pg_catalog.sum(old - new) OVER (ORDER BY value) AS distance FROM (" + _SHARES + ") AS share) AS step"
)
