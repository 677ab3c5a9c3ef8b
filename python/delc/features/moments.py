"""Running mean, variance and range of many columns at once.

Each batch is summed about a point near its mean and merged into what was seen before as in Chan, Golub and LeVeque,
"Updating formulae and a pairwise algorithm for computing sample variances" (1979). All sums are float64, so that
neither long tables nor columns whose mean is large beside their spread lose digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK_ELEMENTS = 65_536
"""Rows are summed in blocks of about this many numbers: a block and its deviations stay in the processor's cache."""


class RunningMoments:
    """Count, mean, sum of squared deviations, minimum and maximum of each of ``width`` columns. NaN counts as
    missing.
    """

    def __init__(self, width: int) -> None:
        self.count = np.zeros(width, dtype=np.int64)
        self.mean = np.zeros(width)
        self.squares = np.zeros(width)
        self.low = np.full(width, np.inf)
        self.high = np.full(width, -np.inf)

    def update(self, values: npt.NDArray[Any], with_missing: bool) -> None:
        """Add rows, shape (rows, width), of any number type. ``with_missing`` tells that NaN may be among them (it
        costs a few more passes).
        """
        rows, width = values.shape
        if width != len(self.mean):
            raise ValueError(f"rows of {width} numbers, not {len(self.mean)}")
        step = max(1, _BLOCK_ELEMENTS // max(1, width))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, rows, step):
                block = values[start : start + step]
                if with_missing:
                    self._add_with_missing(block.astype(np.float64))
                else:
                    self._add(block)

    def _add(self, block: npt.NDArray[Any]) -> None:
        rows = len(block)
        center = self.mean if self.count.any() else block[0].astype(np.float64)
        deviations = block - center
        sums = deviations.sum(axis=0)
        squares = np.einsum("ij,ij->j", deviations, deviations)
        self._merge(np.full(len(sums), rows), center, sums, squares)
        np.minimum(self.low, block.min(axis=0), out=self.low)
        np.maximum(self.high, block.max(axis=0), out=self.high)

    def _add_with_missing(self, block: Floats) -> None:
        present = ~np.isnan(block)
        count = present.sum(axis=0)
        first = block[present.argmax(axis=0), np.arange(block.shape[1])]
        center = np.where(self.count > 0, self.mean, np.where(count > 0, first, 0.0))
        deviations = np.where(present, block - center, 0.0)
        squares = np.einsum("ij,ij->j", deviations, deviations)
        self._merge(count, center, deviations.sum(axis=0), squares)
        np.minimum(self.low, np.where(present, block, np.inf).min(axis=0), out=self.low)
        np.maximum(self.high, np.where(present, block, -np.inf).max(axis=0), out=self.high)

    def _merge(self, count: npt.NDArray[np.int64], center: Floats, sums: Floats, squares: Floats) -> None:
        """Merge rows whose deviations from ``center`` have these sums and squares."""
        some = np.maximum(count, 1)
        mean = center + sums / some
        within = np.maximum(squares - sums * (sums / some), 0.0)
        total = self.count + count
        shift = np.where(self.count > 0, mean - self.mean, 0.0)
        weight = count / np.maximum(total, 1)
        self.squares += within + shift * shift * (self.count * weight)
        self.mean = np.where(self.count > 0, self.mean + shift * weight, np.where(count > 0, mean, 0.0))
        self.count = total

    def deviation(self) -> Floats:
        """Standard deviation of each column (of the rows seen: divided by their count)."""
        result: Floats = np.sqrt(self.squares / np.maximum(self.count, 1))
        return result

    def at(self, places: Sequence[int]) -> RunningMoments:
        """The moments of some of the columns."""
        chosen = RunningMoments(0)
        index = np.array(places, dtype=np.int64)
        chosen.count, chosen.mean, chosen.squares = self.count[index], self.mean[index], self.squares[index]
        chosen.low, chosen.high = self.low[index], self.high[index]
        return chosen

    def pooled(self, pools: int) -> RunningMoments:
        """The moments of ``pools`` equal runs of neighbouring columns, each run taken as one column."""
        merged = RunningMoments(pools)
        count = self.count.reshape(pools, -1)
        total = count.sum(axis=1)
        mean = (count * self.mean.reshape(pools, -1)).sum(axis=1) / np.maximum(total, 1)
        spread = self.mean.reshape(pools, -1) - mean[:, None]
        merged.count, merged.mean = total, mean
        merged.squares = (self.squares.reshape(pools, -1) + count * spread * spread).sum(axis=1)
        merged.low = self.low.reshape(pools, -1).min(axis=1)
        merged.high = self.high.reshape(pools, -1).max(axis=1)
        return merged
