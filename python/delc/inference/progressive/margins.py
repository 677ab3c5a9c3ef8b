"""What has to be shown for an answer: that some combinations of the outputs are above a threshold.

A decision is made from bounds of combinations (lines) of the network's outputs, so that the last layers' weights count
once, in the difference: the margins of an order of labels need one line less than there are outputs. A line combines
two outputs at most, so that many outputs have lines of little memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from delc.inference.progressive import relaxation, rounding
from delc.inference.progressive.propagation import Check, Pass, do_nothing
from delc.inference.progressive.relaxation import Pairs

ORDER_SLACK = 2.0**-40
"""Two outputs closer than this may have the same score in float64."""

MOST_SPREAD = 600.0
"""Scores of outputs that are further below the largest are too small for float64 to tell them apart."""


MANY = 64
"""Of up to so many lines all are bounded as tightly as the method can; of more, only those that plainer bounds do not
show.
"""


@dataclass(frozen=True)
class Lines:
    """Combinations of two outputs, ``places`` (rows, lines, 2) times ``factors`` (rows, lines, 2), each of which must
    be above its threshold (rows, lines). ``tight``: their bounds are the answer, so that none may be left wide.
    """

    places: torch.Tensor
    factors: torch.Tensor
    thresholds: torch.Tensor
    outputs: int
    tight: bool = False

    @property
    def few(self) -> bool:
        """Whether each is bounded as tightly as the method can."""
        return self.tight or self.thresholds.shape[1] <= MANY

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Those of outputs (rows, outputs): float64 (rows, lines)."""
        return self._sums(outputs.double(), self.factors)

    def bounds(self, centre: torch.Tensor, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(middle, radius), each (rows, lines), of outputs that lie within bounds each by itself."""
        return self._sums(centre, self.factors), self._sums(radius, self.factors.abs()) * relaxation.INFLATION

    def _sums(self, values: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        one, other = (values.gather(1, self.places[..., side]) * factors[..., side] for side in (0, 1))
        return one + other

    def pairs(self, chosen: torch.Tensor) -> tuple[Pairs, torch.Tensor]:
        """Some of the lines, by their number in all rows one after the other, and the row of each."""
        count = self.thresholds.shape[1]
        rows, number = chosen // count, chosen % count
        return Pairs(self.places[rows, number], self.factors[rows, number], self.outputs), rows


@dataclass(frozen=True)
class Margins:
    """Bounds of each line, (rows, lines)."""

    low: torch.Tensor
    high: torch.Tensor
    unplain: float = 0.0
    """Lines of a row that the outputs' own bounds do not show, on average."""

    def above(self, lines: Lines) -> torch.Tensor:
        """Lines that are above their threshold, (rows, lines); NaN is not."""
        return self.low > lines.thresholds

    def shown(self, lines: Lines) -> torch.Tensor:
        """Rows of which every line is above its threshold."""
        return self.above(lines).all(1)


def order_lines(outputs: torch.Tensor, top: int) -> Lines:
    """That the ``top`` largest outputs come in the order that ``outputs`` (rows, outputs) gives, before all others."""
    count = outputs.shape[1]
    order = torch.argsort(outputs, dim=1, descending=True, stable=True)
    top = min(top, count)
    better = order[:, torch.arange(max(count - 1, 0)).clamp(max=top - 1)]
    places = torch.stack([better, order[:, 1:]], -1)
    slack = ORDER_SLACK if top > 1 else 0.0
    thresholds = torch.tensor(slack, dtype=torch.float64).expand(places.shape[:2])
    return Lines(places, torch.tensor([1.0, -1.0], dtype=torch.float64).expand(places.shape), thresholds, count)


def presence_lines(outputs: torch.Tensor) -> Lines:
    """That each output is on the side of zero where it is in ``outputs``, and those above it in the same order."""
    rows, count = outputs.shape
    signs = torch.where(outputs > 0, 1.0, -1.0).double()
    order = torch.argsort(outputs, dim=1, descending=True, stable=True)
    both = outputs.gather(1, order[:, 1:]) > 0
    alone = torch.arange(count).expand(rows, count)
    places = torch.cat([torch.stack([alone, alone], -1), torch.stack([order[:, :-1], order[:, 1:]], -1)], 1)
    one, other = torch.cat([signs, both.double()], 1), torch.cat([torch.zeros_like(signs), -both.double()], 1)
    thresholds = torch.full(one.shape, ORDER_SLACK, dtype=torch.float64)
    thresholds[:, count:][~both] = -torch.inf
    return Lines(places, torch.stack([one, other], -1), thresholds, count)


def single_lines(outputs: torch.Tensor) -> Lines:
    """Each output by itself, to be known within a tolerance."""
    rows, count = outputs.shape
    places = torch.arange(count).reshape(1, -1, 1).expand(rows, count, 2)
    factors = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(places.shape)
    thresholds = torch.tensor(-torch.inf, dtype=torch.float64).expand(rows, count)
    return Lines(places, factors, thresholds, count, tight=True)


def bound_margins(
    state: Pass, lines: Lines, *, relaxed: bool, check: Check = do_nothing, layer: str | None = None
) -> Margins:
    """Bounds of the lines from a pass: merged over the last layer, or traced back to the inputs (``relaxed``).

    Of many lines, only those that the outputs' own bounds do not show are merged, and only those that this does not
    show are traced.
    """
    name = layer or state.order[-1].name
    plain = state.stage(name).bounds
    centre, radius = lines.bounds(plain.centre, plain.radius)
    margins = _around(centre, radius)
    unplain = float((~margins.above(lines)).sum()) / max(1, len(centre))
    if not (lines.few and relaxed):
        _tighten(state, lines, margins, name, relaxed=False, check=check)
    if relaxed:
        _tighten(state, lines, margins, name, relaxed=True, check=check)
    dead = ~state.alive
    margins.low[dead], margins.high[dead] = torch.nan, torch.nan
    return replace(margins, unplain=unplain)


def _around(centre: torch.Tensor, radius: torch.Tensor) -> Margins:
    """With what float64 loses."""
    slack = rounding.FLOAT64_SLACK * centre.abs()
    return Margins(centre - radius - slack, centre + radius + slack)


def _tighten(state: Pass, lines: Lines, margins: Margins, layer: str, *, relaxed: bool, check: Check) -> None:
    """Puts better bounds of the lines that need them in place, a portion of bounded memory at a time."""
    wanted = torch.ones_like(lines.thresholds, dtype=torch.bool) if lines.few else ~margins.above(lines)
    wanted = (wanted & state.alive.unsqueeze(1)).flatten().nonzero().squeeze(1)
    low, high = margins.low.view(-1), margins.high.view(-1)
    portion = relaxation.lines_at_once(state, layer)
    for start in range(0, len(wanted), portion):
        check()
        chosen = wanted[start : start + portion]
        pairs, rows = lines.pairs(chosen)
        found = relaxation.trace(state, layer, pairs, rows, check) if relaxed else None
        better = _around(*(found or relaxation.merge(state, layer, pairs, rows)))
        low[chosen] = torch.maximum(low[chosen], better.low)
        high[chosen] = torch.minimum(high[chosen], better.high)
