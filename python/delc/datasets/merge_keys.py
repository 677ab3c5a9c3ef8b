"""The keys that a merge has to look at, where one of the two sides stays as it is for all others.

Where a version has a column more than its parent, all its rows are others than the parent's. Yet in a merge only those
are in question whose keys the other side touched: their number, not that of all rows, is what a merge should take.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import SourceColumn
from delc.datasets.merge_base import Bases
from delc.datasets.merge_cells import Cell
from delc.datasets.merge_columns import Side
from delc.datasets.versions import DatasetVersion


def touched(
    ours: Side, theirs: Side, bases: Bases, cells: Sequence[Cell], shape: DatasetVersion, keys: Sequence[SourceColumn]
) -> str | None:
    """SQL for the keys of rows that one side added, removed or changed, where the other one's rows are the result for
    all other keys; a key may be there twice. None where no side's are: all keys are in question then.

    Both histories come from one last common version, and this side has its very row for a key that is not among these.
    So the other side's row, or that it has none, is what came of it, and no version that this side alone has left that
    row out: it would have had to be in the common version.
    """
    if len(bases.last) != 1 or any(cell.is_new and {"o", "t"} <= set(cell.columns) for cell in cells):
        return None
    base = bases.sides[bases.last[0]].version
    for kept, other in ((ours, theirs), (theirs, ours)):
        if _places(kept.version) == _places(shape):
            listed = ", ".join(f"r.{column.quoted}" for column in keys)
            version = other.version
            return (
                f"SELECT {listed} FROM ({version.rows_query(version.key_columns, (), base.stored)}) AS r UNION ALL"
                f" SELECT {listed} FROM ({base.rows_query(base.key_columns, (), version.stored)}) AS r"
            )
    return None


def _places(version: DatasetVersion) -> set[tuple[str, str, int, str]]:
    columns = zip(version.columns, version.parts, version.stored_names, strict=True)
    return {(column.name, column.type, part, stored) for column, part, stored in columns}
