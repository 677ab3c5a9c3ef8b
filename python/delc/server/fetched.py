"""Stored values on their way from their table to dense numbers: fetched in the session, decoded in several threads.

Queries put values into a set with ``delc.fetch_stored`` or ``delc.restore_numbers``; what decodes them touches nothing
of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import _delc

from delc.server import interrupts, tensors
from delc.server.errors import OutOfMemory


@dataclass(frozen=True)
class Job:
    """A chain to decode: the places of its values in their set, a whole one and deltas each from what the one before
    leads to; or deltas alone, from the numbers ``base``, which are themselves a delta from ``grandbase``.

    ``planes``: how many bytes of each number to decode, most significant first (0: all). ``keep``: of all that was
    decoded, the bytes that are not set to zero (0: all). ``into``: writable memory of just their size to put the
    numbers on, which then are not on memory of their own.
    """

    places: tuple[int, ...]
    planes: int = 0
    keep: int = 0
    base: Any = None
    grandbase: Any = None
    into: Any = None


@dataclass(frozen=True)
class Decoded:
    """What a job led to: the numbers as ``tensors.from_buffer`` gives them, the memory that they lie on, and
    ``delc.checksum()`` of them where all of each was decoded and kept.
    """

    numbers: Any
    memory: Any
    checksum: int


@dataclass(frozen=True)
class Problem:
    """Why a job led to nothing."""

    message: str


@contextmanager
def values() -> Iterator[int]:
    """The number of a set to fetch values into; it goes at the end of the block."""
    handle = _delc.fetched_open()
    try:
        yield handle
    finally:
        _delc.fetched_close(handle)


def decode(handle: int, jobs: Sequence[Job], threads: int = 1) -> list[Decoded | Problem]:
    """Decodes chains of a set, in at most so many threads, the longest ones first. Can be cancelled."""
    given = tuple((job.places, job.planes, job.keep, job.base, job.grandbase, job.into) for job in jobs)
    try:
        found = _delc.restore_fetched(handle, given, threads)
    except MemoryError as error:
        raise OutOfMemory(
            "out of memory while stored numbers were decoded", detail=str(error) or None, hint="Try again later."
        ) from None
    if found is None:
        interrupts.check()
        raise AssertionError("an interrupt was announced and did not come")
    return [Problem(one) if isinstance(one, str) else _decoded(*one) for one in found]


def _decoded(memory: Any, dtype: str, shape: tuple[int, ...], checksum: int) -> Decoded:
    return Decoded(tensors.from_buffer(memory, dtype, shape), memory, checksum)


@contextmanager
def numbers() -> Iterator[Restored]:
    """A set for one chain that ``delc.restore_numbers`` restores."""
    restored = Restored(_delc.fetched_open())
    try:
        yield restored
    finally:
        restored.close()


class Restored:
    """Numbers that a query restored into a set."""

    def __init__(self, handle: int) -> None:
        """``handle``: that of an open set."""
        self.handle = handle
        self._is_open = True

    def take(self, keep: int = 0) -> Any:
        """The numbers, with zeros below the first ``keep`` bytes of each (0: all are kept)."""
        taken = _delc.take_numbers(self.handle, keep)
        self._is_open = False
        return tensors.from_buffer(*taken)

    def close(self) -> None:
        """Frees what was not taken."""
        if self._is_open:
            _delc.fetched_close(self.handle)
            self._is_open = False
