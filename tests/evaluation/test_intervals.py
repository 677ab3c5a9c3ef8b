"""Intervals by themselves, against SciPy and published values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from delc.evaluation.intervals import (
    mean_interval,
    median_interval,
    normal_quantile,
    positive_interval,
    student_quantile,
    wilson,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 6, 10, 30, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_student_quantile(degrees: int, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, degrees)
    tolerance = 1e-9 if degrees <= 2 else 0.06 if degrees < 6 else 0.003
    assert student_quantile(confidence, degrees) == pytest.approx(expected, rel=tolerance)


def test_normal_quantile() -> None:
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (999, 1000)])
def test_wilson(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials, 0.95) == pytest.approx((expected.low, expected.high))


def test_wilson_of_no_trials() -> None:
    assert wilson(0, 0, 0.95) is None


def test_mean_interval() -> None:
    values = np.random.default_rng(0).normal(size=40)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values, 0.95) == pytest.approx((expected.low, expected.high), rel=1e-4)


def test_mean_interval_of_one_row() -> None:
    assert mean_interval(np.ones(1), 0.95) is None


@pytest.mark.parametrize(("rows", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (100, 40, 61)])
def test_median_interval_has_the_ranks_of_published_tables(rows: int, low: int, high: int) -> None:
    assert median_interval(np.arange(1.0, rows + 1), 0.95) == (low, high)


def test_median_interval_of_too_few_rows() -> None:
    assert median_interval(np.arange(5.0), 0.95) is None


def test_median_interval_of_many_rows_goes_on_from_the_exact_one() -> None:
    exact, approximate = (median_interval(np.arange(float(rows)), 0.95) for rows in (1000, 1001))
    assert exact is not None
    assert approximate is not None
    assert np.abs(np.subtract(exact, approximate)).max() <= 2


def test_an_influence_far_too_wide_does_not_overflow() -> None:
    low, high = positive_interval(1e-300, np.array([1e150, -1e150, 0.0]), 0.95) or (1.0, 0.0)
    assert 0 <= low <= high
