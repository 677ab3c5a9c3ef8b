"""Fitting the target: one pass over the training rows finds the labels, or the outputs' scales, and settles the task
where the types left it open.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np

from delc.features.dictionaries import CodeTable, Intern
from delc.features.fitted_target import Classification, FittedTarget, Multilabel, Regression
from delc.features.label_order import sorted_labels
from delc.features.layout import RowLayout, Slot
from delc.features.missing import refuse_in_target
from delc.features.moments import RunningMoments
from delc.features.numbered import Labels, places
from delc.features.scaling import center_and_scale, frozen
from delc.features.target_encoding import (
    BOOLEAN_LABELS,
    label_names,
    refuse_null_codes,
    refuse_other_than_flags,
    target_numbers,
)
from delc.features.target_plan import INTEGERS, NAMES, NUMBERS, TEXTS, TargetPlan
from delc.features.types import Family, family
from delc.server.batches import PackedBatch
from delc.server.errors import InvalidData, LimitExceeded

MOST_INTEGER_CLASSES = 50
"""An integer target with at most so many different values is classified unless told otherwise."""

MOST_CLASSES = 65_536
"""More classes, or labels, than this are taken for a mistake."""


class TargetFitter:
    """Fits the target of a plan on the batches of one read."""

    def __init__(self, plan: TargetPlan, layout: RowLayout) -> None:
        self._plan = plan
        self._rows = 0
        made: dict[str, type[_Fitter]] = {
            INTEGERS: _IntegersFitter,
            TEXTS: _TextsFitter,
            NUMBERS: _NumbersFitter,
            NAMES: _NamesFitter,
        }
        self._fitter = made[plan.reading](plan, layout.target)

    def update(self, batch: PackedBatch) -> None:
        """Learn from a batch. Raises ``InvalidData`` for NULLs and for values that do not fit the task."""
        if batch.rows:
            self._rows += batch.rows
            self._fitter.update(batch)

    def finish(self) -> FittedTarget:
        """What was learned. Raises ``InvalidData`` without rows, and when there is only one class."""
        if not self._rows:
            raise InvalidData("there are no rows to train on", hint="Look at the data set's source and at the split.")
        return self._fitter.finish()


class _Fitter(Protocol):
    def __init__(self, plan: TargetPlan, slots: tuple[Slot, ...]) -> None: ...

    def update(self, batch: PackedBatch) -> None: ...

    def finish(self) -> FittedTarget: ...


class _IntegersFitter:
    """One integer or boolean column: classes, or if they turn out too many, a number to be regressed."""

    def __init__(self, plan: TargetPlan, slots: tuple[Slot, ...]) -> None:
        self._plan = plan
        self._slot = slots[0]
        self._boolean = family(plan.columns[0].type) is Family.BOOLEAN
        self._most = MOST_CLASSES if plan.task else MOST_INTEGER_CLASSES
        self._counts: Counter[int] | None = Counter()
        self._moments = RunningMoments(1)

    def update(self, batch: PackedBatch) -> None:
        refuse_in_target(batch, [self._slot])
        numbers = batch.groups[self._slot.group][:, self._slot.offset]
        if self._plan.task is None:
            self._moments.update(numbers[:, None], False)
        if self._counts is None:
            return
        values, counts = np.unique(numbers, return_counts=True)
        self._counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        if len(self._counts) > self._most:
            if self._plan.task:
                raise _too_many(self._slot, len(self._counts))
            self._counts = None

    def finish(self) -> FittedTarget:
        name, reason = self._slot.name, self._plan.reason
        if self._counts is None:
            center, scale = center_and_scale(self._moments, "standard", [name])
            reason += f" with more than {MOST_INTEGER_CLASSES} different values"
            return Regression(self._plan.columns, NUMBERS, reason, (name,), frozen(center), frozen(scale))
        if self._plan.task is None:
            reason += f" with {len(self._counts)} different values, at most {MOST_INTEGER_CLASSES}"
        ranked = sorted(self._counts.items())
        labels = tuple(BOOLEAN_LABELS[value] if self._boolean else str(value) for value, _ in ranked)
        _require_classes(labels, name, sum(self._counts.values()))
        return Classification(self._plan.columns, INTEGERS, reason, labels, tuple(count for _, count in ranked))


class _TextsFitter:
    """One column of any type: its texts are the classes."""

    def __init__(self, plan: TargetPlan, slots: tuple[Slot, ...]) -> None:
        self._plan = plan
        self._slot = slots[0]
        self._intern = Intern()
        self._table = CodeTable(self._intern, -1)
        self._counts = np.zeros(0, dtype=np.int64)

    def update(self, batch: PackedBatch) -> None:
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        refuse_null_codes(batch, self._slot, codes)
        numbers = self._table.take(codes, batch.dictionaries.get(self._slot.column, []))
        if len(self._intern.numbers) > MOST_CLASSES:
            raise _too_many(self._slot, len(self._intern.numbers))
        counts = np.bincount(numbers, minlength=len(self._intern.numbers))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def finish(self) -> FittedTarget:
        counts = {
            label: int(count) for label, count in zip(self._intern.numbers, self._counts, strict=True) if count > 0
        }
        labels = tuple(sorted_labels(counts))
        _require_classes(labels, self._slot.name, sum(counts.values()))
        ordered = tuple(counts[label] for label in labels)
        return Classification(self._plan.columns, TEXTS, self._plan.reason, labels, ordered)


class _NumbersFitter:
    """Several columns, or one, of numbers or of arrays of them: outputs to be regressed, or labels if all are 0 and
    1.
    """

    def __init__(self, plan: TargetPlan, slots: tuple[Slot, ...]) -> None:
        self._plan = plan
        self._slots = slots
        self._moments: RunningMoments | None = None
        self._only_flags = True
        self._rows = 0

    def update(self, batch: PackedBatch) -> None:
        values = target_numbers(batch, self._slots)
        if self._moments is None:
            if not 0 < values.shape[1] <= MOST_CLASSES:
                raise InvalidData(
                    f'the arrays of target column "{self._slots[0].name}" have {values.shape[1]} elements'
                )
            self._moments = RunningMoments(values.shape[1])
        if self._plan.task == "multilabel":
            refuse_other_than_flags(batch, self._slots, values)
        elif self._plan.task is None and self._only_flags:
            self._only_flags = bool(((values == 0) | (values == 1)).all())
        self._moments.update(values, False)
        self._rows += batch.rows

    def finish(self) -> FittedTarget:
        assert self._moments is not None
        names = self._output_names(len(self._moments.mean))
        task, reason = self._plan.task, self._plan.reason
        if task is None:
            task = "multilabel" if self._only_flags else "regression"
            reason += f", and its values are {'all' if self._only_flags else 'not only'} 0 and 1"
        if task == "multilabel":
            counts = tuple(round(mean * self._rows) for mean in self._moments.mean.tolist())
            return Multilabel(self._plan.columns, NUMBERS, reason, names, counts, self._rows)
        center, scale = center_and_scale(self._moments, "standard", [slot.name for slot in self._slots])
        return Regression(self._plan.columns, NUMBERS, reason, names, frozen(center), frozen(scale))

    def _output_names(self, outputs: int) -> Labels:
        """The columns' names, or the places in the array."""
        return places(outputs) if self._plan.is_array else self._plan.names


class _NamesFitter:
    """One array of label names."""

    def __init__(self, plan: TargetPlan, slots: tuple[Slot, ...]) -> None:
        self._plan = plan
        self._slot = slots[0]
        self._sets: list[frozenset[str]] = []
        self._names: set[str] = set()
        self._table = CodeTable(self._read, -1)
        self._counts: Counter[str] = Counter()
        self._rows = 0

    def _read(self, text: str) -> int:
        names = frozenset(label_names(text, self._slot))
        self._sets.append(names)
        self._names |= names
        if len(self._names) > MOST_CLASSES:
            raise _too_many(self._slot, len(self._names))
        return len(self._sets) - 1

    def update(self, batch: PackedBatch) -> None:
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        refuse_null_codes(batch, self._slot, codes)
        numbers, counts = np.unique(
            self._table.take(codes, batch.dictionaries.get(self._slot.column, [])), return_counts=True
        )
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            for name in self._sets[number]:
                self._counts[name] += count
        self._rows += batch.rows

    def finish(self) -> FittedTarget:
        labels = tuple(sorted_labels(self._counts))
        if not labels:
            raise InvalidData(
                f'no row of target column "{self._slot.name}" has a label', detail="All arrays are empty."
            )
        counts = tuple(self._counts[label] for label in labels)
        return Multilabel(self._plan.columns, NAMES, self._plan.reason, labels, counts, self._rows)


def _require_classes(labels: tuple[str, ...], name: str, rows: int) -> None:
    if len(labels) < 2:
        raise InvalidData(
            f'target column "{name}" has only one class among the {rows} training rows: "{labels[0]}"',
            detail="There is nothing to tell apart.",
            hint="Train on rows of at least two classes; look at the data set's query and at the split.",
        )


def _too_many(slot: Slot, found: int) -> LimitExceeded:
    return LimitExceeded(
        f'target column "{slot.name}" has more than {MOST_CLASSES} classes',
        detail=f"{found} different labels were met so far.",
        hint="Is this column a key or a free text? Name another target, or use task => 'regression' for numbers.",
    )
