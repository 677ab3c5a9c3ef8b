"""What has to be shown for an answer: that some combinations of the outputs are above a threshold.

A decision is made from bounds of combinations (lines) of the network's outputs, so that the last layers' weights count
once, in the difference: the margins of an order of labels need one line less than there are outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from delc.inference.progressive import relaxation, rounding
from delc.inference.progressive.propagation import Check, Pass, do_nothing

ORDER_SLACK = 2.0**-40
"""Two outputs closer than this may have the same score in float64."""

MOST_SPREAD = 600.0
"""Scores of outputs that are further below the largest are too small for float64 to tell them apart."""


@dataclass(frozen=True)
class Lines:
    """Combinations of outputs: (rows, lines, outputs), each of which must be above its threshold (rows, lines)."""

    coefficients: torch.Tensor
    thresholds: torch.Tensor


@dataclass(frozen=True)
class Margins:
    """Bounds of each line, (rows, lines)."""

    low: torch.Tensor
    high: torch.Tensor

    def shown(self, lines: Lines) -> torch.Tensor:
        """Rows of which every line is above its threshold; NaN is not."""
        return (self.low > lines.thresholds).all(1)


def order_lines(outputs: torch.Tensor, top: int) -> Lines:
    """That the ``top`` largest outputs come in the order that ``outputs`` (rows, outputs) gives, before all others."""
    rows, count = outputs.shape
    order = torch.argsort(outputs, dim=1, descending=True, stable=True)
    top = min(top, count)
    lines = torch.zeros((rows, max(count - 1, 0), count), dtype=torch.float64)
    each = torch.arange(rows)
    for place in range(count - 1):
        better = order[:, min(place, top - 1)]
        worse = order[:, place + 1]
        lines[each, place, better] = 1.0
        lines[each, place, worse] = -1.0
    slack = ORDER_SLACK if top > 1 else 0.0
    return Lines(lines, torch.full(lines.shape[:2], slack, dtype=torch.float64))


def presence_lines(outputs: torch.Tensor) -> Lines:
    """That each output is on the side of zero where it is in ``outputs``, and those above it in the same order."""
    rows, count = outputs.shape
    signs = torch.diag_embed(torch.where(outputs > 0, 1.0, -1.0).double())
    order = torch.argsort(outputs, dim=1, descending=True, stable=True)
    each = torch.arange(rows)
    chain = torch.zeros((rows, max(count - 1, 0), count), dtype=torch.float64)
    thresholds = torch.full((rows, max(count - 1, 0)), -torch.inf, dtype=torch.float64)
    for place in range(count - 1):
        both = outputs[each, order[:, place + 1]] > 0
        chain[each, place, order[:, place]] = both.double()
        chain[each, place, order[:, place + 1]] = -both.double()
        thresholds[both, place] = ORDER_SLACK
    enough = torch.full((rows, count), ORDER_SLACK, dtype=torch.float64)
    return Lines(torch.cat([signs, chain], 1), torch.cat([enough, thresholds], 1))


def single_lines(outputs: torch.Tensor) -> Lines:
    """Each output by itself, to be known within a tolerance."""
    rows, count = outputs.shape
    lines = torch.eye(count, dtype=torch.float64).expand(rows, count, count)
    return Lines(lines, torch.full((rows, count), -torch.inf, dtype=torch.float64))


def bound_margins(
    state: Pass, lines: Lines, *, relaxed: bool, check: Check = do_nothing, layer: str | None = None
) -> Margins:
    """Bounds of the lines from a pass: merged over the last layer, or traced back to the inputs (``relaxed``)."""
    name = layer or state.order[-1].name
    rows, count, outputs = lines.coefficients.shape
    portion = max(1, relaxation.lines_at_once(state) // max(count, 1))
    if count == 0:  # a single output wins whatever it is
        nothing = torch.empty((rows, 0), dtype=torch.float64)
        return Margins(nothing, nothing)
    lows, highs = [], []
    for start in range(0, rows, portion):
        part = lines.coefficients[start : start + portion]
        flat = part.reshape(-1, outputs)
        owner = torch.arange(start, start + len(part)).repeat_interleave(count)
        if relaxed:
            centre, radius = relaxation.trace(state, name, flat, owner, check)
        else:
            centre, radius = relaxation.merge(state, name, flat, owner)
        slack = rounding.FLOAT64_SLACK * centre.abs()
        lows.append((centre - radius - slack).reshape(-1, count))
        highs.append((centre + radius + slack).reshape(-1, count))
    low, high = torch.cat(lows), torch.cat(highs)
    dead = ~state.alive
    low[dead], high[dead] = torch.nan, torch.nan
    return Margins(low, high)
