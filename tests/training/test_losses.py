"""Losses and the weights of classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from delc.server.errors import InvalidParameter
from delc.training.losses import build_loss, class_weight_tensor, read_loss

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0]])
CODES = torch.tensor([0, 2, 1])
WEIGHTS = torch.tensor([1.0, 2.0, 4.0])


def test_cross_entropy_takes_weights_and_smoothing() -> None:
    loss = build_loss(
        "classification", read_loss("classification", {"name": "cross_entropy", "label_smoothing": 0.1}), WEIGHTS
    )
    expected = functional.cross_entropy(LOGITS, CODES, WEIGHTS, label_smoothing=0.1)
    assert torch.equal(loss(LOGITS, CODES), expected)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    loss = build_loss("classification", read_loss("classification", {"name": "focal", "gamma": 0}), WEIGHTS)
    torch.testing.assert_close(loss(LOGITS, CODES), functional.cross_entropy(LOGITS, CODES, WEIGHTS))


def test_focal_loss_is_the_published_formula() -> None:
    share = LOGITS.softmax(1)[torch.arange(3), CODES]
    expected = (-((1 - share) ** 2) * share.log()).mean()
    loss = build_loss("classification", read_loss("classification", "focal"))
    torch.testing.assert_close(loss(LOGITS, CODES), expected)


def test_multilabel_focal_loss_without_focus_is_binary_cross_entropy() -> None:
    target = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0]])
    loss = build_loss("multilabel", read_loss("multilabel", {"name": "focal", "gamma": 0}))
    torch.testing.assert_close(loss(LOGITS, target), functional.binary_cross_entropy_with_logits(LOGITS, target))


def test_multilabel_weights_weigh_positive_rows() -> None:
    target = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0]])
    loss = build_loss("multilabel", read_loss("multilabel", "bce"), WEIGHTS)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, target, pos_weight=WEIGHTS)
    assert torch.equal(loss(LOGITS, target), expected)


def test_regression_losses_take_their_argument() -> None:
    target = torch.zeros_like(LOGITS)
    loss = build_loss("regression", read_loss("regression", {"name": "huber", "delta": 0.5}))
    assert torch.equal(loss(LOGITS, target), functional.huber_loss(LOGITS, target, delta=0.5))


def test_balanced_weights_are_those_of_scikit_learn() -> None:

    codes = [0] * 70 + [1] * 20 + [2] * 10
    expected = compute_class_weight("balanced", classes=np.arange(3), y=codes)
    found = class_weight_tensor("classification", "balanced", ["a", "b", "c"], [70, 20, 10], 100)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_balanced_weights_of_labels_are_negatives_to_positives() -> None:
    found = class_weight_tensor("multilabel", "balanced", ["a", "b", "c"], [25, 0, 100], 100)
    assert found is not None
    assert found.tolist() == [3.0, 1.0, 1.0]


def test_weights_by_label_leave_others_at_1() -> None:
    found = class_weight_tensor("classification", {"b": 5.0}, ["a", "b"], [1, 1], 2)
    assert found is not None
    assert found.tolist() == [1.0, 5.0]


def test_no_weights() -> None:
    assert class_weight_tensor("classification", None, ["a"], [1], 1) is None


def test_a_label_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match='unknown label "yess" in class_weights') as caught:
        class_weight_tensor("classification", {"yess": 5.0}, ["no", "yes"], [1, 1], 2)
    assert caught.value.hint == 'Did you mean "yes"?'


def test_a_list_of_another_length_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match="class_weights has 3 weights, but there are 2 labels"):
        class_weight_tensor("classification", [1, 2, 3], ["no", "yes"], [1, 1], 2)
