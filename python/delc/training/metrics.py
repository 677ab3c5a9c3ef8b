"""The one metric that is followed on the validation rows while a model trains."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class ValidationMetric(Protocol):
    """Counts over batches, kept on their device so that nothing waits for it until the end."""

    name: str

    def add(self, output: Tensor, target: Tensor) -> None:
        """One batch: what the network gave (rows, outputs), and the target as the loss takes it."""

    def value(self) -> float | None:
        """The metric over all rows so far; None where it is not defined."""


def validation_metric(task: str) -> ValidationMetric:
    """Accuracy for classification, micro-averaged F1 for multilabel, R² for regression."""
    metrics: dict[str, type[Accuracy] | type[MicroF1] | type[RSquared]] = {
        "classification": Accuracy,
        "multilabel": MicroF1,
        "regression": RSquared,
    }
    return metrics[task]()


class Accuracy:
    """The share of rows whose greatest logit is the label's."""

    name = "accuracy"

    def __init__(self) -> None:
        self._right: Tensor | int = 0
        self._rows = 0

    def add(self, output: Tensor, target: Tensor) -> None:
        """``output`` (rows, labels), ``target`` (rows,) codes; −1 is never right."""
        self._right = self._right + (output.argmax(1) == target).sum()
        self._rows += target.shape[0]

    def value(self) -> float | None:
        """None without rows."""
        return int(self._right) / self._rows if self._rows else None


class MicroF1:
    """2·tp / (2·tp + fp + fn) over all labels together; a label is predicted where its logit is above 0."""

    name = "f1"

    def __init__(self) -> None:
        self._true_positive: Tensor | int = 0
        self._positives: Tensor | int = 0

    def add(self, output: Tensor, target: Tensor) -> None:
        """``output`` and ``target`` (rows, labels)."""
        predicted, actual = output > 0, target > 0.5
        self._true_positive = self._true_positive + (predicted & actual).sum()
        self._positives = self._positives + predicted.sum() + actual.sum()

    def value(self) -> float | None:
        """None where no label is there or predicted."""
        return 2 * int(self._true_positive) / int(self._positives) if int(self._positives) else None


class RSquared:
    """R², the mean over outputs; outputs that do not vary are left out."""

    name = "r2"

    def __init__(self) -> None:
        self._shift: Tensor | None = None
        self._rows = 0

    def add(self, output: Tensor, target: Tensor) -> None:
        """``output`` and ``target`` (rows, outputs)."""
        target = target.double()
        if self._shift is None:
            # Sums of squares are taken about the first row, so that a mean far from 0 does not eat their digits.
            self._shift = target[0].clone()
            self._residual, self._sum, self._square = (torch.zeros_like(self._shift) for _ in range(3))
        centred = target - self._shift
        self._residual += (target - output.double()).square().sum(0)
        self._sum += centred.sum(0)
        self._square += centred.square().sum(0)
        self._rows += target.shape[0]

    def value(self) -> float | None:
        """None where no output varies."""
        if self._shift is None:
            return None
        total = self._square - self._sum.square() / self._rows
        varies = total > 1e-12 * self._square.clamp(min=1e-300)
        if not bool(varies.any()):
            return None
        return float((1 - self._residual[varies] / total[varies]).mean())
