"""What an answer says, by the task of the model, and when bounds prove it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from delc.features.fitted_target import Classification, FittedTarget, Multilabel, Regression
from delc.inference.progressive.margins import (
    MOST_SPREAD,
    Lines,
    Margins,
    order_lines,
    presence_lines,
    single_lines,
)

SATURATED = 30.0
"""Beyond it, probabilities of labels are too close to 1 for float64 to tell them apart."""

UNSCALING = 2.0**-40
"""Covers float64's rounding where outputs are put on the target's own scale."""


@dataclass(frozen=True)
class Evidence:
    """Of a batch: rows that are proven (rows,), and bounds (rows, k) of what is reported."""

    proven: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


@dataclass(frozen=True)
class Decision:
    """``lines`` of guessed outputs (rows, outputs) have to be shown; ``judge`` weighs their bounds. ``exact``: what is
    reported of outputs that are known exactly (low and high, each (rows, k)), which needs no lines.

    ``possible`` is None, or the reason why bounds can prove nothing here. ``only_best``: nothing but which output
    is the largest counts, so that a softmax at the end can be left out.
    """

    lines: Callable[[torch.Tensor], Lines]
    judge: Callable[[torch.Tensor, Lines, Margins], Evidence]
    exact: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    possible: str | None = None
    only_best: bool = False


def decision_for(target: FittedTarget, top: int | None, tolerance: float | None) -> Decision:
    """For the labels that ``ranked`` would give with ``top``; numbers to within ``tolerance``."""
    if isinstance(target, Classification):
        return order_decision(top or 1)
    if isinstance(target, Multilabel):
        return presence_decision() if top is None else order_decision(min(top, target.outputs), saturating=True)
    return _within(target, tolerance)


def order_decision(top: int, *, saturating: bool = False) -> Decision:
    """The ``top`` largest outputs in their order. ``saturating``: they are compared as probabilities of labels."""

    def judge(outputs: torch.Tensor, lines: Lines, margins: Margins) -> Evidence:
        proven = margins.shown(lines)
        if top > 1 and margins.high.shape[1]:
            steps = min(top, margins.high.shape[1]) - 1
            spread = margins.high[:, :steps].sum(1) + margins.high[:, steps:].amax(1)
            proven &= spread < MOST_SPREAD
        if saturating and margins.high.shape[1]:
            proven &= outputs.abs().amax(1) < SATURATED / 2
            proven &= margins.high.abs().amax(1) < SATURATED / 2
        return Evidence(proven, *_narrowest(margins))

    def exact(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if outputs.shape[1] < 2:
            endless = torch.full((len(outputs), 1), torch.inf, dtype=torch.float64)
            return endless, endless
        best = outputs.topk(min(top + 1, outputs.shape[1]), dim=1).values.double()
        narrowest = (best[:, :-1] - best[:, 1:]).amin(1, keepdim=True)
        return narrowest, narrowest

    only_best = top == 1 and not saturating
    return Decision(lambda outputs: order_lines(outputs, top), judge, exact, only_best=only_best)


def _narrowest(margins: Margins) -> tuple[torch.Tensor, torch.Tensor]:
    """The bounds of the smallest margin: (rows, 1) each. A model with one output has none."""
    if margins.low.shape[1] == 0:
        endless = torch.full((len(margins.low), 1), torch.inf, dtype=torch.float64)
        return endless, endless
    return margins.low.amin(1, keepdim=True), margins.high.amin(1, keepdim=True)


def presence_decision() -> Decision:
    """Which outputs are above zero, and the order of these."""

    def judge(outputs: torch.Tensor, lines: Lines, margins: Margins) -> Evidence:
        count = outputs.shape[1]
        several = (outputs > 0).sum(1) > 1
        signs = Margins(margins.low[:, :count], margins.high[:, :count])
        proven = margins.shown(lines) & (~several | (signs.high.amax(1) < SATURATED))
        return Evidence(proven, *_narrowest(signs))

    def exact(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        narrowest = outputs.abs().amin(1, keepdim=True).double()
        return narrowest, narrowest

    return Decision(presence_lines, judge, exact)


def _within(target: Regression, tolerance: float | None) -> Decision:
    scale, center = torch.as_tensor(target.scale), torch.as_tensor(target.center)

    def unscaled(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        slack = UNSCALING * (low.abs() + high.abs()) * scale + UNSCALING * center.abs()
        return low * scale + center - slack, high * scale + center + slack

    def judge(outputs: torch.Tensor, lines: Lines, margins: Margins) -> Evidence:
        assert tolerance is not None
        low, high = unscaled(margins.low, margins.high)
        answer = outputs.double() * scale + center
        off = torch.maximum(high - answer, answer - low)
        return Evidence((off <= tolerance).all(1), low, high)

    reason = None if tolerance is not None else "numbers are certified to within a tolerance, and none is given"
    return Decision(single_lines, judge, lambda outputs: unscaled(outputs.double(), outputs.double()), reason)


def exact_evidence(decision: Decision, outputs: torch.Tensor) -> Evidence:
    """The evidence of outputs that are known exactly: bounds without width, nothing to be proven."""
    return Evidence(torch.zeros(len(outputs), dtype=torch.bool), *decision.exact(outputs))
