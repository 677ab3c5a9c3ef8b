"""Rows that a SQL function gives one by one, so that few of them are in memory at a time.

PL/Python replaces the text of an error that comes from an iterator. So an error comes as the tensor of a last row, and
is raised where that would be stored (``delc.server.tensors.to_buffer``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


class Failure:
    """Stands for a tensor that there is not, because of ``error``."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class LastRow(dict[str, Any]):
    """NULL in all columns but "value", whose tensor is the error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(value=Failure(error))

    def __missing__(self, key: str) -> None:
        """NULL."""


def row_by_row(rows: Iterator[Row], errors: Callable[[BaseException], BaseException | None]) -> Iterator[Row]:
    """The rows, and after them, where they ended with an error that ``errors`` turns into one for the user, that."""
    try:
        yield from rows
    except Exception as error:  # which goes on in either way, a cancel too
        found = errors(error)
        if found is None:
            raise
        yield LastRow(found)
