"""The query that reads a version of a data set. Pure text: nothing here talks to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from delc.datasets.layout import part_name, removed_name
from delc.datasets.splits import SPLITS


@dataclass(frozen=True)
class StoredColumn:
    """A column of a version: its quoted name, the part of the store that holds it, and its (quoted) name there where
    that is another.
    """

    quoted: str
    part: int = 1
    stored: str | None = None

    @property
    def selected(self) -> str:
        """The column in a query's list."""
        renamed = f"{self.stored} AS {self.quoted}" if self.stored else self.quoted
        return f"{_alias(self.part)}.{renamed}"


@dataclass(frozen=True)
class StoredRows:
    """The rows of a version in the store.

    ``numbers``: the numbers of the version and of all its ancestors. ``has_removals``: whether one of them left rows
    out.
    """

    dataset_id: int
    numbers: Sequence[int]
    has_removals: bool


def reading_query(
    stored: StoredRows,
    columns: Sequence[StoredColumn],
    split: str | None = None,
    *,
    bookkeeping: Sequence[str] = (),
    ordered: bool = True,
    but_not_in: StoredRows | None = None,
) -> str:
    """SQL for the columns of a version's rows, or of one split of them, in the order of their row numbers.

    ``bookkeeping`` names columns of the store to be put in front: delc_row, delc_version, delc_split. ``but_not_in``
    leaves out the rows that another version of the same data set has too. The text names every relation with its
    schema, and gives the same rows after later commits.
    """
    selected = [f"d.{name}" for name in bookkeeping]
    selected += [column.selected for column in columns]
    conditions = [f"({in_numbers('d.delc_version', stored.numbers)})"]
    if split is not None:
        conditions.append(f"d.delc_split = '{SPLITS[split]}'")
    if stored.has_removals:
        conditions.append(f"NOT {is_removed(stored)}")
    if but_not_in is not None:
        outside = f"NOT ({in_numbers('d.delc_version', but_not_in.numbers)})"
        conditions.append(f"({outside} OR {is_removed(but_not_in)})" if but_not_in.has_removals else outside)
    query = (
        f"SELECT {', '.join(selected)} FROM {part_name(stored.dataset_id, 1)} AS d"
        f"{_joins(stored.dataset_id, {column.part for column in columns})} WHERE {' AND '.join(conditions)}"
    )
    return f"{query} ORDER BY d.delc_row" if ordered else query


def _alias(part: int) -> str:
    return "d" if part == 1 else f"d{part}"


def _joins(dataset_id: int, parts: Iterable[int]) -> str:
    """Rows that are older than a part have nothing in it: the part's columns are NULL there."""
    return "".join(
        f" LEFT JOIN {part_name(dataset_id, part)} AS d{part} ON d{part}.delc_row = d.delc_row"
        for part in sorted(parts)
        if part > 1
    )


def is_removed(stored: StoredRows, row: str = "d.delc_row") -> str:
    """SQL for whether one of the versions left the row out.

    The sets that they left out are brought together once, and then asked about each row.
    """
    union = (
        f"SELECT delc.row_set_union(r.delc_rows) FROM {removed_name(stored.dataset_id)} AS r"
        f" WHERE {in_numbers('r.delc_version', stored.numbers)}"
    )
    return f"delc.row_set_contains(({union}), {row})"


def remove_rows(dataset_id: int, number: int, rows: str) -> str:
    """SQL that stores which rows version ``number`` leaves out: those that ``rows``, a query of delc_row, gives."""
    return (
        f"INSERT INTO {removed_name(dataset_id)} (delc_version, delc_rows)"
        f" SELECT {number}, delc.row_set(gone.delc_row) FROM ({rows}) AS gone HAVING pg_catalog.count(*) > 0"
    )


def in_numbers(column: str, numbers: Sequence[int]) -> str:
    """Whether the column is one of the numbers, by ranges: a history without branches needs one comparison."""
    return " OR ".join(_in_range(column, first, last) for first, last in _ranges(numbers))


def _in_range(column: str, first: int, last: int) -> str:
    if first == 1:
        return f"{column} <= {last}"
    return f"{column} = {first}" if first == last else f"{column} BETWEEN {first} AND {last}"


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
