"""The area under the receiver operating characteristic curve (AUC), its interval, and the mean over labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.intervals import SharedRows, mean_of_shares, normal_quantile, proportion_interval
from delc.evaluation.rows import Array, Check, Interval, MetricRow, metric_row


@dataclass(frozen=True)
class Area:
    """An AUC: the share of pairs (a positive row, a negative row) where the positive one scores higher; ties half.

    ``influence`` (rows,) holds each row's part in its variance: the mean of the squares over the rows is that of
    DeLong. None where there is one positive or one negative row only.
    """

    value: float
    influence: NDArray[np.float64] | None
    positives: int
    negatives: int


def area(scores: Array, positive: NDArray[np.bool_]) -> Area | None:
    """The AUC of ``scores`` (rows,) for the rows where ``positive`` (rows,) is true; None unless there are both kinds.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), in the form of Sun and Xu, "Fast implementation of
    DeLong's algorithm", IEEE Signal Processing Letters 21 (2014): one sort, and for each row the share of rows of
    the other kind that it is on the right side of.
    """
    rows = len(scores)
    positives = int(np.count_nonzero(positive))
    negatives = rows - positives
    if positives == 0 or negatives == 0:
        return None
    order = np.argsort(scores)
    ordered, kind = scores[order], positive[order]
    # Rows of equal score form a group; half of the other kind inside one's own group counts.
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.append(starts, rows))
    before = np.concatenate(([0], np.cumsum(kind)))  # positives before each place
    first, last = before[starts], before[starts + lengths]
    positives_below = np.repeat((first + last) / 2, lengths)
    negatives_below = np.repeat(starts + lengths / 2, lengths) - positives_below
    share = np.where(kind, negatives_below / negatives, 1 - positives_below / positives)
    value = float(share[kind].sum() / positives)
    if positives == 1 or negatives == 1:
        return Area(value, None, positives, negatives)
    scale = np.where(kind, rows / math.sqrt(positives * (positives - 1)), rows / math.sqrt(negatives * (negatives - 1)))
    influence = np.empty(rows)
    influence[order] = (share - value) * scale
    return Area(value, influence, positives, negatives)


def area_interval(found: Area, confidence: float) -> Interval:
    """The interval from DeLong's variance on the logit scale, as Qin and Hotilovac recommend (Statistical Methods in
    Medical Research 17, 2008); where that variance is 0 or unknown, such as for an AUC of 1, Newcombe's.
    """
    if found.influence is not None and 0 < found.value < 1:
        error = _standard_error(found.influence)
        if error > 0:
            return proportion_interval(found.value, error, confidence)
    return _newcombe(found.value, found.positives, found.negatives, confidence)


def area_rows(
    labels: Iterable[tuple[str, Array, NDArray[np.bool_]]], rows: int, confidence: float, check: Check
) -> list[MetricRow]:
    """A row 'auc' for each (label, scores, which rows have it), and first the one for their mean over labels.

    Labels for which it is not defined have no value and do not count in the mean. The mean's interval
    knows how the labels' values hang together, since they are of the same rows.
    """
    found: list[MetricRow] = []
    values: list[float] = []
    intervals: list[Interval] = []
    shared = SharedRows(rows)
    for label, scores, positive in labels:
        check()
        one = area(scores, positive)
        if one is None:
            found.append(metric_row("auc", label, None))
            continue
        values.append(one.value)
        intervals.append(area_interval(one, confidence))
        found.append(metric_row("auc", label, one.value, intervals[-1]))
        if one.influence is not None:
            shared.add(one.influence / rows)
    if not values:
        return [metric_row("auc", None, None), *found]
    interval = mean_of_shares(values, intervals, confidence, shared.error(len(values)), shared.inflation())
    return [metric_row("auc", None, sum(values) / len(values), interval), *found]


def _standard_error(influence: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(influence)) / len(influence)))


def _newcombe(value: float, positives: int, negatives: int, confidence: float) -> tuple[float, float]:
    """Method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann–Whitney statistic.
    Part 2", Statistics in Medicine 25 (2006): the AUCs θ from which ``value`` is within z standard errors.
    """
    z = normal_quantile(confidence)
    half = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
        return abs(value - theta) - z * math.sqrt(max(variance, 0.0) / (positives * negatives))

    def limit(inside: float, outside: float) -> float:
        if excess(outside) <= 0:
            return outside
        for _ in range(60):
            middle = (inside + outside) / 2
            if excess(middle) > 0:
                outside = middle
            else:
                inside = middle
        return inside

    return limit(value, 0.0), limit(value, 1.0)
