"""What passes between the row packer and the rooms above it: how a query's columns are to be packed, and what one
packed batch holds.

Plain data classes; nothing here talks to PostgreSQL, so the rooms that use them can be tested outside a server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy.typing as npt

PackKind = Literal["number", "category", "key"]

GROUP_DTYPES = ("float32", "float64", "uint8", "int64", "int32")
"""The element types that a group of columns may be packed in."""

NOT_PACKED = -1
"""The group number of a column that is read past (or kept as a key) and not packed."""


@dataclass(frozen=True)
class QueryColumn:
    """One column of a query: its name as PostgreSQL reports it and its type as ``format_type`` prints it (``real[]``,
    ``numeric(10,2)``).
    """

    name: str
    type: str


@dataclass(frozen=True)
class PackColumn:
    """Where one query column goes.

    ``group`` is the number of the group whose side-by-side columns it joins, or ``NOT_PACKED``. ``kind`` is
    ``number`` (scalars, dates as seconds, arrays and byte strings as many numbers side by side), ``category`` (any
    type, by its text form, as an int32 code in order of first appearance, NULL as -1) or ``key`` (kept as text, given
    back beside predictions).
    """

    group: int
    kind: PackKind


@dataclass(frozen=True)
class PackLayout:
    """How every column of a query is packed: ``columns`` in query order, and ``dtypes``, one element type of
    ``GROUP_DTYPES`` per group.
    """

    columns: tuple[PackColumn, ...]
    dtypes: tuple[str, ...]


@dataclass
class ColumnProblem:
    """What was wrong with the numbers of one column in one batch.

    ``column`` is the position in the query (from 0). ``nulls`` and ``nonfinite`` count values (NaN and infinities),
    and the two row numbers, which count from 0 within the batch, say where the first of each was met; they mean
    nothing where the count is 0.
    """

    column: int
    nulls: int
    first_null_row: int
    nonfinite: int
    first_nonfinite_row: int


@dataclass
class PackedBatch:
    """One batch of packed rows.

    ``rows``: how many rows; ``first_row``: how many rows were read before this batch. ``groups``: one array per group
    of the layout, ``(rows, width)`` in C order, a view on memory that belongs to the reader: whoever wants other
    values makes a copy. ``shapes``: the shape of one row's element in each group (array columns alone in their group
    keep their dimensions, otherwise ``(width,)``). ``dictionaries``: query column → all distinct texts met so far in
    the order of their codes; a dictionary only grows from one batch of a read to the next. ``problems``: the columns
    in which NULLs or numbers that are not finite were met.
    """

    rows: int
    first_row: int
    groups: list[npt.NDArray[Any]]
    shapes: list[tuple[int, ...]]
    dictionaries: dict[int, list[str]] = field(default_factory=dict)
    problems: list[ColumnProblem] = field(default_factory=list)
