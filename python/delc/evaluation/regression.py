"""Metrics of a regression, for each output and for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.intervals import mean_interval, median_interval, positive_interval
from delc.evaluation.rows import (
    Array,
    Check,
    Interval,
    MetricRow,
    check_confidence,
    check_values,
    do_nothing,
    metric_row,
)
from delc.server.errors import InvalidData


@dataclass(frozen=True)
class _Output:
    """One output: its errors (rows,), and the values that need an influence of each row (rows,) for the mean."""

    distance: NDArray[np.float64]
    rmse: float
    rmse_influence: NDArray[np.float64]
    r2: float | None
    r2_influence: NDArray[np.float64]


def regression_metrics(
    predictions: Array,
    targets: Array,
    outputs: Sequence[str] = (),
    confidence: float = 0.95,
    check: Check = do_nothing,
) -> list[MetricRow]:
    """All metrics of a regression, with intervals.

    ``predictions`` and ``targets`` are (rows, outputs), or (rows,) for one output, in the target's own units;
    ``outputs`` are their names. ``check`` is called between steps and may raise.

    Rows given: rows; r2, mae, rmse, median_absolute_error and max_error without a label, and by output where there are
    several: then those without a label are the means over outputs (max_error: the greatest). R² is not defined for an
    output that does not vary, and then does not count in the mean.

    Raises InvalidData for no rows, and for values that are not finite.
    """
    check_confidence(confidence)
    check_values(predictions, "prediction", check)
    check_values(targets, "target", check)
    if predictions.shape != targets.shape:
        raise InvalidData(f"targets have shape {targets.shape}, but predictions have shape {predictions.shape}")
    rows = len(targets)
    predictions, targets = predictions.reshape(rows, -1), targets.reshape(rows, -1)
    if predictions.shape[1] > 1 and len(outputs) != predictions.shape[1]:
        raise InvalidData(f"there are {predictions.shape[1]} outputs, but {len(outputs)} names for them")
    found: list[_Output] = []
    for place in range(predictions.shape[1]):
        check()
        found.append(_output(predictions[:, place], targets[:, place]))
    head = metric_row("rows", None, float(rows))
    if len(found) == 1:
        return [head, *_output_rows(found[0], None, confidence)]
    by_output = [row for one, name in zip(found, outputs, strict=True) for row in _output_rows(one, name, confidence)]
    return [head, *_mean_rows(found, by_output, confidence), *by_output]


def _output(predicted: Array, actual: Array) -> _Output:
    """Influences by the delta method: of the root of a mean, and of one minus a ratio of means."""
    actual = actual.astype(np.float64)
    residual = actual - predicted.astype(np.float64)
    square = np.square(residual)
    mean_square = float(square.mean())
    rmse = mean_square**0.5
    deviation = np.square(actual - actual.mean())
    variance = float(deviation.mean())
    varies = len(actual) > 1 and bool(actual.max() > actual.min()) and variance > 0
    ratio = mean_square / variance if varies else 0.0
    return _Output(
        distance=np.abs(residual),
        rmse=rmse,
        rmse_influence=(square - mean_square) / (2 * rmse) if rmse > 0 else np.zeros_like(square),
        r2=1 - ratio if varies else None,
        r2_influence=(ratio * deviation - square) / variance if varies else np.zeros_like(square),
    )


def _output_rows(one: _Output, label: str | None, confidence: float) -> list[MetricRow]:
    ordered = np.sort(one.distance)
    return [
        metric_row("r2", label, one.r2, _r2_interval(one.r2, one.r2_influence, confidence)),
        metric_row("mae", label, float(one.distance.mean()), _at_least_0(mean_interval(one.distance, confidence))),
        metric_row("rmse", label, one.rmse, positive_interval(one.rmse, one.rmse_influence, confidence)),
        metric_row("median_absolute_error", label, float(np.median(ordered)), median_interval(ordered, confidence)),
        metric_row("max_error", label, float(ordered[-1])),
    ]


def _mean_rows(found: Sequence[_Output], by_output: Sequence[MetricRow], confidence: float) -> list[MetricRow]:
    """Means over outputs; their intervals rest on the mean influence of each row, and so know that outputs of one row
    hang together.
    """
    distance = np.mean([one.distance for one in found], axis=0)
    rmse = float(np.mean([one.rmse for one in found]))
    rmse_influence = np.mean([one.rmse_influence for one in found], axis=0)
    defined = [one for one in found if one.r2 is not None]
    r2 = float(np.mean([one.r2 for one in defined])) if defined else None
    r2_influence = np.mean([one.r2_influence for one in defined or found], axis=0)
    medians = [row.value for row in by_output if row.metric == "median_absolute_error" and row.value is not None]
    return [
        metric_row("r2", None, r2, _r2_interval(r2, r2_influence, confidence)),
        metric_row("mae", None, float(distance.mean()), _at_least_0(mean_interval(distance, confidence))),
        metric_row("rmse", None, rmse, positive_interval(rmse, rmse_influence, confidence)),
        metric_row("median_absolute_error", None, float(np.mean(medians))),
        metric_row("max_error", None, max(float(one.distance.max()) for one in found)),
    ]


def _r2_interval(value: float | None, influence: NDArray[np.float64], confidence: float) -> Interval:
    """By the delta method on ln(1 − R²), which has no upper bound to run into."""
    if value is None:
        return None
    rest = positive_interval(1 - value, influence, confidence)
    return rest and (1 - rest[1], 1 - rest[0])


def _at_least_0(interval: Interval) -> Interval:
    return interval and (max(interval[0], 0.0), interval[1])
