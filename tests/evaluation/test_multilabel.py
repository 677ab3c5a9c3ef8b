"""Metrics of a multi-label classification: scikit-learn's values, intervals that hold, and odd sets of rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from evaluation.helpers import coverage, labelled, names, one, value
from sklearn import metrics

from delc.evaluation.multilabel import multilabel_metrics
from delc.server.errors import InvalidData


@pytest.fixture(autouse=True)
def _no_warnings() -> object:
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


def test_values_are_those_of_scikit_learn() -> None:
    probabilities, actual = labelled(300, 4, seed=1)
    predicted = probabilities > 0.5
    rows = multilabel_metrics(probabilities, actual, names(4))
    assert value(rows, "exact_match") == pytest.approx(metrics.accuracy_score(actual, predicted))
    assert value(rows, "hamming_loss") == pytest.approx(metrics.hamming_loss(actual, predicted))
    assert value(rows, "micro_f1") == pytest.approx(metrics.f1_score(actual, predicted, average="micro"))
    losses = [metrics.log_loss(actual[:, place], probabilities[:, place]) for place in range(4)]
    assert value(rows, "log_loss") == pytest.approx(np.mean(losses))
    macro = metrics.precision_recall_fscore_support(actual, predicted, average="macro")
    assert [value(rows, metric) for metric in ("precision", "recall", "f1")] == pytest.approx(macro[:3])
    assert value(rows, "auc") == pytest.approx(metrics.roc_auc_score(actual, probabilities, average="macro"))
    by_label = metrics.precision_recall_fscore_support(actual, predicted)
    for place, label in enumerate(names(4)):
        assert value(rows, "precision", label) == pytest.approx(by_label[0][place])
        assert value(rows, "recall", label) == pytest.approx(by_label[1][place])
        assert value(rows, "f1", label) == pytest.approx(by_label[2][place])
        assert value(rows, "support", label) == by_label[3][place]
        area = metrics.roc_auc_score(actual[:, place], probabilities[:, place])
        assert value(rows, "auc", label) == pytest.approx(area)


def test_intervals_hold_as_often_as_they_say() -> None:
    whole = ("exact_match", "hamming_loss", "log_loss", "micro_f1", "precision", "recall", "f1", "auc")
    wanted = [(metric, None) for metric in whole] + [("f1", "a"), ("auc", "a")]
    held = coverage(lambda rows, seed: multilabel_metrics(*labelled(rows, 4, seed), names(4)), 150, wanted)
    assert {key: share for key, share in held.items() if not 0.91 <= share <= 0.99} == {}


def test_targets_of_0_and_1_are_taken_too() -> None:
    probabilities, actual = labelled(50, 3, seed=2)
    assert multilabel_metrics(probabilities, actual.astype(np.float32), names(3)) == multilabel_metrics(
        probabilities, actual, names(3)
    )


def test_perfect_predictions_have_intervals_that_leave_room() -> None:
    _, actual = labelled(60, 3, seed=3)
    rows = multilabel_metrics(actual.astype(float), actual, names(3))
    for metric in ("exact_match", "micro_f1", "precision", "recall", "f1", "auc"):
        row = one(rows, metric)
        assert row.value == row.high == 1
        assert row.low is not None
        assert 0.7 < row.low < 0.999
    wrong = one(rows, "hamming_loss")
    assert wrong.value == wrong.low == 0
    assert wrong.high is not None
    assert wrong.high > 0


def test_one_row() -> None:
    rows = multilabel_metrics(np.array([[0.9, 0.2]]), np.array([[True, False]]), names(2))
    assert value(rows, "exact_match") == 1
    assert one(rows, "auc").value is None


def test_no_label_in_any_row_and_none_predicted() -> None:
    rows = multilabel_metrics(np.full((20, 2), 0.1), np.zeros((20, 2), dtype=bool), names(2))
    assert value(rows, "exact_match") == 1
    assert one(rows, "micro_f1").value is None
    assert one(rows, "f1", "a").value is None
    assert value(rows, "f1") == 0


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InvalidData, match="no rows to evaluate"):
        multilabel_metrics(np.empty((0, 2)), np.empty((0, 2)), names(2))


def test_targets_of_another_shape_are_an_error() -> None:
    with pytest.raises(InvalidData, match=r"targets have shape \(3, 1\)"):
        multilabel_metrics(np.full((3, 2), 0.5), np.zeros((3, 1)), names(2))
