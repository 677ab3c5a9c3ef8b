"""What was learned from the training rows about the target: labels, or the outputs' scales. Stored with the model's
version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from delc.features.array_text import format_array
from delc.features.layout import RowLayout
from delc.features.moments import Floats
from delc.features.numbered import Labels, labels_json, once
from delc.features.stored import FORMAT_VERSION, Document, floats
from delc.features.target_encoding import (
    BOOLEAN_LABELS,
    ClassEncoder,
    FlagEncoder,
    NameEncoder,
    NumberEncoder,
    TargetEncoder,
)
from delc.features.target_plan import INTEGERS, NAMES, NUMBERS, READINGS, TASKS, TEXTS, packing
from delc.features.types import Family, family
from delc.server.batches import PackKind, QueryColumn

IMPORTED = "the model was imported"
"""The reason of a target that no training fitted."""

_COMMON = ("version", "task", "columns", "reading", "reason")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True)
class _Target:
    """What all targets have: their columns as they were when the model was made, how they are read, and what decided
    the task.
    """

    columns: tuple[QueryColumn, ...]
    reading: str
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the target's columns."""
        return tuple(column.name for column in self.columns)

    def packing(self, columns: Sequence[QueryColumn]) -> tuple[PackKind, str]:
        """See ``delc.features.layout.TargetColumns``."""
        return packing(self.columns, columns, self.reading)

    def _json(self, task: str) -> dict[str, Any]:
        columns = [{"name": column.name, "type": column.type} for column in self.columns]
        return {
            "version": FORMAT_VERSION,
            "task": task,
            "columns": columns,
            "reading": self.reading,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Classification(_Target):
    """One of several classes. ``labels`` are the classes in text form, in the order of their codes; ``counts`` how
    often training saw each.
    """

    labels: Labels
    counts: tuple[int, ...]
    task: ClassVar = "classification"

    @property
    def outputs(self) -> int:
        """The number of classes."""
        return len(self.labels)

    def encoder(self, layout: RowLayout) -> TargetEncoder:
        """What turns a read's batches into int64 codes (rows,); a label that training did not see is -1."""
        return ClassEncoder(self.labels, family(self.columns[0].type) is Family.BOOLEAN, layout)

    def label(self, code: int) -> str:
        """The label of a code."""
        return self.labels[code]

    def balanced_weights(self) -> list[float]:
        """Weights that make all classes count the same: rows / (classes · rows of the class), as in scikit-learn's
        "balanced".
        """
        total = sum(self.counts)
        return [total / (len(self.counts) * count) for count in self.counts]

    def to_json(self) -> dict[str, Any]:
        """A JSON document for ``target_from_json``."""
        return {**self._json(self.task), "labels": labels_json(self.labels), "counts": once(list(self.counts))}


@dataclass(frozen=True)
class Multilabel(_Target):
    """Any number of labels at once. ``counts``: how many of the training's ``rows`` had each label."""

    labels: Labels
    counts: tuple[int, ...]
    rows: int
    task: ClassVar = "multilabel"

    @property
    def outputs(self) -> int:
        """The number of labels."""
        return len(self.labels)

    def encoder(self, layout: RowLayout) -> TargetEncoder:
        """What turns a read's batches into float32 (rows, labels) of 0 and 1.

        A label name that training did not see has no output to be compared with; the encoder counts those in
        ``unseen``.
        """
        if self.reading == NAMES:
            return NameEncoder(self.labels, layout)
        return FlagEncoder(len(self.labels), layout)

    def decode(self, present: Iterable[Any]) -> str:
        """The labels of a row, one truth value for each label, as the text of a PostgreSQL array."""
        return format_array(label for label, there in zip(self.labels, present, strict=True) if there)

    def balanced_weights(self) -> list[float]:
        """For each label, how much a row that has it must weigh to balance those that have not (1 where all or none
        have it).
        """
        return [(self.rows - count) / count if 0 < count < self.rows else 1.0 for count in self.counts]

    def to_json(self) -> dict[str, Any]:
        """A JSON document for ``target_from_json``."""
        return {
            **self._json(self.task),
            "labels": labels_json(self.labels),
            "counts": once(list(self.counts)),
            "rows": self.rows,
        }


@dataclass(frozen=True, eq=False)
class Regression(_Target):
    """One or several numbers. A network learns (value - center) / scale of each output."""

    labels: Labels
    center: Floats
    scale: Floats
    task: ClassVar = "regression"

    @property
    def outputs(self) -> int:
        """The number of outputs, which ``labels`` names."""
        return len(self.labels)

    def encoder(self, layout: RowLayout) -> TargetEncoder:
        """What turns a read's batches into float32 (rows, outputs), standardised."""
        return NumberEncoder(self.center, self.scale, layout)

    def unscale(self, outputs: npt.ArrayLike) -> Floats:
        """A network's outputs, (rows, outputs), as numbers of the target's own scale, float64."""
        return np.asarray(outputs, dtype=np.float64) * self.scale + self.center

    def to_json(self) -> dict[str, Any]:
        """A JSON document for ``target_from_json``."""
        return {
            **self._json(self.task),
            "labels": labels_json(self.labels),
            "center": once(floats(self.center)),
            "scale": once(floats(self.scale)),
        }


FittedTarget = Classification | Multilabel | Regression

_KEYS = {
    "classification": ("labels", "counts"),
    "multilabel": ("labels", "counts", "rows"),
    "regression": ("labels", "center", "scale"),
}


def target_from_json(value: Any) -> FittedTarget:
    """A target from the document that its ``to_json`` wrote. Raises ``InvalidData`` when it could not have."""
    task = value.get("task") if isinstance(value, dict) else None
    keys = _KEYS.get(task, ()) if isinstance(task, str) else ()
    document = Document(value, (*_COMMON, *keys), "target")
    document.version()
    document.choice("task", TASKS)
    columns = tuple(_column(column) for column in document.items("columns"))
    reading = document.choice("reading", READINGS)
    labels = document.labels("labels")
    if not columns or not labels:
        document.refuse("has no columns or no labels")
    common = (columns, reading, document.text("reason"))
    if task == "classification":
        _require(document, reading in (INTEGERS, TEXTS) and len(columns) == 1)
        counts = document.counts("counts", len(labels))
        _require(document, 0 not in counts and (reading == TEXTS or _are_whole(labels, columns[0])))
        return Classification(*common, labels, counts)
    if task == "multilabel":
        _require(document, reading in (NUMBERS, NAMES))
        rows = document.whole("rows", 1, 2**62)
        return Multilabel(*common, labels, document.counts("counts", len(labels)), rows)
    _require(document, reading == NUMBERS)
    center, scale = document.numbers("center", len(labels)), document.numbers("scale", len(labels), positive=True)
    return Regression(*common, labels, center, scale)


def _are_whole(labels: Labels, column: QueryColumn) -> bool:
    """Whether these are labels of an integer or boolean column, which are compared as numbers."""
    if family(column.type) is Family.BOOLEAN:
        return set(labels) <= set(BOOLEAN_LABELS)
    return all(_WHOLE_NUMBER.fullmatch(label) and abs(int(label)) <= 2**63 - 1 for label in labels)


def _require(document: Document, true: bool) -> None:
    if not true:
        document.refuse("contradicts itself: its columns, reading and counts do not fit its task")


def _column(value: Any) -> QueryColumn:
    document = Document(value, ("name", "type"), "target column")
    return QueryColumn(document.text("name"), document.text("type"))
