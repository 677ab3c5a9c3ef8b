"""What every evaluation gives: rows of one metric each, as they are kept in relations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from delc.server.errors import InvalidData, InvalidParameter

Array: TypeAlias = NDArray[np.floating]
Check: TypeAlias = Callable[[], None]
Interval: TypeAlias = tuple[float, float] | None

ROWS_AT_ONCE = 65_536
"""Rows that are looked at between two polls for a cancel, and that temporary arrays are made for."""


@dataclass(frozen=True)
class MetricRow:
    """One value. ``label`` is the class, label or output it is of; None: all of them together.

    ``low`` and ``high`` bound the value with the confidence that was asked for; None where no interval is known.
    ``value`` is None where the metric is not defined on these rows, such as the recall of a label that no row has.
    ``predicted`` is set in the cells of a confusion matrix alone: ``label`` is then the actual label (None: one never
    seen in training), ``predicted`` the predicted one.
    """

    metric: str
    label: str | None
    value: float | None
    low: float | None = None
    high: float | None = None
    predicted: str | None = None


def metric_row(metric: str, label: str | None, value: float | None, interval: Interval = None) -> MetricRow:
    """A row from a value and its interval; an interval that rounding put beside its value is widened to hold it."""
    if value is None or interval is None:
        return MetricRow(metric, label, value)
    return MetricRow(metric, label, value, min(interval[0], value), max(interval[1], value))


def do_nothing() -> None:
    """The check of callers that cannot be cancelled."""


def check_confidence(confidence: float) -> None:
    """Raises InvalidParameter unless 0 < ``confidence`` < 1."""
    if not 0 < confidence < 1:
        raise InvalidParameter(f"confidence is {confidence:g}; it must be between 0 and 1, such as 0.95")


def check_values(values: Array, what: str, check: Check) -> None:
    """Raises InvalidData when ``values`` (rows, …) has no rows, or one that is not finite (rows count from 1)."""
    if values.shape[0] == 0:
        raise InvalidData("there are no rows to evaluate", hint="Check the data set and its split, or the query.")
    for start in range(0, values.shape[0], ROWS_AT_ONCE):
        check()
        part = np.isfinite(values[start : start + ROWS_AT_ONCE])
        if not part.all():
            row = start + int(np.argwhere(~part)[0][0])
            raise InvalidData(f"a {what} of row {row + 1} is not a finite number")
