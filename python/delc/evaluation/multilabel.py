"""Metrics of a multi-label classification: each row has any number of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.intervals import (
    SharedRows,
    f1_interval,
    mean_interval,
    mean_of_shares,
    positive_interval,
    proportion_interval,
    wilson,
)
from delc.evaluation.ranking import area_rows
from delc.evaluation.rows import (
    ROWS_AT_ONCE,
    Array,
    Check,
    MetricRow,
    check_confidence,
    check_values,
    do_nothing,
    metric_row,
)
from delc.server.errors import InvalidData

THRESHOLD = 0.5


def multilabel_metrics(
    probabilities: Array,
    targets: NDArray[np.generic],
    labels: Sequence[str],
    confidence: float = 0.95,
    check: Check = do_nothing,
) -> list[MetricRow]:
    """All metrics of a multi-label classification, with intervals.

    ``probabilities`` (rows, labels) are what the model gave, ``targets`` (rows, labels) are 1 or true where a row has
    the label; a label is predicted where its probability is above 0.5. ``check`` is called between steps and may raise.

    Rows given: rows, exact_match (all labels of a row right), hamming_loss (the share of wrong labels), log_loss (the
    mean over rows and labels), micro_f1 (over all labels' counts together); precision, recall, f1 and auc by label and,
    without a label, their means over labels (undefined ones count as 0 in precision, recall and f1, as in
    scikit-learn; in auc not at all); support by label.

    Raises InvalidData for no rows, and for probabilities that are not finite.
    """
    check_confidence(confidence)
    check_values(probabilities, "probability", check)
    if probabilities.shape != targets.shape or probabilities.shape[1] != len(labels):
        raise InvalidData(
            f"targets have shape {targets.shape} and there are {len(labels)} labels, "
            f"but probabilities have shape {probabilities.shape}"
        )
    actual = np.asarray(targets, dtype=bool)
    predicted = probabilities > THRESHOLD
    check()
    rows = len(actual)
    wrong = (predicted != actual).sum(1)
    exact = int((wrong == 0).sum())
    return [
        metric_row("rows", None, float(rows)),
        metric_row("exact_match", None, exact / rows, wilson(exact, rows, confidence)),
        _hamming_loss(wrong / len(labels), confidence),
        _log_loss(probabilities, actual, confidence, check),
        _micro_f1(predicted, actual, confidence),
        *_label_metrics(predicted, actual, labels, confidence, check),
        *area_rows(
            ((label, probabilities[:, place], actual[:, place]) for place, label in enumerate(labels)),
            rows,
            confidence,
            check,
        ),
    ]


def _hamming_loss(wrong: Array, confidence: float) -> MetricRow:
    """The mean of each row's share of wrong labels; Student's interval, or Wilson's where no row has any."""
    if not wrong.any():
        return metric_row("hamming_loss", None, 0.0, wilson(0, len(wrong), confidence))
    interval = mean_interval(wrong, confidence)
    return metric_row(
        "hamming_loss", None, float(wrong.mean()), interval and (max(interval[0], 0.0), min(interval[1], 1.0))
    )


def _log_loss(probabilities: Array, actual: NDArray[np.bool_], confidence: float, check: Check) -> MetricRow:
    """The mean over rows and labels of −ln(probability of what is the case)."""
    epsilon = float(np.finfo(probabilities.dtype).eps)
    losses = np.empty(len(actual))
    for start in range(0, len(actual), ROWS_AT_ONCE):
        check()
        part = slice(start, start + ROWS_AT_ONCE)
        own = np.where(actual[part], probabilities[part], 1 - probabilities[part]).astype(np.float64)
        losses[part] = -np.log(np.maximum(own, epsilon)).mean(1)
    value = float(losses.mean())
    return metric_row("log_loss", None, value, positive_interval(value, losses - value, confidence))


def _micro_f1(predicted: NDArray[np.bool_], actual: NDArray[np.bool_], confidence: float) -> MetricRow:
    """2·tp / (2·tp + errors) over all labels. The interval is by the delta method over rows, since the labels of one
    row go together; where no row is wrong, or none right, that of independent labels.
    """
    right = (predicted & actual).sum(1)
    total = predicted.sum(1) + actual.sum(1)
    if not total.sum():
        return metric_row("micro_f1", None, None)
    value = float(2 * right.sum() / total.sum())
    error = float(np.sqrt(np.mean(((2 * right - value * total) / total.mean()) ** 2) / len(right)))
    if 0 < value < 1 and error > 0:
        return metric_row("micro_f1", None, value, proportion_interval(value, error, confidence))
    errors = int(total.sum() - 2 * right.sum())
    return metric_row("micro_f1", None, value, f1_interval(int(right.sum()), errors, confidence))


def _label_metrics(
    predicted: NDArray[np.bool_],
    actual: NDArray[np.bool_],
    labels: Sequence[str],
    confidence: float,
    check: Check,
) -> list[MetricRow]:
    """Precision, recall and F1: their means over labels, then by label; and the support of each label."""
    found: list[MetricRow] = []
    shared = {metric: SharedRows(len(actual)) for metric in ("precision", "recall", "f1")}
    for place, label in enumerate(labels):
        check()
        guess, have = predicted[:, place], actual[:, place]
        right, guesses, support = (int(np.count_nonzero(which)) for which in (guess & have, guess, have))
        shares = {
            "precision": (right, guesses, guess, wilson(right, guesses, confidence)),
            "recall": (right, support, have, wilson(right, support, confidence)),
            "f1": (
                2 * right,
                guesses + support,
                guess.astype(np.int8) + have,
                f1_interval(right, guesses + support - 2 * right, confidence),
            ),
        }
        for metric, (part, whole, weight, interval) in shares.items():
            value = part / whole if whole else None
            if value is not None:
                # A row moves a ratio of two sums by (its part − the ratio · its weight) / the sum of weights.
                hits = (guess & have) * (2.0 if metric == "f1" else 1.0)
                shared[metric].add((hits - value * weight.astype(np.float64)) / whole)
            found.append(metric_row(metric, label, value, interval))
        found.append(metric_row("support", label, float(support)))
    return [_mean_row(metric, found, confidence, shared[metric]) for metric in shared] + found


def _mean_row(metric: str, found: Sequence[MetricRow], confidence: float, shared: SharedRows) -> MetricRow:
    own = [row for row in found if row.metric == metric]
    values = [row.value or 0.0 for row in own]
    intervals = [None if row.low is None or row.high is None else (row.low, row.high) for row in own]
    interval = mean_of_shares(values, intervals, confidence, shared.error(len(values)), shared.inflation())
    return metric_row(metric, None, sum(values) / len(values), interval)
