"""From the packer's codes to numbers of one's own.

The packer numbers the texts of a column in the order in which a read meets them, and its dictionary grows from batch
to batch. The tables here keep one entry per distinct text, made when the text is first seen, so that a batch costs
one table look-up however often its texts repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]


class _Followed:
    """Follows a growing dictionary and says which of its texts are new."""

    def __init__(self) -> None:
        self._dictionary: Sequence[str] = ()
        self._last = ""
        self.known = 0

    def news(self, dictionary: Sequence[str]) -> tuple[bool, Sequence[str]]:
        """Whether this is another read's dictionary (all that was known is void), and the texts not yet known."""
        other = not self._continues(dictionary)
        start = 0 if other else self.known
        self._dictionary, self.known = dictionary, len(dictionary)
        self._last = dictionary[-1] if dictionary else ""
        return other, dictionary[start:] if start < self.known else ()

    def _continues(self, dictionary: Sequence[str]) -> bool:
        """A list that grew still holds the very string that was its last; any other list is compared in full."""
        if self.known == 0:
            return True
        if len(dictionary) < self.known:
            return False
        if dictionary is self._dictionary:
            return dictionary[self.known - 1] is self._last
        return dictionary[: self.known] == self._dictionary[: self.known]


class CodeTable:
    """Gives each text the number that ``number_of`` says, and NULL (code -1) the number ``missing``."""

    def __init__(self, number_of: Callable[[str], int], missing: int) -> None:
        self._number_of = number_of
        self._followed = _Followed()
        self._table = np.full(64, missing, dtype=np.int64)

    def take(self, codes: Codes, dictionary: Sequence[str]) -> Ids:
        """The numbers of a batch's codes, int64 (rows,). ``dictionary`` is the column's, as the batch has it."""
        before = self._followed.known
        other, news = self._followed.news(dictionary)
        if news:
            self._extend(0 if other else before, [self._number_of(text) for text in news])
        result: Ids = self._table.take(codes + 1)
        return result

    def _extend(self, start: int, numbers: Sequence[int]) -> None:
        end = start + 1 + len(numbers)
        if end > len(self._table):
            larger = np.empty(2 * end, dtype=np.int64)
            larger[: start + 1] = self._table[: start + 1]
            self._table = larger
        self._table[start + 1 : end] = numbers


class RaggedTable:
    """Gives each text the run of numbers that ``numbers_of`` says, and NULL none."""

    def __init__(self, numbers_of: Callable[[str], npt.NDArray[np.int32]]) -> None:
        self._numbers_of = numbers_of
        self._followed = _Followed()
        self._clear()

    def _clear(self) -> None:
        self._ends = np.zeros(64, dtype=np.int64)
        self._numbers = np.empty(1024, dtype=np.int32)

    def take(self, codes: Codes, dictionary: Sequence[str]) -> tuple[Ids, Ids, npt.NDArray[np.int32]]:
        """All numbers of a batch's texts, one after the other: the row, the position in its run, and the number of
        each.
        """
        before = self._followed.known
        other, news = self._followed.news(dictionary)
        if other:
            before = 0
            self._clear()
        if news:
            self._extend(before, [self._numbers_of(text) for text in news])
        starts, ends = self._ends.take(codes), self._ends.take(codes + 1)
        lengths = np.where(codes < 0, 0, ends - starts)
        rows = np.repeat(np.arange(len(codes)), lengths)
        positions = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return rows, positions, self._numbers.take(np.repeat(starts, lengths) + positions)

    def _extend(self, start: int, runs: list[npt.NDArray[np.int32]]) -> None:
        filled = int(self._ends[start])
        ends = filled + np.cumsum([len(run) for run in runs])
        self._ends = _with_room(self._ends, start + 1 + len(runs))
        self._ends[start + 1 : start + 1 + len(runs)] = ends
        self._numbers = _with_room(self._numbers, int(ends[-1]))
        self._numbers[filled : int(ends[-1])] = np.concatenate(runs)


def _with_room(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if size <= len(array):
        return array
    larger = np.zeros(2 * size, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


class Intern:
    """Numbers texts itself, in the order in which they are asked for, whatever the dictionaries of several reads look
    like.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The text's number; a new text gets the next one."""
        return self.numbers.setdefault(text, len(self.numbers))
