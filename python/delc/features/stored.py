"""Reading JSON documents that come back from the database, where anyone with the right to write may have changed them.

Every value is checked for what it is before it is used; what does not fit is an error that says where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from delc.features.moments import Floats
from delc.features.numbered import MANY, Labels, Numbered
from delc.features.settings import MOST_ELEMENTS
from delc.server.errors import InvalidData

FORMAT_VERSION = 1
"""The version of the documents written here."""


class Document:
    """A JSON object with exactly the keys that the reader knows."""

    def __init__(self, value: Any, keys: Iterable[str], where: str) -> None:
        self._where = where
        if not isinstance(value, dict):
            self.refuse("is not an object")
        known = set(keys)
        for key in value:
            if key not in known:
                self.refuse(f'has the unknown key "{key}"')
        for key in known:
            if key not in value:
                self.refuse(f'lacks the key "{key}"')
        self._values: dict[str, Any] = value

    def refuse(self, why: str) -> NoReturn:
        """Raise ``InvalidData`` about this document."""
        raise InvalidData(
            f"the stored {self._where} {why}",
            hint="The document was changed or is damaged; use another version of the model.",
        )

    def version(self) -> None:
        """Check the document's format version."""
        version = self._values["version"]
        if version != FORMAT_VERSION:
            self.refuse(f"has format version {version!r}, but only {FORMAT_VERSION} is known")

    def text(self, key: str) -> str:
        """A string."""
        value = self._values[key]
        if not isinstance(value, str):
            self.refuse(f'has {value!r} as "{key}", which is not a string')
        return value

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """One of the strings allowed."""
        value = self.text(key)
        if value not in allowed:
            self.refuse(f'has the unknown "{key}" {value!r}')
        return value

    def flag(self, key: str) -> bool:
        """A boolean."""
        value = self._values[key]
        if not isinstance(value, bool):
            self.refuse(f'has {value!r} as "{key}", which is not a boolean')
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number in a range."""
        value = self._values[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(f'has {value!r} as "{key}", which is not a whole number from {low} to {high}')
        return value

    def items(self, key: str) -> list[Any]:
        """An array."""
        value = self._values[key]
        if not isinstance(value, list):
            self.refuse(f'has something else than an array as "{key}"')
        return value

    def any(self, key: str) -> Any:
        """Whatever is there, to be checked by the caller."""
        return self._values[key]

    def number(self, key: str) -> float:
        """A finite number."""
        return self._number(self._values[key], key)

    def optional_number(self, key: str) -> float | None:
        """A finite number or null."""
        return None if self._values[key] is None else self.number(key)

    def numbers(self, key: str, length: int, positive: bool = False) -> Floats:
        """``length`` finite numbers, read-only float64."""
        values = self.items(key)
        if length > MANY and len(values) == 1:
            values = [self._number(values[0], key)] * length
        if len(values) != length:
            self.refuse(f'has {len(values)} numbers as "{key}" where {length} belong')
        result = np.array([self._number(value, key) for value in values], dtype=np.float64)
        if positive and length and result.min() <= 0:
            self.refuse(f'has {result.min()} in "{key}", which must be positive')
        result.flags.writeable = False
        return result

    def counts(self, key: str, length: int) -> tuple[int, ...]:
        """``length`` whole numbers from 0."""
        values = self.items(key)
        if length > MANY and len(values) == 1:
            values = values * length
        if len(values) != length or not all(type(value) is int and value >= 0 for value in values):
            self.refuse(f'has something else than {length} counts as "{key}"')
        return tuple(values)

    def texts(self, key: str) -> tuple[str, ...]:
        """Different strings."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            self.refuse(f'has something else than strings in "{key}"')
        if len(set(values)) != len(values):
            self.refuse(f'has the same string twice in "{key}"')
        return tuple(values)

    def labels(self, key: str) -> Labels:
        """Different strings, one by one or numbered through."""
        value = self._values[key]
        if not isinstance(value, dict):
            return self.texts(key)
        rule = Document(value, ("prefix", "first", "count"), self._where)
        return Numbered(rule.text("prefix"), rule.whole("first", 0, 1), rule.whole("count", 1, MOST_ELEMENTS))

    def shape(self, key: str) -> tuple[int, ...]:
        """1 to 8 positive dimensions."""
        values = self.items(key)
        whole = all(type(value) is int and value > 0 for value in values)
        if not 1 <= len(values) <= 8 or not whole or math.prod(values) > MOST_ELEMENTS:
            self.refuse(f'has {values!r:.100} as "{key}", which is not a shape')
        return tuple(values)

    def _number(self, value: Any, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(f'has {value!r:.100} in "{key}", which is not a number')
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
        if not math.isfinite(result):
            self.refuse(f'has a number in "{key}" that is not finite')
        return result


def floats(values: Sequence[float] | Floats) -> list[float]:
    """Numbers for JSON: written so that reading gives the same bits. There is no -0, which jsonb does not know."""
    return [float(value) + 0.0 for value in values]
