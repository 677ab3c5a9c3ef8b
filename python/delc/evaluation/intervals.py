"""Confidence intervals.

An interval is (low, high), or None where there is too little to tell. ``confidence`` is its level, 0.95 by default:
of many samples of rows, about that share gives an interval that holds the value of all rows there could be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.rows import Array, Interval

EXACT_MEDIAN_ROWS = 1000
"""Up to so many rows the ranks of the median's interval come from the binomial distribution itself."""


def normal_quantile(confidence: float) -> float:
    """The two-sided quantile of the normal distribution: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_quantile(confidence: float, degrees: int) -> float:
    """The two-sided quantile of Student's t.

    Exact for one and two degrees of freedom; beyond, the expansion in 1/degrees of Abramowitz and Stegun, Handbook of
    Mathematical Functions (1964), 26.7.5 (off by less than 2 % at three degrees for 0.95, and 0.1 % from six on).
    """
    if degrees == 1:
        return math.tan(math.pi * confidence / 2)
    if degrees == 2:
        return confidence * math.sqrt(2 / (1 - confidence**2))
    z, n = normal_quantile(confidence), float(degrees)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n ** (power + 1) for power, term in enumerate(terms))


def wilson(successes: float, trials: float, confidence: float) -> Interval:
    """The score interval of a proportion: Wilson, "Probable inference, the law of succession, …", JASA 22 (1927)."""
    if trials <= 0:
        return None
    z = normal_quantile(confidence)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def f1_interval(true_positives: int, errors: int, confidence: float) -> Interval:
    """The interval of one label's F1 = 2·tp / (2·tp + errors), ``errors`` being false positives and negatives.

    Of the tp + errors rows that have the label or are predicted to, a proportion J = tp / (tp + errors) is right;
    F1 = 2·J / (1 + J) grows with J, so the Wilson interval of J is carried over.
    """
    jaccard = wilson(true_positives, true_positives + errors, confidence)
    return None if jaccard is None else (2 * jaccard[0] / (1 + jaccard[0]), 2 * jaccard[1] / (1 + jaccard[1]))


def mean_of_shares(
    values: Sequence[float], intervals: Sequence[Interval], confidence: float, error: float, inflation: float = 1.0
) -> Interval:
    """The interval of the mean of several values between 0 and 1, from the interval of each and the standard error.

    The wider of two, each of which falls short where the other does not. The first is the method of variance
    estimates recovery: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in
    Medicine 27 (2008); it takes the values as independent, and ``inflation`` is the variance of their sum over the sum
    of their variances where they are not. Its upper limit is too low when many values are 1. The second is Wilson's
    for as many rows as would give a proportion of that size the standard ``error``; it knows nothing of small groups
    of rows that happen to be all right. A value without an interval counts as certain.
    """
    if not values or all(interval is None for interval in intervals):
        return None
    below = sum((value - interval[0]) ** 2 for value, interval in zip(values, intervals, strict=True) if interval)
    above = sum((interval[1] - value) ** 2 for value, interval in zip(values, intervals, strict=True) if interval)
    mean = sum(values) / len(values)
    scale = math.sqrt(max(inflation, 0.0)) / len(values)
    low, high = mean - math.sqrt(below) * scale, mean + math.sqrt(above) * scale
    if error > 0 and 0 < mean < 1:
        rows = mean * (1 - mean) / error**2
        second = wilson(mean * rows, rows, confidence)
        if second is not None:
            low, high = min(low, second[0]), max(high, second[1])
    return max(low, 0.0), min(high, 1.0)


class SharedRows:
    """How values that come of the same rows hang together.

    Each is given by how much a row moves it (rows,): its influence over the number of rows, whose squares add up to
    the variance.
    """

    def __init__(self, rows: int) -> None:
        self._sum = np.zeros(rows)
        self._own = 0.0
        self._values = 0

    def add(self, moved: NDArray[np.float64]) -> None:
        """One value."""
        self._values += 1
        self._own += float(moved @ moved)
        self._sum += moved

    def error(self, values: int) -> float:
        """The standard error of the mean of so many values."""
        return math.sqrt(float(self._sum @ self._sum)) / values

    def inflation(self) -> float:
        """The variance of the sum of all values over the sum of their variances.

        Where no row moves any value, as when all are 1, nothing is known of it; it is the one of equal values then.
        """
        return float(self._sum @ self._sum) / self._own if self._own > 0 else float(self._values)


def mean_interval(values: Array, confidence: float) -> Interval:
    """Student's interval of the mean of ``values`` (rows,); None for one row."""
    rows = len(values)
    if rows < 2:
        return None
    half = student_quantile(confidence, rows - 1) * float(np.std(values, ddof=1)) / math.sqrt(rows)
    mean = float(np.mean(values))
    return mean - half, mean + half


def positive_interval(value: float, influence: Array, confidence: float) -> Interval:
    """The interval of a value > 0 by the delta method on its logarithm, from each row's influence (rows,) on it.

    The influence is the derivative of the value with respect to the weight of a row, times the rows; its standard
    deviation over √rows is the standard error: Efron, "Nonparametric estimates of standard error" (1981), section 6.
    """
    rows = len(influence)
    if rows < 3:
        return None
    if value <= 0:
        return value, value
    error = float(np.std(influence, ddof=1)) / math.sqrt(rows)
    factor = math.exp(min(student_quantile(confidence, rows - 1) * error / value, 700.0))
    return value / factor, value * factor


def proportion_interval(value: float, error: float, confidence: float) -> tuple[float, float]:
    """The interval of a value strictly between 0 and 1 by the delta method on its logit, from its standard error."""
    logit = math.log(value / (1 - value))
    half = min(normal_quantile(confidence) * error / (value * (1 - value)), 700.0)
    return _logistic(logit - half), _logistic(logit + half)


def median_interval(ordered: Array, confidence: float) -> Interval:
    """The interval of the median between two of the ``ordered`` values (rows,): Conover, "Practical Nonparametric
    Statistics" (1999), section 3.2. None where even the extremes are not far enough apart, as with fewer than 6 rows.
    """
    rows = len(ordered)
    rank = _median_rank(rows, confidence)
    return (float(ordered[rank - 1]), float(ordered[rows - rank])) if rank >= 1 else None


def _median_rank(rows: int, confidence: float) -> int:
    """The greatest rank r with P(Binomial(rows, ½) < r) <= (1 − confidence) / 2; 0 where there is none."""
    if rows > EXACT_MEDIAN_ROWS:
        return int((rows - normal_quantile(confidence) * math.sqrt(rows)) / 2)
    limit = (1 - confidence) / 2
    ways, rank = 0, 0
    while rank < rows:
        ways += math.comb(rows, rank)
        if ways / 2**rows > limit:
            break
        rank += 1
    return rank


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
