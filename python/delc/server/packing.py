"""Reading a query's rows as packed batches. The work is done in C (``extension/src/pack*.c``); this is its Python
side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import _delc
import numpy as np
import numpy.typing as npt

from delc.server import queries, settings
from delc.server.batches import ColumnProblem, PackedBatch, PackLayout

CHUNK_BYTES = 32 * 1024 * 1024
"""Rows are read in chunks of about this size where the caller has no reason for another."""

CHUNK_SHARE = 8
"""A chunk takes at most this part of the memory limit."""

MOST_CHUNK_ROWS = 65_536

_GROUP_TYPES = {
    "float32": np.float32,
    "float64": np.float64,
    "uint8": np.uint8,
    "int64": np.int64,
    "int32": np.int32,
}


class Reader:
    """An open read: iterate over its batches, and use ``portal`` to name it to C functions. Close it, or use it in a
    ``with`` block.
    """

    def __init__(
        self,
        query: str,
        layout: PackLayout,
        batch_size: int,
        *,
        seed: int | None = None,
        widths: Sequence[int] | None = None,
    ) -> None:
        """Starts the query with the caller's rights.

        ``batch_size``: rows per batch. ``seed``: shuffles the rows; the same seed and the same rows give the same
        order. ``widths``: how many numbers each query column has in a row, -1 where its first row shall decide.
        """
        self._dictionaries: dict[int, list[str]] = {}
        self.portal: str = queries.value(
            "SELECT delc.pack_open($1, $2, $3, $4, $5, $6)",
            shuffled(query, seed) if seed is not None else query,
            *layout_parameters(layout, widths),
            queries.typed(batch_size, "integer"),
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[PackedBatch]:
        while queries.value("SELECT delc.pack_fetch($1)", self.portal) > 0:
            yield self._take()

    def close(self) -> None:
        """Ends the query, if an error has not ended it."""
        queries.execute("SELECT delc.pack_close($1)", self.portal)

    def _take(self) -> PackedBatch:
        known = {column: len(texts) for column, texts in self._dictionaries.items()}
        row_count, first_row, groups, problems, new_texts = _delc.take_batch(self.portal, known)
        for column, texts in new_texts.items():
            self._dictionaries.setdefault(column, []).extend(texts)
        return PackedBatch(
            rows=row_count,
            first_row=first_row,
            groups=[group_array(buffer, dtype, width) for buffer, dtype, width, _ in groups],
            shapes=[shape for _, _, _, shape in groups],
            dictionaries=self._dictionaries,
            problems=[ColumnProblem(*problem) for problem in problems],
        )


def read(
    query: str, layout: PackLayout, batch_size: int, *, seed: int | None = None, widths: Sequence[int] | None = None
) -> Iterator[PackedBatch]:
    """The batches of a query; see ``Reader``."""
    with Reader(query, layout, batch_size, seed=seed, widths=widths) as reader:
        yield from reader


def chunk_rows(row_bytes: int) -> int:
    """How many rows of so many packed bytes make a chunk: the next one is packed while the last is still in use."""
    chunk_bytes = min(CHUNK_BYTES, settings.memory_limit_bytes() // CHUNK_SHARE)
    return max(1, min(MOST_CHUNK_ROWS, chunk_bytes // max(row_bytes, 1)))


def measure(query: str, layout: PackLayout, widths: Sequence[int]) -> tuple[Sequence[int], int]:
    """Widths by query column where they are known, and bytes of a packed row, as the query's first row shows them."""
    with Reader(f"SELECT * FROM ({query}) AS first LIMIT 1", layout, 1, widths=widths) as reader:
        first = next(iter(reader), None)
    if first is None:
        return widths, 1
    members = Counter(column.group for column in layout.columns if column.group >= 0)
    measured = [
        first.groups[column.group].shape[1] if column.kind == "number" and members[column.group] == 1 else width
        for column, width in zip(layout.columns, widths, strict=True)
    ]
    return measured, sum(group.shape[1] * group.itemsize for group in first.groups)


def shuffled(query: str, seed: int) -> str:
    """A query with the same rows in an order that only ``seed`` and their original order decide; PostgreSQL sorts
    within work_mem.

    The columns are named one by one: a whole row would be read in full, long values included, before it is sorted.
    """
    columns = queries.describe(query)
    names = [f"column_{i}" for i in range(len(columns))]
    outer = ", ".join(
        f"{name} AS {queries.quote_identifier(column.name)}" for name, column in zip(names, columns, strict=True)
    )
    inner = ", ".join([*names, "pg_catalog.row_number() OVER () AS delc_position"])
    return (
        f"SELECT {outer} FROM (SELECT {inner} FROM ({query}) AS source({', '.join(names)})) AS numbered"
        f" ORDER BY pg_catalog.hashint8extended(delc_position, {int(seed)}), delc_position"
    )


def layout_parameters(layout: PackLayout, widths: Sequence[int] | None) -> list[queries.Typed]:
    """A layout as the arguments of ``pack_open``: kinds, groups, widths by column, dtypes by group."""
    kinds = [_kind_of(column.kind, column.group) for column in layout.columns]
    return [
        queries.typed(kinds, "text[]"),
        queries.typed([column.group for column in layout.columns], "integer[]"),
        queries.typed(list(widths) if widths is not None else [-1] * len(kinds), "bigint[]"),
        queries.typed(list(layout.dtypes), "text[]"),
    ]


def group_array(buffer: Any, dtype: str, width: int) -> npt.NDArray[Any]:
    """A group's numbers (rows, width) on the packer's memory."""
    numbers: npt.NDArray[Any] = np.frombuffer(buffer, dtype=_GROUP_TYPES[dtype])
    return numbers.reshape(-1, width) if width > 0 else numbers.reshape(0, 0)


def _kind_of(kind: str, group: int) -> str:
    return "skip" if group < 0 and kind != "key" else kind
