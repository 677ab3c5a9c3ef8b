"""Metrics of a regression: scikit-learn's values, intervals that hold, and odd sets of rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from evaluation.helpers import coverage, one, value
from sklearn import metrics

from delc.evaluation.regression import regression_metrics
from delc.server.errors import InvalidData


@pytest.fixture(autouse=True)
def _no_warnings() -> object:
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


def predicted(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets (rows, 2) whose errors hang together within a row."""
    generator = np.random.default_rng(seed)
    actual = generator.normal(size=(rows, 2)) * [1.0, 30.0] + [5.0, -100.0]
    shared = generator.normal(size=(rows, 1))
    return actual + (0.4 * shared + 0.3 * generator.normal(size=(rows, 2))) * [1.0, 30.0], actual


def test_values_of_one_output_are_those_of_scikit_learn() -> None:
    guess, actual = (both[:, 0] for both in predicted(200, seed=1))
    rows = regression_metrics(guess, actual)
    assert value(rows, "rows") == 200
    assert value(rows, "r2") == pytest.approx(metrics.r2_score(actual, guess))
    assert value(rows, "mae") == pytest.approx(metrics.mean_absolute_error(actual, guess))
    assert value(rows, "rmse") == pytest.approx(metrics.mean_squared_error(actual, guess) ** 0.5)
    assert value(rows, "median_absolute_error") == pytest.approx(metrics.median_absolute_error(actual, guess))
    assert value(rows, "max_error") == pytest.approx(metrics.max_error(actual, guess))


def test_values_of_several_outputs_are_those_of_scikit_learn() -> None:
    guess, actual = predicted(200, seed=2)
    rows = regression_metrics(guess, actual, ["length", "weight"])
    assert value(rows, "r2") == pytest.approx(metrics.r2_score(actual, guess))
    assert value(rows, "mae") == pytest.approx(metrics.mean_absolute_error(actual, guess))
    each = metrics.mean_squared_error(actual, guess, multioutput="raw_values") ** 0.5
    assert value(rows, "rmse") == pytest.approx(each.mean())
    assert [value(rows, "rmse", name) for name in ("length", "weight")] == pytest.approx(list(each))
    each = metrics.r2_score(actual, guess, multioutput="raw_values")
    assert [value(rows, "r2", name) for name in ("length", "weight")] == pytest.approx(list(each))


def test_intervals_hold_as_often_as_they_say() -> None:
    whole = [(metric, None) for metric in ("r2", "mae", "rmse")]
    wanted = whole + [(metric, "weight") for metric in ("r2", "mae", "rmse", "median_absolute_error")]
    held = coverage(lambda rows, seed: regression_metrics(*predicted(rows, seed), ["length", "weight"]), 100, wanted)
    assert {key: share for key, share in held.items() if not 0.91 <= share <= 0.995} == {}


def test_a_target_that_does_not_vary_has_no_r2() -> None:
    rows = regression_metrics(np.array([0.1, 0.2, 0.1]), np.full(3, 0.1))
    assert one(rows, "r2").value is None
    assert value(rows, "mae") == pytest.approx(0.1 / 3)


def test_an_output_that_does_not_vary_does_not_count_in_the_mean_r2() -> None:
    guess, actual = predicted(50, seed=3)
    actual[:, 1] = 4.0
    rows = regression_metrics(guess, actual, ["length", "weight"])
    assert one(rows, "r2", "weight").value is None
    assert value(rows, "r2") == value(rows, "r2", "length")


def test_perfect_predictions() -> None:
    rows = regression_metrics(np.arange(10.0), np.arange(10.0))
    assert value(rows, "r2") == 1
    assert value(rows, "rmse") == value(rows, "max_error") == 0


def test_constant_predictions_have_an_r2_of_0_at_best() -> None:
    actual = np.arange(10.0)
    assert value(regression_metrics(np.full(10, actual.mean()), actual), "r2") == pytest.approx(0)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_few_rows(rows: int) -> None:
    found = regression_metrics(np.arange(rows) + 0.5, np.arange(rows))
    assert value(found, "mae") == 0.5
    assert one(found, "median_absolute_error").low is None


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InvalidData, match="no rows to evaluate"):
        regression_metrics(np.empty(0), np.empty(0))


def test_a_prediction_that_is_not_finite_names_its_row() -> None:
    with pytest.raises(InvalidData, match="a prediction of row 2 is not a finite number"):
        regression_metrics(np.array([1.0, np.inf]), np.array([1.0, 2.0]))


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(InvalidData, match=r"targets have shape \(3,\), but predictions have shape \(2,\)"):
        regression_metrics(np.zeros(2), np.zeros(3))
