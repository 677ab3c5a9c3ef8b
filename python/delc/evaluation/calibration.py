"""The expected calibration error: how far predicted probabilities are from how often they are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from delc.evaluation.rows import MetricRow, metric_row

CALIBRATION_BINS = 15
RESAMPLES = 1000

Floats = NDArray[np.float64]


def calibration_error(certainty: Floats, right: NDArray[np.bool_], confidence: float, seed: int) -> MetricRow:
    """The row 'calibration_error', from the predicted label's probability and whether it is right (both (rows,)).

    Guo et al., "On calibration of modern neural networks" (2017): rows are put into 15 bins of equal width by that
    probability; the error is the mean over rows of the distance between a bin's accuracy and its mean probability.

    The interval is the basic bootstrap one, which takes account of the error's being estimated too high: Davison and
    Hinkley, "Bootstrap Methods and their Application" (1997), section 5.2. It begins at 0 where a model without any
    error would give as high a value by chance, found by drawing right rows with the predicted probabilities:
    Bröcker and Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22 (2007).
    """
    bins = np.clip(np.ceil(certainty * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    rows = np.bincount(bins, minlength=CALIBRATION_BINS)
    used = rows > 0
    rows = rows[used]
    accuracy = np.bincount(bins, weights=right, minlength=CALIBRATION_BINS)[used] / rows
    mean = np.minimum(np.bincount(bins, weights=certainty, minlength=CALIBRATION_BINS)[used] / rows, 1.0)
    value = float(np.abs(accuracy - mean) @ rows / len(certainty))
    generator = np.random.default_rng(seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    lowest, highest = np.quantile(_resampled(generator, rows, accuracy, mean), tails)
    by_chance = np.quantile(_resampled(generator, rows, mean, mean), tails[1])
    low = 0.0 if value <= by_chance else max(2 * value - float(highest), 0.0)
    return metric_row("calibration_error", None, value, (low, min(2 * value - float(lowest), 1.0)))


def _resampled(generator: np.random.Generator, rows: NDArray[np.int64], accuracy: Floats, mean: Floats) -> Floats:
    """Errors of samples whose bins have such an ``accuracy``; mean probabilities stay, as bins are narrow."""
    total = int(rows.sum())
    sampled = generator.multinomial(total, rows / total, RESAMPLES)
    right = generator.binomial(sampled, accuracy)
    errors: Floats = np.abs(right - sampled * mean).sum(1) / total
    return errors
