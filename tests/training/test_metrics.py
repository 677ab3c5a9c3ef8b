"""The metric followed on validation rows, added up over batches."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, r2_score

from delc.training.metrics import validation_metric

GENERATOR = torch.Generator().manual_seed(0)


def followed(task: str, output: torch.Tensor, target: torch.Tensor) -> float | None:
    metric = validation_metric(task)
    for start in range(0, len(target), 7):
        metric.add(output[start : start + 7], target[start : start + 7])
    return metric.value()


def test_accuracy() -> None:
    output, target = torch.randn(30, 3, generator=GENERATOR), torch.randint(0, 3, (30,), generator=GENERATOR)
    assert followed("classification", output, target) == pytest.approx(accuracy_score(target, output.argmax(1)))


def test_micro_f1() -> None:
    output = torch.randn(30, 3, generator=GENERATOR)
    target = (torch.rand(30, 3, generator=GENERATOR) > 0.5).float()
    expected = f1_score(target.numpy(), (output > 0).numpy(), average="micro")
    assert followed("multilabel", output, target) == pytest.approx(expected)


def test_r2_far_from_0() -> None:
    target = torch.randn(30, 2, generator=GENERATOR, dtype=torch.float64) + 1e6
    output = target + 0.3 * torch.randn(30, 2, generator=GENERATOR, dtype=torch.float64)
    assert followed("regression", output, target) == pytest.approx(r2_score(target.numpy(), output.numpy()))


def test_r2_of_a_constant_target_is_not_defined() -> None:
    assert followed("regression", torch.randn(9, 1, generator=GENERATOR), torch.full((9, 1), 0.1)) is None


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_no_rows_have_no_value(task: str) -> None:
    assert validation_metric(task).value() is None
