"""What the tests of evaluation share: rows of models that are right to some extent, and looking up a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.rows import MetricRow

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def names(count: int) -> list[str]:
    """Labels "a", "b", …."""
    return [chr(ord("a") + place) for place in range(count)]


def classified(rows: int, labels: int, seed: int, signal: float = 1.5) -> tuple[Floats, Codes]:
    """Probabilities (rows, labels) and codes (rows,); the labels come about equally often."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, labels, rows)
    logits = generator.normal(size=(rows, labels))
    logits[np.arange(rows), codes] += signal
    # The optimal logits of this mixture, so that probabilities are what they say.
    exponents = np.exp(logits * signal)
    return exponents / exponents.sum(1, keepdims=True), codes


def labelled(rows: int, labels: int, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Probabilities and labels (rows, labels) that hang together within a row."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(rows, 1))
    actual = generator.normal(size=(rows, labels)) + base > 0.5
    scores = generator.normal(size=(rows, labels)) + 0.5 * base + 2.0 * actual - 1.0
    return 1 / (1 + np.exp(-scores)), actual


def one(rows: Sequence[MetricRow], metric: str, label: str | None = None) -> MetricRow:
    """The one row of a metric and label."""
    found = [row for row in rows if row.metric == metric and row.label == label and row.predicted is None]
    assert len(found) == 1, (metric, label, found)
    return found[0]


def value(rows: Sequence[MetricRow], metric: str, label: str | None = None) -> float:
    """The value of a metric that is defined."""
    found = one(rows, metric, label).value
    assert found is not None
    return found


def coverage(
    measure: Callable[[int, int], Sequence[MetricRow]], rows: int, wanted: Sequence[tuple[str, str | None]]
) -> dict[tuple[str, str | None], float]:
    """How often intervals of samples of so many rows hold the value of a sample of very many.

    ``measure`` evaluates (rows, seed).
    """
    truth = measure(200_000, 0)
    samples = [measure(rows, seed) for seed in range(1, 301)]
    held = {}
    for metric, label in wanted:
        actual = value(truth, metric, label)
        found = [one(sample, metric, label) for sample in samples]
        limits = [(row.low, row.high) for row in found if row.low is not None and row.high is not None]
        held[metric, label] = sum(low <= actual <= high for low, high in limits) / len(samples)
    return held
