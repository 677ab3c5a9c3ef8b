"""Fitting features: one pass over the training rows learns means, scales, vocabularies and shapes.

A fitter per column (numbers and moments share one) looks at each batch; what it keeps does not grow with the number
of rows, only with that of the different texts and words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from delc.features.calendar import default_parts, linear_part
from delc.features.columns import PlannedColumn
from delc.features.dictionaries import CodeTable, Intern
from delc.features.encoding import token_out_of_range
from delc.features.fitted import FittedFeatures, check_inputs
from delc.features.fitted_columns import (
    LINEAR_PARTS,
    FittedArray,
    FittedCategories,
    FittedColumn,
    FittedMoment,
    FittedNumber,
    FittedText,
    FittedTokens,
)
from delc.features.label_order import sorted_labels
from delc.features.layout import RowLayout, Slot
from delc.features.missing import MissingValues, missing_values
from delc.features.moments import Floats, RunningMoments
from delc.features.parts import check_shape
from delc.features.plan import FeaturePlan
from delc.features.scaling import center_and_scale, frozen
from delc.features.settings import (
    ArraySettings,
    BooleanSettings,
    CategoricalSettings,
    DatetimeSettings,
    ImageSettings,
    NumericSettings,
    TextSettings,
    TokensSettings,
)
from delc.features.types import Family
from delc.features.words import words
from delc.server.batches import PackedBatch
from delc.server.errors import InvalidData, InvalidParameter, LimitExceeded

MOST_VALUES_COUNTED = 1_000_000
"""The policy most_frequent counts at most this many different numbers."""

ONE_HOT_CATEGORIES, EMBEDDED_CATEGORIES = 1_000, 100_000
"""How many values of a category get a place of their own unless told otherwise."""

LONGEST_DEFAULT_TEXT = 256
"""Words of a text that are looked at unless told otherwise."""

BRIGHTEST = 255.0
"""The highest value of an image's element."""


class FeatureFitter:
    """Fits the features of a plan on the batches of one read."""

    def __init__(self, plan: FeaturePlan, layout: RowLayout) -> None:
        check_inputs(plan.columns)
        self._plan = plan
        self._missing = MissingValues(plan.columns, layout, fitting=True)
        self._rows = 0
        self._fitters: list[_Fitter] = []
        numbers = [column for column in plan.columns if _is_number(column)]
        if numbers:
            self._fitters.append(_NumbersFitter(numbers, [layout.slots[column.name] for column in numbers]))
        others = (column for column in plan.columns if not _is_number(column))
        self._fitters += [_fitter(column, layout.slots[column.name]) for column in others]

    def update(self, batch: PackedBatch) -> None:
        """Learn from a batch. Raises ``InvalidData`` for missing values that no policy covers."""
        missing = self._missing.check(batch) if batch.problems else False
        if batch.rows:
            self._rows += batch.rows
            for fitter in self._fitters:
                fitter.update(batch, missing)

    def finish(self) -> FittedFeatures:
        """What was learned. Raises ``InvalidData`` when there were no rows, or none with a value of a column that
        needs one.
        """
        if not self._rows:
            raise InvalidData("there are no rows to train on", hint="Look at the data set's source and at the split.")
        fitted = {column.planned.name: column for fitter in self._fitters for column in fitter.finish()}
        return FittedFeatures(tuple(fitted[column.name] for column in self._plan.columns))


class _Fitter(Protocol):
    def update(self, batch: PackedBatch, missing: bool) -> None: ...

    def finish(self) -> Sequence[FittedColumn]: ...


def _is_number(column: PlannedColumn) -> bool:
    return column.kind in ("numeric", "boolean")


def _fitter(column: PlannedColumn, slot: Slot) -> _Fitter:
    settings = column.settings
    if isinstance(settings, DatetimeSettings):
        return _MomentFitter(column, settings, slot)
    if isinstance(settings, CategoricalSettings):
        return _CategoriesFitter(column, settings, slot)
    if isinstance(settings, TextSettings):
        return _TextFitter(column, settings, slot)
    if isinstance(settings, TokensSettings):
        return _TokensFitter(column, settings, slot)
    assert isinstance(settings, ArraySettings | ImageSettings)
    return _ArrayFitter(column, settings, slot)


class _NumbersFitter:
    """All numbers and booleans of a plan."""

    def __init__(self, columns: Sequence[PlannedColumn], slots: Sequence[Slot]) -> None:
        self._columns = columns
        self._group = slots[0].group
        self._offsets = np.array([slot.offset for slot in slots])
        self._moments = RunningMoments(len(columns))
        self._values = {
            place: _ValueCounts(column)
            for place, column in enumerate(columns)
            if column.settings.missing == "most_frequent"
        }

    def update(self, batch: PackedBatch, missing: bool) -> None:
        values = batch.groups[self._group][:, self._offsets]
        self._moments.update(values, missing)
        for place, counts in self._values.items():
            counts.update(values[:, place])

    def finish(self) -> Sequence[FittedColumn]:
        ways: dict[str, list[int]] = {}
        for place, column in enumerate(self._columns):
            settings = column.settings
            assert isinstance(settings, NumericSettings | BooleanSettings)
            ways.setdefault(settings.standardize, []).append(place)
        return [fitted for way, places in ways.items() for fitted in self._fitted(way, places)]

    def _fitted(self, standardize: str, places: list[int]) -> list[FittedNumber]:
        columns = [self._columns[place] for place in places]
        names = [column.name for column in columns]
        center, scale = center_and_scale(self._moments.at(places), standardize, names)
        fills = [_fill(self._columns[place], self._moments, place, self._values.get(place)) for place in places]
        return [FittedNumber(*each) for each in zip(columns, center.tolist(), scale.tolist(), fills, strict=True)]


class _MomentFitter:
    """One date or time."""

    def __init__(self, column: PlannedColumn, settings: DatetimeSettings, slot: Slot) -> None:
        self._column = column
        self._settings = settings
        self._slot = slot
        is_date, is_time = column.family is Family.DATE, column.family is Family.TIME
        self._parts = settings.parts or default_parts(is_date, is_time)
        self._linear = [part for part in self._parts if part in LINEAR_PARTS]
        self._moments = RunningMoments(len(self._linear))
        self._seconds = RunningMoments(1)
        self._values = _ValueCounts(column) if settings.missing == "most_frequent" else None

    def update(self, batch: PackedBatch, missing: bool) -> None:
        seconds: Floats = batch.groups[self._slot.group][:, self._slot.offset]
        if missing:
            seconds = seconds[~np.isnan(seconds)]
        if not len(seconds):
            return
        self._seconds.update(seconds[:, None], False)
        if self._linear:
            self._moments.update(np.stack([linear_part(part, seconds) for part in self._linear], axis=1), False)
        if self._values:
            self._values.update(seconds)

    def finish(self) -> Sequence[FittedColumn]:
        center, scale = center_and_scale(self._moments, self._settings.standardize, [self._column.name])
        fill = _fill(self._column, self._seconds, 0, self._values)
        return [FittedMoment(self._column, self._parts, frozen(center), frozen(scale), fill)]


class _CategoriesFitter:
    """One category."""

    def __init__(self, column: PlannedColumn, settings: CategoricalSettings, slot: Slot) -> None:
        self._column = column
        self._settings = settings
        self._slot = slot
        self._intern = Intern()
        self._table = CodeTable(self._intern, -1)
        self._counts = np.zeros(0, dtype=np.int64)

    def update(self, batch: PackedBatch, missing: bool) -> None:
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        numbers = self._table.take(codes, batch.dictionaries.get(self._slot.column, []))
        if self._settings.missing == "error" and numbers.min() < 0:
            nulls = np.flatnonzero(numbers < 0)
            raise missing_values(batch, self._slot, "NULL", len(nulls), int(nulls[0]), self._column, True)
        counts = np.bincount(numbers + 1, minlength=len(self._intern.numbers) + 1)[1:]
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def finish(self) -> Sequence[FittedColumn]:
        settings = self._settings
        embedded = settings.encoding == "embedding"
        ranked = sorted(
            (-int(count), text) for text, count in zip(self._intern.numbers, self._counts, strict=True) if count > 0
        )
        most = settings.max_categories or (EMBEDDED_CATEGORIES if embedded else ONE_HOT_CATEGORIES)
        kept = [text for count, text in ranked[:most] if -count >= settings.min_count]
        if not kept and ranked:
            raise InvalidParameter(
                f'no value of column "{self._column.name}" occurs {settings.min_count} times',
                detail=f'The most frequent, "{ranked[0][1]}", occurs {-ranked[0][0]} times.',
                hint="Choose a smaller min_count.",
            )
        if not kept and settings.missing == "most_frequent":
            raise _only_missing(self._column)
        fill = kept[0] if settings.missing == "most_frequent" else None
        unknown = embedded or len(kept) < len(ranked)
        return [FittedCategories(self._column, tuple(sorted_labels(kept)), unknown, fill)]


class _ArrayFitter:
    """One array or image."""

    def __init__(self, column: PlannedColumn, settings: ArraySettings | ImageSettings, slot: Slot) -> None:
        self._column = column
        self._settings = settings
        self._slot = slot
        self._shape: tuple[int, ...] = ()
        self._moments: RunningMoments | None = None

    def update(self, batch: PackedBatch, missing: bool) -> None:
        shape = batch.shapes[self._slot.group]
        if not self._shape:
            self._shape = self._checked_shape(shape)
        elif shape != self._shape:
            check_shape(batch, self._slot, shape, self._shape)
        if self._settings.standardize == "none" and self._settings.missing != "mean":
            return
        if self._moments is None:
            self._moments = RunningMoments(math.prod(self._shape))
        self._moments.update(batch.groups[self._slot.group], missing)

    def _checked_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        told = self._settings.shape or shape
        elements = math.prod(shape)
        if elements == 0:
            raise InvalidData(f'the arrays of column "{self._column.name}" are empty')
        if math.prod(told) != elements:
            raise InvalidParameter(
                f'column "{self._column.name}" has {elements} elements, which do not fill the shape {list(told)}',
                detail=f"That shape has {math.prod(told)} elements.",
            )
        return told

    def finish(self) -> Sequence[FittedColumn]:
        image = isinstance(self._settings, ImageSettings)
        center, scale = np.zeros(1), np.full(1, BRIGHTEST if image else 1.0)
        if self._settings.standardize != "none":
            assert self._moments is not None
            pooled = self._moments.pooled(self._pools())
            center, scale = center_and_scale(
                pooled, self._settings.standardize, [self._column.name], BRIGHTEST if image else 1.0
            )
        return [FittedArray(self._column, self._shape, frozen(center), frozen(scale), self._fill())]

    def _pools(self) -> int:
        per = self._settings.per or ("channel" if len(self._shape) > 2 else "element")
        if per == "all":
            return 1
        return self._shape[0] if per == "channel" else math.prod(self._shape)

    def _fill(self) -> Floats | None:
        if self._settings.missing == "zero":
            return frozen(np.zeros(1))
        if self._settings.missing != "mean":
            return None
        assert self._moments is not None
        if not self._moments.count.all():
            raise _only_missing(self._column)
        return frozen(self._moments.mean)


class _TextFitter:
    """One text."""

    def __init__(self, column: PlannedColumn, settings: TextSettings, slot: Slot) -> None:
        self._column = column
        self._settings = settings
        self._slot = slot
        self._words: Counter[str] = Counter()
        self._longest = 1
        self._table = CodeTable(self._read, -1)

    def _read(self, text: str) -> int:
        found = words(text)
        self._words.update(found)
        self._longest = max(self._longest, len(found))
        return 0

    def update(self, batch: PackedBatch, missing: bool) -> None:
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        seen = self._table.take(codes, batch.dictionaries.get(self._slot.column, []))
        if self._settings.missing == "error" and seen.min() < 0:
            nulls = np.flatnonzero(seen < 0)
            raise missing_values(batch, self._slot, "NULL", len(nulls), int(nulls[0]), self._column, True)

    def finish(self) -> Sequence[FittedColumn]:
        ranked = sorted((-count, word) for word, count in self._words.items() if count >= self._settings.min_count)
        vocabulary = tuple(word for _, word in ranked[: self._settings.max_size])
        length = self._settings.length or min(self._longest, LONGEST_DEFAULT_TEXT)
        return [FittedText(self._column, vocabulary, length)]


class _TokensFitter:
    """One array of token ids."""

    def __init__(self, column: PlannedColumn, settings: TokensSettings, slot: Slot) -> None:
        self._column = column
        self._settings = settings
        self._slot = slot
        self._shape: tuple[int, ...] = ()
        self._highest = 0

    def update(self, batch: PackedBatch, missing: bool) -> None:
        values = batch.groups[self._slot.group]
        self._shape = self._shape or batch.shapes[self._slot.group]
        limit = self._settings.size or 100_000_000
        if not math.prod(self._shape):
            raise InvalidData(f'the arrays of column "{self._column.name}" are empty')
        if values.min() < 0 or values.max() >= limit:
            raise token_out_of_range(batch, self._slot, limit)
        self._highest = max(self._highest, int(values.max()))

    def finish(self) -> Sequence[FittedColumn]:
        return [FittedTokens(self._column, self._shape, self._settings.size or self._highest + 1)]


class _ValueCounts:
    """How often each number of a column occurs."""

    def __init__(self, column: PlannedColumn) -> None:
        self._column = column
        self._counts: Counter[float] = Counter()

    def update(self, values: npt.NDArray[Any]) -> None:
        numbers, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        self._counts.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        if len(self._counts) > MOST_VALUES_COUNTED:
            raise LimitExceeded(
                f'column "{self._column.name}" has more than {MOST_VALUES_COUNTED} different values',
                hint=f'Choose "mean" for what is missing: {{"{self._column.name}": {{"missing": "mean"}}}}.',
            )

    def most_frequent(self) -> float:
        """The most frequent number; of several, the smallest."""
        if not self._counts:
            raise _only_missing(self._column)
        return min(self._counts.items(), key=lambda item: (-item[1], item[0]))[0]


def _fill(column: PlannedColumn, moments: RunningMoments, place: int, values: _ValueCounts | None) -> float | None:
    policy = column.settings.missing
    if policy == "error":
        return None
    if policy == "zero":
        return 0.0
    if values is not None:
        return values.most_frequent()
    if not moments.count[place]:
        raise _only_missing(column)
    return float(moments.mean[place])


def _only_missing(column: PlannedColumn) -> InvalidData:
    return InvalidData(
        f'column "{column.name}" has only NULLs among the training rows',
        detail=f'So there is no value for the policy "{column.settings.missing}".',
        hint="Leave the column out of the data set, or choose another policy.",
    )
