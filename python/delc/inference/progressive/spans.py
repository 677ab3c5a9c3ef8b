"""Statistics of numbers of which the leading bits are known, as intervals.

Each number lies between the one with zeros in its unknown bits and the one with ones. The intervals are exact bounds,
widened by what float64 loses in the sums; there are none where numbers may be infinite or NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

Ends = tuple[float, float]
"""The least and the greatest that a statistic can be."""

LOSS = 2.0**-40
"""Relative: more than float64 loses in a sum of squares, and in a few operations more."""

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Span:
    """A parameter of which the leading bits are known: ``low`` <= number <= ``high``, float64, flat."""

    shape: tuple[int, ...]
    dtype: str
    bits: int
    low: torch.Tensor
    high: torch.Tensor

    @property
    def centre(self) -> torch.Tensor:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> torch.Tensor:
        """Half the width."""
        return (self.high - self.low) / 2

    @property
    def finite(self) -> bool:
        """Whether no number can be infinite or NaN."""
        return bool(torch.isfinite(self.low).all() and torch.isfinite(self.high).all())

    @property
    def sizes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The least and the greatest magnitude."""
        straddling = (self.low <= 0) & (self.high >= 0)
        least = torch.where(straddling, 0.0, torch.minimum(self.low.abs(), self.high.abs()))
        return least, torch.maximum(self.low.abs(), self.high.abs())


def span_of(prefix: torch.Tensor, bits: int) -> Span:
    """From numbers of which so many leading bits are known, with zeros below."""
    dtype, shape = str(prefix.dtype).removeprefix("torch."), tuple(prefix.shape)
    unknown = prefix.element_size() * 8 - bits
    near = prefix.reshape(-1)
    if unknown <= 0 or not prefix.is_floating_point():
        return Span(shape, dtype, prefix.element_size() * 8, near.double(), near.double())
    pattern = near.contiguous().view(_INTEGERS[prefix.element_size()])
    far = (pattern | ((1 << unknown) - 1)).view(prefix.dtype).double()
    near = near.double()
    return Span(shape, dtype, bits, torch.minimum(near, far), torch.maximum(near, far))


def statistics(span: Span) -> dict[str, Ends | None]:
    """Mean, standard deviation, least, greatest, Euclidean norm and share of zeros."""
    count = span.low.numel()
    if not count or not span.finite:
        empty: dict[str, Ends | None] = dict.fromkeys(("mean", "std", "min", "max", "norm", "zeros"))
        return empty
    least, greatest = span.sizes
    away, middle = float(span.radius.norm()) / math.sqrt(count), float(span.centre.std(correction=0))
    size = float(greatest.norm())
    zeros = (span.low == 0) & (span.high == 0)
    return {
        "mean": _wider((float(span.low.mean()), float(span.high.mean())), size),
        "std": _wider((middle - away, middle + away), size, least=0.0),
        "min": (float(span.low.min()), float(span.high.min())),
        "max": (float(span.low.max()), float(span.high.max())),
        "norm": _wider((float(least.norm()), size), size, least=0.0),
        "zeros": (float(zeros.double().mean()), float((least == 0).double().mean())),
    }


def _wider(ends: Ends, size: float, least: float = -math.inf, most: float = math.inf) -> Ends:
    return max(least, ends[0] - LOSS * size), min(most, ends[1] + LOSS * size)


def comparison(one: Span, other: Span) -> dict[str, Ends | None]:
    """Norm of the difference, cosine of the angle, and share of numbers that are the same."""
    low, high = one.low - other.high, one.high - other.low
    touching = (low <= 0) & (high >= 0)
    known = (one.low == one.high) & (other.low == other.high)
    count = max(1, low.numel())
    same = (float((touching & known).sum()) / count, float(touching.sum()) / count) if low.numel() else (1.0, 1.0)
    if not (one.finite and other.finite):
        return {"distance": None, "cosine": None, "unchanged": same}
    least = torch.where(touching, 0.0, torch.minimum(low.abs(), high.abs()))
    greatest = torch.maximum(low.abs(), high.abs())
    size = float(one.sizes[1].norm()) + float(other.sizes[1].norm())
    distance = _wider((float(least.norm()), float(greatest.norm())), size, least=0.0)
    return {"distance": distance, "cosine": cosine(one, other), "unchanged": same}


def cosine(one: Span, other: Span) -> Ends | None:
    """A vector within a distance r of a centre with norm n is at an angle of at most asin(r / n) from it. NULL where
    one of them may be zero.
    """
    centres, turn = [], 0.0
    for span in (one, other):
        centre = span.centre
        norm, radius = float(centre.norm()), float(span.radius.norm())
        if radius * (1 + LOSS) >= norm:
            return None
        turn += math.asin(min(1.0, radius / norm * (1 + LOSS)))
        centres.append(centre / norm)
    apart, together = float((centres[0] - centres[1]).norm()), float((centres[0] + centres[1]).norm())
    angle = 2 * math.atan2(apart, together)  # Kahan's formula: acos of a number near 1 is not exact
    return _wider((math.cos(min(math.pi, angle + turn)), math.cos(max(0.0, angle - turn))), 1.0, -1.0, 1.0)
