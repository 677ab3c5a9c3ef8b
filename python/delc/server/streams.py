"""Rows that a SQL function gives one by one, so that few of them are in memory at a time.

PL/Python replaces the text of an error that comes from an iterator. So an error comes as the tensor of a last row, and
is raised where that would be stored (``delc.server.tensors.to_buffer``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import plpy

from delc.server.errors import DelcError

Row = Mapping[str, Any]

TOLD = (DelcError, plpy.SPIError, MemoryError, RuntimeError, OSError)
"""What may be an error that users are told about, or a cancel: those of the package, of queries, and of starving."""


class Failure:
    """Stands for a tensor that there is not, because of ``error``."""

    def __init__(self, error: plpy.Error) -> None:
        self.error = error


class LastRow(dict[str, Any]):
    """NULL in all columns but "value", whose tensor is the error."""

    def __init__(self, error: plpy.Error) -> None:
        super().__init__(value=Failure(error))

    def __missing__(self, key: str) -> None:
        """NULL."""


def row_by_row(rows: Iterator[Row], for_user: Callable[[Exception], plpy.Error | None]) -> Iterator[Row]:
    """The rows; where an error or a cancel ends them, a last one with what ``for_user`` makes of it."""
    try:
        yield from rows
    except TOLD as error:
        found = for_user(error)
        if found is None:
            raise
        yield LastRow(found)
