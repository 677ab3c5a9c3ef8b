"""What was learned from the training rows about each feature: means, scales, vocabularies, shapes.

Everything here is immutable and goes through JSON unchanged, to the last bit; it is stored with a model's version and
applied at prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from delc.features.columns import PlannedColumn
from delc.features.moments import Floats
from delc.features.settings import DATE_PARTS, CategoricalSettings
from delc.features.stored import Document, floats

LINEAR_PARTS = ("seconds", "year")
"""The parts of a moment that grow for ever; the others go round."""

PADDING, UNKNOWN_WORD, FIRST_WORD = 0, 1, 2
"""Token ids of texts."""


@dataclass(frozen=True)
class FittedNumber:
    """A number or boolean is encoded as (value - center) / scale; ``fill`` stands in for what is missing."""

    planned: PlannedColumn
    center: float
    scale: float
    fill: float | None
    keys: ClassVar = ("center", "scale", "fill")

    @property
    def shape(self) -> tuple[int, ...]:
        """One number."""
        return (1,)

    @property
    def names(self) -> list[str]:
        """The column's name."""
        return [self.planned.name]

    def to_json(self) -> dict[str, Any]:
        """What was fitted."""
        fill = None if self.fill is None else self.fill + 0.0
        return {"center": self.center + 0.0, "scale": self.scale, "fill": fill}

    @classmethod
    def from_json(cls, planned: PlannedColumn, document: Document) -> FittedNumber:
        """The opposite of ``to_json``; raises ``InvalidData``."""
        scale = document.number("scale")
        if scale <= 0:
            document.refuse(f'has the scale {scale} for column "{planned.name}", which must be positive')
        return cls(planned, document.number("center"), scale, document.optional_number("fill"))


@dataclass(frozen=True, eq=False)
class FittedMoment:
    """A date or time as its ``parts``. ``center`` and ``scale`` hold one number per linear part, in their order;
    ``fill`` is in seconds.
    """

    planned: PlannedColumn
    parts: tuple[str, ...]
    center: Floats
    scale: Floats
    fill: float | None
    keys: ClassVar = ("parts", "center", "scale", "fill")

    @property
    def names(self) -> list[str]:
        """The parts' names after the column's, cyclic ones twice."""
        name = self.planned.name
        return [
            called
            for part in self.parts
            for called in ([f"{name}.{part}"] if part in LINEAR_PARTS else [f"{name}.{part}_sin", f"{name}.{part}_cos"])
        ]

    @property
    def shape(self) -> tuple[int, ...]:
        """One number per linear part, two per cyclic part."""
        return (len(self.names),)

    def to_json(self) -> dict[str, Any]:
        """What was fitted."""
        fill = None if self.fill is None else self.fill + 0.0
        return {"parts": list(self.parts), "center": floats(self.center), "scale": floats(self.scale), "fill": fill}

    @classmethod
    def from_json(cls, planned: PlannedColumn, document: Document) -> FittedMoment:
        """The opposite of ``to_json``; raises ``InvalidData``."""
        parts = document.texts("parts")
        if not parts or not set(parts) <= set(DATE_PARTS):
            document.refuse(f'has unknown parts for column "{planned.name}"')
        linear = sum(part in LINEAR_PARTS for part in parts)
        center, scale = document.numbers("center", linear), document.numbers("scale", linear, positive=True)
        return cls(planned, parts, center, scale, document.optional_number("fill"))


@dataclass(frozen=True)
class FittedCategories:
    """A column's values, each with a place of its own, sorted.

    ``unknown``: whether rare values of the training rows share a place (for embeddings there always is one). ``fill``
    stands in for NULL where the policy is most_frequent. One-hot: a place per value, then NULL's if it is a category,
    then that of the unknown. Embedding: 0 is the unknown, then the values from 1, then NULL's.
    """

    planned: PlannedColumn
    vocabulary: tuple[str, ...]
    unknown: bool
    fill: str | None
    keys: ClassVar = ("vocabulary", "unknown", "fill")

    @property
    def settings(self) -> CategoricalSettings:
        """The column's settings."""
        settings = self.planned.settings
        assert isinstance(settings, CategoricalSettings)
        return settings

    @property
    def embedded(self) -> bool:
        """Whether the column is an int64 input with a learned embedding."""
        return self.settings.encoding == "embedding"

    @property
    def names(self) -> list[str]:
        """``column=value`` for each place."""
        name = self.planned.name
        values = [f"{name}={value}" for value in self.vocabulary]
        null = [f"{name} is null"] if self.settings.missing == "category" else []
        other = [f"{name}=other"] if self.unknown else []
        return [*other, *values, *null] if self.embedded else [*values, *null, *other]

    @property
    def shape(self) -> tuple[int, ...]:
        """One place per value, or () for an embedding's code."""
        return () if self.embedded else (self.size,)

    @property
    def size(self) -> int:
        """The number of places."""
        return len(self.vocabulary) + self.unknown + (self.settings.missing == "category")

    def to_json(self) -> dict[str, Any]:
        """What was fitted."""
        return {"vocabulary": list(self.vocabulary), "unknown": self.unknown, "fill": self.fill}

    @classmethod
    def from_json(cls, planned: PlannedColumn, document: Document) -> FittedCategories:
        """The opposite of ``to_json``; raises ``InvalidData``."""
        vocabulary = document.texts("vocabulary")
        fill = None if document.any("fill") is None else document.choice("fill", vocabulary)
        fitted = cls(planned, vocabulary, document.flag("unknown"), fill)
        if fitted.embedded and not fitted.unknown:
            document.refuse(f'has no place for unknown values of column "{planned.name}"')
        if fitted.settings.missing == "most_frequent" and fill is None:
            document.refuse(f'does not say what stands in for NULL in column "{planned.name}"')
        return fitted


@dataclass(frozen=True, eq=False)
class FittedArray:
    """An array or image, encoded as (value - center) / scale.

    ``shape`` is one row's. ``center`` and ``scale`` hold one number for all elements, one per channel or one per
    element; an image's division by 255 is part of them. ``fill`` likewise stands in for elements that are missing.
    """

    planned: PlannedColumn
    shape: tuple[int, ...]
    center: Floats
    scale: Floats
    fill: Floats | None
    keys: ClassVar = ("shape", "center", "scale", "fill")

    @property
    def elements(self) -> int:
        """The number of elements of one row."""
        return math.prod(self.shape)

    @property
    def names(self) -> list[str]:
        """``column[i]`` (from 1, as in SQL), or ``column[c][h][w]``."""
        places = np.indices(self.shape).reshape(len(self.shape), -1).T + 1
        return [self.planned.name + "".join(f"[{index}]" for index in place) for place in places.tolist()]

    @property
    def is_identity(self) -> bool:
        """Whether values go in as they are."""
        return not self.center.any() and bool((self.scale == 1).all())

    def to_json(self) -> dict[str, Any]:
        """What was fitted."""
        fill = None if self.fill is None else floats(self.fill)
        return {"shape": list(self.shape), "center": floats(self.center), "scale": floats(self.scale), "fill": fill}

    @classmethod
    def from_json(cls, planned: PlannedColumn, document: Document) -> FittedArray:
        """The opposite of ``to_json``; raises ``InvalidData``."""
        shape = document.shape("shape")
        lengths = {1, shape[0], math.prod(shape)}
        center = _statistics(document, "center", lengths)
        scale = document.numbers("scale", len(center), positive=True)
        fill = None if document.any("fill") is None else _statistics(document, "fill", lengths)
        return cls(planned, shape, center, scale, fill)


def _statistics(document: Document, key: str, lengths: set[int]) -> Floats:
    length = len(document.items(key))
    if length not in lengths:
        document.refuse(f'has {length} numbers as "{key}", which fits neither elements nor channels')
    return document.numbers(key, length)


@dataclass(frozen=True)
class FittedText:
    """A text as ``length`` token ids; the ids of ``vocabulary`` begin at ``FIRST_WORD``."""

    planned: PlannedColumn
    vocabulary: tuple[str, ...]
    length: int
    keys: ClassVar = ("vocabulary", "length")

    @property
    def names(self) -> list[str]:
        """``column[i]`` for each token."""
        return [f"{self.planned.name}[{place + 1}]" for place in range(self.length)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of tokens."""
        return (self.length,)

    @property
    def size(self) -> int:
        """The number of token ids."""
        return len(self.vocabulary) + FIRST_WORD

    def to_json(self) -> dict[str, Any]:
        """What was fitted."""
        return {"vocabulary": list(self.vocabulary), "length": self.length}

    @classmethod
    def from_json(cls, planned: PlannedColumn, document: Document) -> FittedText:
        """The opposite of ``to_json``; raises ``InvalidData``."""
        return cls(planned, document.texts("vocabulary"), document.whole("length", 1, 100_000))


@dataclass(frozen=True)
class FittedTokens:
    """An array of token ids below ``size``."""

    planned: PlannedColumn
    shape: tuple[int, ...]
    size: int
    keys: ClassVar = ("shape", "size")

    @property
    def names(self) -> list[str]:
        """``column[i]`` for each token."""
        return [f"{self.planned.name}[{place + 1}]" for place in range(math.prod(self.shape))]

    def to_json(self) -> dict[str, Any]:
        """What was fitted."""
        return {"shape": list(self.shape), "size": self.size}

    @classmethod
    def from_json(cls, planned: PlannedColumn, document: Document) -> FittedTokens:
        """The opposite of ``to_json``; raises ``InvalidData``."""
        return cls(planned, document.shape("shape"), document.whole("size", 1, 100_000_000))


FittedColumn = FittedNumber | FittedMoment | FittedCategories | FittedArray | FittedText | FittedTokens
