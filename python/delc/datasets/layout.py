"""How the columns of a data set are laid out over the tables that hold its rows.

PostgreSQL allows 1,600 columns in a table, and a row must fit into a page when its long values are moved out. The store
adds columns of its own, so the widest sources need a second table, joined by row number when a version is read.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST_COLUMNS_IN_PART = 1590
"""PostgreSQL's limit of 1,600, less the store's own columns and room to spare."""

MOST_BYTES_IN_PART = 7600
"""A page has 8,160 bytes for a row; the rest is for the row's header and its NULL bits."""

_VARYING_BYTES = 5
"""Counted for a value of varying length: many are short or NULL, and long ones are moved out."""


def assign_parts(widths: Iterable[int]) -> list[int]:
    """The part (from 1) of each column, in order; ``widths`` are bytes by column, -1 where they vary."""
    parts: list[int] = []
    part, columns, size = 1, 0, 0
    for width in widths:
        end = _end(size, width)
        if columns == MOST_COLUMNS_IN_PART or (columns and end > MOST_BYTES_IN_PART):
            part, columns, end = part + 1, 0, _end(0, width)
        parts.append(part)
        columns += 1
        size = end
    return parts


def _end(size: int, width: int) -> int:
    """Where a value ends that is put after ``size`` bytes; those of fixed width are aligned."""
    if width <= 0:
        return size + _VARYING_BYTES
    alignment = min(width & -width, 8)
    return -(-size // alignment) * alignment + width


def part_name(dataset_id: int, part: int) -> str:
    """The table of a part: ``delc_data.d7``, ``delc_data.d7_part2``."""
    return f"delc_data.d{dataset_id}" if part == 1 else f"delc_data.d{dataset_id}_part{part}"


def removed_name(dataset_id: int) -> str:
    """The table that says which rows a version left out."""
    return f"delc_data.d{dataset_id}_removed"
