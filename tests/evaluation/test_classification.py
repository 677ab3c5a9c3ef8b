"""Metrics of a classification: scikit-learn's values, intervals that hold, and odd sets of rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from evaluation.helpers import classified, coverage, names, one, value
from sklearn import metrics

from delc.evaluation.classification import classification_metrics
from delc.server.errors import InvalidData, InvalidParameter


@pytest.fixture(autouse=True)
def _no_warnings() -> object:
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("labels", [2, 3, 8])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_are_those_of_scikit_learn(labels: int, kind: type) -> None:
    exact, codes = classified(400, labels, seed=1)
    probabilities = exact.astype(kind)
    predicted = probabilities.argmax(1)
    rows = classification_metrics(probabilities, codes, names(labels))
    assert value(rows, "rows") == 400
    assert value(rows, "accuracy") == pytest.approx(metrics.accuracy_score(codes, predicted))
    assert value(rows, "balanced_accuracy") == pytest.approx(metrics.balanced_accuracy_score(codes, predicted))
    assert value(rows, "log_loss") == pytest.approx(metrics.log_loss(codes, exact), rel=1e-5)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(codes, predicted)
    macro = metrics.precision_recall_fscore_support(codes, predicted, average="macro")
    assert [value(rows, metric) for metric in ("precision", "recall", "f1")] == pytest.approx(macro[:3])
    for code, label in enumerate(names(labels)):
        assert value(rows, "precision", label) == pytest.approx(precision[code])
        assert value(rows, "recall", label) == pytest.approx(recall[code])
        assert value(rows, "f1", label) == pytest.approx(f1[code])
        assert value(rows, "support", label) == support[code]
        area = metrics.roc_auc_score(codes == code, probabilities[:, code])
        assert value(rows, "auc", label) == pytest.approx(area)


def test_mean_auc_is_that_of_scikit_learn() -> None:
    probabilities, codes = classified(400, 4, seed=2)
    rows = classification_metrics(probabilities, codes, names(4))
    expected = metrics.roc_auc_score(codes, probabilities, multi_class="ovr", average="macro")
    assert value(rows, "auc") == pytest.approx(expected)


def test_top_5_accuracy_is_that_of_scikit_learn() -> None:
    probabilities, codes = classified(400, 9, seed=2, signal=0.5)
    rows = classification_metrics(probabilities, codes, names(9))
    assert value(rows, "top_5_accuracy") == pytest.approx(metrics.top_k_accuracy_score(codes, probabilities, k=5))


def test_top_5_accuracy_is_left_out_for_five_labels() -> None:
    assert not [row for row in classification_metrics(*classified(50, 5, seed=2), names(5)) if "top" in row.metric]


def test_auc_counts_ties_half() -> None:
    probabilities, codes = classified(300, 2, seed=3)
    coarse = probabilities.round(1)
    rows = classification_metrics(coarse, codes, names(2))
    assert value(rows, "auc", "b") == pytest.approx(metrics.roc_auc_score(codes, coarse[:, 1]))


def test_auc_interval_is_that_of_delongs_variance() -> None:
    probabilities, codes = classified(60, 2, seed=4)
    positive, negative = probabilities[codes == 1, 1], probabilities[codes == 0, 1]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    area = wins.mean()
    half = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    row = one(classification_metrics(probabilities, codes, names(2)), "auc", "b")
    assert (row.low, row.high) == pytest.approx((1 / (1 + np.exp(half - logit)), 1 / (1 + np.exp(-half - logit))))


def test_accuracy_interval_is_wilsons() -> None:
    # 81 of 263: Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I.
    probabilities = np.tile([0.9, 0.1], (263, 1))
    codes = np.array([0] * 81 + [1] * 182)
    row = one(classification_metrics(probabilities, codes, names(2)), "accuracy")
    assert (row.low, row.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_calibration_error_of_known_bins() -> None:
    probabilities = np.array([[0.95, 0.05]] * 10 + [[0.65, 0.35]] * 10)
    codes = np.array([0] * 9 + [1] + [0] * 4 + [1] * 6)
    row = one(classification_metrics(probabilities, codes, names(2)), "calibration_error")
    assert row.value == pytest.approx((abs(0.9 - 0.95) + abs(0.4 - 0.65)) / 2)


def test_confusion_has_the_rows_of_each_pair_of_labels() -> None:
    probabilities, codes = classified(200, 3, seed=5)
    expected = metrics.confusion_matrix(codes, probabilities.argmax(1))
    cells = {
        (row.label, row.predicted): row.value
        for row in classification_metrics(probabilities, codes, names(3))
        if row.metric == "confusion"
    }
    assert cells == {
        (actual, predicted): expected[i, j]
        for i, actual in enumerate(names(3))
        for j, predicted in enumerate(names(3))
        if expected[i, j]
    }


def test_intervals_hold_as_often_as_they_say() -> None:
    wanted = [
        (metric, None) for metric in ("accuracy", "balanced_accuracy", "log_loss", "precision", "recall", "f1", "auc")
    ]
    wanted += [(metric, "a") for metric in ("precision", "recall", "f1", "auc")]
    held = coverage(lambda rows, seed: classification_metrics(*classified(rows, 3, seed), names(3)), 150, wanted)
    assert {key: share for key, share in held.items() if not 0.91 <= share <= 0.99} == {}


def test_intervals_hold_where_nearly_all_is_right() -> None:
    wanted = [(metric, None) for metric in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")]

    def measure(rows: int, seed: int) -> list:
        return classification_metrics(*classified(rows, 6, seed, signal=3.5), names(6))

    held = coverage(measure, 200, wanted)
    assert {key: share for key, share in held.items() if share < 0.91} == {}


def test_calibration_interval_of_a_calibrated_model_begins_at_0() -> None:
    samples = [classification_metrics(*classified(200, 3, seed), names(3)) for seed in range(100)]
    lows = [one(sample, "calibration_error").low for sample in samples]
    assert sum(low == 0 for low in lows) >= 93


def test_calibration_interval_of_an_overconfident_model_holds() -> None:
    def measure(rows: int, seed: int) -> list:
        probabilities, codes = classified(rows, 3, seed)
        sharp = probabilities**3
        return classification_metrics(sharp / sharp.sum(1, keepdims=True), codes, names(3))

    assert coverage(measure, 300, [("calibration_error", None)])["calibration_error", None] > 0.9


def test_unseen_labels_are_wrong_and_reported() -> None:
    probabilities, codes = classified(200, 3, seed=6, signal=4.0)
    codes[:20] = -1
    rows = classification_metrics(probabilities, codes, names(3))
    # To scikit-learn, unseen labels are one more class that is never predicted.
    actual, predicted = np.where(codes < 0, 3, codes), probabilities.argmax(1)
    assert value(rows, "unseen_labels") == 20
    assert value(rows, "accuracy") == pytest.approx(metrics.accuracy_score(actual, predicted))
    assert value(rows, "balanced_accuracy") == pytest.approx(metrics.balanced_accuracy_score(actual, predicted))
    assert value(rows, "f1") == pytest.approx(metrics.f1_score(actual, predicted, average="macro"))
    known = codes >= 0
    assert value(rows, "log_loss") == pytest.approx(metrics.log_loss(codes[known], probabilities[known]))
    cells = [row for row in rows if row.metric == "confusion" and row.label is None]
    assert sum(row.value or 0 for row in cells) == 20


def test_rows_of_unseen_labels_alone_have_values_where_they_are_defined() -> None:
    probabilities, _ = classified(10, 3, seed=6)
    rows = classification_metrics(probabilities, np.full(10, -1), names(3))
    assert value(rows, "accuracy") == 0
    assert one(rows, "log_loss").value is None
    assert one(rows, "auc").value is None


def test_one_row() -> None:
    rows = classification_metrics(np.array([[0.7, 0.3]]), np.array([0]), names(2))
    accuracy = one(rows, "accuracy")
    assert accuracy.value == 1
    assert accuracy.low == pytest.approx(0.2065, abs=1e-4)
    assert value(rows, "log_loss") == pytest.approx(-np.log(0.7))
    assert one(rows, "log_loss").low is None
    assert one(rows, "recall", "b").value is None
    assert one(rows, "auc").value is None


def test_one_class_in_the_rows() -> None:
    probabilities, _ = classified(50, 3, seed=7)
    rows = classification_metrics(probabilities, np.zeros(50, dtype=np.int64), names(3))
    predicted = probabilities.argmax(1)
    assert value(rows, "balanced_accuracy") == value(rows, "accuracy") == np.mean(predicted == 0)
    assert one(rows, "auc", "a").value is None


def test_constant_predictions() -> None:
    _, codes = classified(60, 3, seed=8)
    rows = classification_metrics(np.full((60, 3), 1 / 3), codes, names(3))
    assert value(rows, "auc") == 0.5
    assert one(rows, "precision", "b").value is None
    assert value(rows, "recall", "a") == 1
    assert value(rows, "f1", "b") == 0


def test_perfect_predictions_have_intervals_that_leave_room() -> None:
    codes = np.arange(60) % 3
    rows = classification_metrics(np.eye(3)[codes], codes, names(3))
    for metric in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc"):
        row = one(rows, metric)
        assert row.value == 1
        assert row.high == 1
        assert row.low is not None
        assert 0.7 < row.low < 0.99


def test_every_interval_holds_its_value() -> None:
    for seed in range(20):
        for row in classification_metrics(*classified(8, 3, seed), names(3)):
            if row.low is not None and row.high is not None and row.value is not None:
                assert row.low <= row.value <= row.high


def test_a_higher_confidence_gives_wider_intervals() -> None:
    narrow, wide = (
        classification_metrics(*classified(100, 3, seed=9), names(3), confidence=level) for level in (0.8, 0.99)
    )
    for one_row, other in zip(narrow, wide, strict=True):
        if one_row.low is not None and one_row.high is not None and one_row.low < one_row.high:
            assert other.low is not None
            assert other.high is not None
            assert other.high - other.low >= one_row.high - one_row.low


def test_the_same_seed_gives_the_same_rows() -> None:
    first, second = (classification_metrics(*classified(100, 3, seed=9), names(3), seed=4) for _ in range(2))
    assert first == second


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InvalidData, match="no rows to evaluate"):
        classification_metrics(np.empty((0, 2)), np.empty(0, dtype=np.int64), names(2))


def test_a_probability_that_is_not_finite_names_its_row() -> None:
    probabilities, codes = classified(10, 2, seed=0)
    probabilities[6, 1] = np.nan
    with pytest.raises(InvalidData, match="a probability of row 7 is not a finite number"):
        classification_metrics(probabilities, codes, names(2))


def test_codes_beyond_the_labels_are_an_error() -> None:
    with pytest.raises(InvalidData, match="label codes go from 0 to 2; they must be from -1 to 1"):
        classification_metrics(np.full((3, 2), 0.5), np.array([0, 1, 2]), names(2))


def test_confidence_out_of_range_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match="confidence is 95; it must be between 0 and 1"):
        classification_metrics(*classified(10, 2, seed=0), names(2), confidence=95)


def test_the_check_is_called_and_may_stop() -> None:
    class Stop(Exception):
        pass

    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 5:
            raise Stop

    with pytest.raises(Stop):
        classification_metrics(*classified(100, 10, seed=0), names(10), check=check)
