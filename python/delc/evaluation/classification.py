"""Metrics of a classification.

Rows whose label was never seen in training (code −1) are wrong whatever is predicted. They form one more class that
is never predicted, which counts in the means over classes; only the log loss leaves them out, as it would be infinite.

Means over classes ("macro": precision, recall, F1 without a label) are over the classes that some row has or is
predicted to have, and take an undefined value as 0, as scikit-learn does by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.calibration import calibration_error
from delc.evaluation.intervals import f1_interval, mean_of_shares, positive_interval, wilson
from delc.evaluation.ranking import area_rows
from delc.evaluation.rows import (
    ROWS_AT_ONCE,
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

TOP = 5

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class _Counts:
    """The confusion matrix of (labels + 1) classes, the last of which is the unseen labels, by its cells with rows."""

    actual: Codes
    predicted: Codes
    rows: Codes
    right: Codes
    """Rows of each class that are predicted as such (classes,)."""
    support: Codes
    """Rows of each class (classes,)."""
    guesses: Codes
    """Rows predicted as each class (classes,)."""


def classification_metrics(
    probabilities: Array,
    targets: Codes,
    labels: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
    check: Check = do_nothing,
) -> list[MetricRow]:
    """All metrics of a classification, with intervals.

    ``probabilities`` (rows, labels) are what the model gave, ``targets`` (rows,) the codes of the actual labels, −1
    for a label never seen in training; the predicted label is the one of the greatest probability, the first of equal
    ones. ``check`` is called between steps of well under a second and may raise. ``seed`` is that of the resampling
    behind the calibration error's interval.

    Rows given: rows, unseen_labels (if any), accuracy, balanced_accuracy, top_5_accuracy (more than 5 labels),
    log_loss, calibration_error; precision, recall, f1, auc (one label against the rest) for all and by label; support
    by label; confusion by actual and predicted label, cells without rows left out.

    Raises InvalidData for no rows, and for probabilities that are not finite.
    """
    check_confidence(confidence)
    check_values(probabilities, "probability", check)
    _check_shapes(probabilities, targets, labels)
    rows = len(targets)
    predicted, certainty = _greatest(probabilities, check)
    counts = _count(predicted, targets, len(labels))
    right = int(counts.right.sum())
    unseen = int(counts.support[-1])
    check()
    return [
        metric_row("rows", None, float(rows)),
        *([metric_row("unseen_labels", None, float(unseen))] if unseen else []),
        metric_row("accuracy", None, right / rows, wilson(right, rows, confidence)),
        _balanced_accuracy(counts, confidence),
        *_top_accuracy(probabilities, targets, confidence, check),
        _log_loss(probabilities, targets, confidence),
        calibration_error(certainty, predicted == targets, confidence, seed),
        *_label_metrics(counts, labels, confidence),
        *area_rows(
            ((label, probabilities[:, code], targets == code) for code, label in enumerate(labels)),
            rows,
            confidence,
            check,
        ),
        *_confusion(counts, labels),
    ]


def _check_shapes(probabilities: Array, targets: Codes, labels: Sequence[str]) -> None:
    if probabilities.shape != (len(targets), len(labels)):
        raise InvalidData(
            f"{len(targets)} targets of {len(labels)} labels, and probabilities of shape {probabilities.shape}"
        )
    if targets.min() < -1 or targets.max() >= len(labels):
        raise InvalidData(
            f"label codes go from {targets.min()} to {targets.max()}; they must be from -1 to {len(labels) - 1}"
        )


def _greatest(probabilities: Array, check: Check) -> tuple[Codes, NDArray[np.float64]]:
    """The predicted label's code and its probability, for each row."""
    rows = len(probabilities)
    predicted, certainty = np.empty(rows, np.int64), np.empty(rows)
    for start in range(0, rows, ROWS_AT_ONCE):
        check()
        part = slice(start, start + ROWS_AT_ONCE)
        predicted[part] = probabilities[part].argmax(1)
        certainty[part] = np.take_along_axis(probabilities[part], predicted[part, None], 1)[:, 0]
    return predicted, certainty


def _count(predicted: Codes, targets: Codes, labels: int) -> _Counts:
    classes = labels + 1
    actual = np.where(targets < 0, labels, targets).astype(np.int64)
    cells, rows = np.unique(actual * classes + predicted, return_counts=True)
    return _Counts(
        actual=cells // classes,
        predicted=cells % classes,
        rows=rows.astype(np.int64),
        right=np.bincount(actual[actual == predicted], minlength=classes),
        support=np.bincount(actual, minlength=classes),
        guesses=np.bincount(predicted, minlength=classes),
    )


def _balanced_accuracy(counts: _Counts, confidence: float) -> MetricRow:
    """The mean of the recalls of the classes that there are rows of."""
    there = np.flatnonzero(counts.support).tolist()
    recalls = [int(counts.right[code]) / int(counts.support[code]) for code in there]
    intervals = [_share_interval(counts.right, counts.support, code, confidence) for code in there]
    error = _error_of_mean(recalls, counts.support[there])
    interval = mean_of_shares(recalls, intervals, confidence, error)
    return metric_row("balanced_accuracy", None, sum(recalls) / len(recalls), interval)


def _share_interval(right: Codes, total: Codes, code: int, confidence: float) -> Interval:
    """Wilson's; None, that is no uncertainty, for the class of unseen labels, which cannot be right."""
    return None if code == len(total) - 1 else wilson(int(right[code]), int(total[code]), confidence)


def _top_accuracy(probabilities: Array, targets: Codes, confidence: float, check: Check) -> list[MetricRow]:
    """The share of rows whose label is among the five most probable; of equal ones the first count as more so."""
    rows, labels = probabilities.shape
    if labels <= TOP:
        return []
    right = 0
    for start in range(0, rows, ROWS_AT_ONCE):
        check()
        part, codes = probabilities[start : start + ROWS_AT_ONCE], targets[start : start + ROWS_AT_ONCE]
        part, codes = part[codes >= 0], codes[codes >= 0]
        own = np.take_along_axis(part, codes[:, None], 1)
        ahead = (part > own).sum(1) + ((part == own) & (np.arange(labels) < codes[:, None])).sum(1)
        right += int((ahead < TOP).sum())
    return [metric_row(f"top_{TOP}_accuracy", None, right / rows, wilson(right, rows, confidence))]


def _log_loss(probabilities: Array, targets: Codes, confidence: float) -> MetricRow:
    """The mean of −ln(probability of the actual label) over the rows with a known one.

    Probabilities are kept from 0 by the precision of their type, as scikit-learn does.
    """
    known = np.flatnonzero(targets >= 0)
    if not len(known):
        return metric_row("log_loss", None, None)
    own = probabilities[known, targets[known]]
    losses = -np.log(np.maximum(own, np.finfo(own.dtype).eps).astype(np.float64))
    value = float(losses.mean())
    return metric_row("log_loss", None, value, positive_interval(value, losses - value, confidence))


def _label_metrics(counts: _Counts, labels: Sequence[str], confidence: float) -> list[MetricRow]:
    """Precision, recall and F1: their means over classes, then by label; and the support of each label."""
    errors = counts.support + counts.guesses - 2 * counts.right
    classes = range(len(labels) + 1)
    there = [code for code in classes if counts.support[code] + counts.guesses[code] > 0]
    values = {
        "precision": [_share(counts.right[code], counts.guesses[code]) for code in classes],
        "recall": [_share(counts.right[code], counts.support[code]) for code in classes],
        "f1": [_share(2 * counts.right[code], counts.support[code] + counts.guesses[code]) for code in classes],
    }
    intervals = {
        "precision": [_share_interval(counts.right, counts.guesses, code, confidence) for code in classes],
        "recall": [_share_interval(counts.right, counts.support, code, confidence) for code in classes],
        "f1": [f1_interval(int(counts.right[code]), int(errors[code]), confidence) for code in classes[:-1]] + [None],
    }
    found = []
    for metric in ("precision", "recall", "f1"):
        chosen = [values[metric][code] or 0.0 for code in there]
        if metric == "f1":
            error, inflation = _f1_error(counts, values["f1"])
            error /= len(there)
        else:
            totals = counts.support if metric == "recall" else counts.guesses
            error, inflation = _error_of_mean(chosen, totals[there]), 1.0
        interval = mean_of_shares(chosen, [intervals[metric][code] for code in there], confidence, error, inflation)
        found.append(metric_row(metric, None, sum(chosen) / len(chosen), interval))
    for code, label in enumerate(labels):
        found += [metric_row(metric, label, values[metric][code], intervals[metric][code]) for metric in values]
        found.append(metric_row("support", label, float(counts.support[code])))
    return found


def _share(part: np.int64, whole: np.int64) -> float | None:
    return int(part) / int(whole) if whole else None


def _error_of_mean(shares: Sequence[float], totals: Codes) -> float:
    """The standard error of the mean of shares, each of so many rows of its own."""
    return math.sqrt(sum(p * (1 - p) / max(n, 1) for p, n in zip(shares, totals.tolist(), strict=True))) / len(shares)


def _f1_error(counts: _Counts, values: Sequence[float | None]) -> tuple[float, float]:
    """The standard error of the sum of all F1, and its variance over the sum of their variances.

    An error is a false negative of one class and a false positive of another, so that two F1 fall together. Variances
    by the delta method on the multinomial cells of the confusion matrix: Takahashi et al., "Confidence interval for
    micro-averaged F1 and macro-averaged F1 scores", Applied Intelligence 52 (2022).
    """
    f1 = np.array([value or 0.0 for value in values])
    total = np.maximum(counts.support + counts.guesses, 1)
    errors = counts.support + counts.guesses - 2 * counts.right
    own = float(((counts.right * (2 - 2 * f1) ** 2 + errors * f1**2) / total**2).sum())
    wrong = counts.actual != counts.predicted
    weight = f1 / total
    shared = float((counts.rows * weight[counts.actual] * weight[counts.predicted])[wrong].sum())
    return math.sqrt(own + 2 * shared), (1 + 2 * shared / own if own > 0 else 1.0)


def _confusion(counts: _Counts, labels: Sequence[str]) -> list[MetricRow]:
    names: list[str | None] = [*labels, None]
    return [
        MetricRow("confusion", names[actual], float(rows), predicted=names[predicted])
        for actual, predicted, rows in zip(
            counts.actual.tolist(), counts.predicted.tolist(), counts.rows.tolist(), strict=True
        )
    ]
