"""Labels that are numbered through, such as output1, output2, …: kept as a rule, not one by one.

A network may give more numbers than a table has columns; a name for each would take more memory than its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

MANY = 1_600
"""From more outputs than a table can have columns, they are one array, and what is the same for all is written once."""


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """``prefix`` with the numbers from ``first``."""

    prefix: str
    first: int
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        numbers = range(self.first, self.first + self.size)
        if isinstance(place, slice):
            return tuple(f"{self.prefix}{number}" for number in numbers[place])
        return f"{self.prefix}{numbers[place]}"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.prefix}{number}" for number in range(self.first, self.first + self.size))

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and self._number(label) is not None

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The place of a label."""
        number = self._number(value) if isinstance(value, str) else None
        place = None if number is None else number - self.first
        if place is None or not start <= place < (self.size if stop is None else stop):
            raise ValueError(f"{value!r} is not one of the labels")
        return place

    def _number(self, label: str) -> int | None:
        digits = label.removeprefix(self.prefix)
        if not label.startswith(self.prefix) or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            return None
        number = int(digits)
        return number if str(number) == digits and 0 <= number - self.first < self.size else None

    def to_json(self) -> dict[str, Any]:
        """A JSON document for ``Document.labels``."""
        return {"prefix": self.prefix, "first": self.first, "count": self.size}


Labels = tuple[str, ...] | Numbered


def labels_json(labels: Labels) -> Any:
    """Labels for a JSON document."""
    return labels.to_json() if isinstance(labels, Numbered) else list(labels)


def unnamed(task: str, outputs: int) -> Labels:
    """What outputs are called that nobody gave names: output1, … for regression, otherwise the codes from 0."""
    numbered = Numbered("output", 1, outputs) if task == "regression" else Numbered("", 0, outputs)
    return numbered if outputs > MANY else tuple(numbered)


def places(outputs: int) -> Labels:
    """The places in an array, from 1 as in SQL."""
    return Numbered("", 1, outputs) if outputs > MANY else tuple(Numbered("", 1, outputs))


def once(values: list[Any]) -> list[Any]:
    """Many values that are all the same, written once."""
    return values[:1] if len(values) > MANY and values.count(values[0]) == len(values) else values
