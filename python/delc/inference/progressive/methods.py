"""The ways to prove an answer at one depth of reading, in order of what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import torch

from delc.inference.progressive.decisions import Decision, Evidence
from delc.inference.progressive.margins import bound_margins
from delc.inference.progressive.propagation import Boxed, Check, do_nothing, forward

Inputs = Mapping[str, torch.Tensor]


class Method(IntEnum):
    """INTERVALS: one pass of intervals, merged over the last layer. TRACED: the margins traced back to the inputs.
    REFINED: activations whose bounds reach over a bend are bounded by traces too.
    """

    INTERVALS = 0
    TRACED = 1
    REFINED = 2


NAMES = {Method.INTERVALS: "intervals", Method.TRACED: "traced", Method.REFINED: "refined"}


@dataclass(frozen=True)
class Attempt:
    """What a method found for some rows."""

    evidence: Evidence
    crossing: float
    """Numbers of a row whose bounds reach over a bend, on average: what REFINED would have to bound."""
    unshown: float
    """Lines that are not shown of a row that stays open, on average: of many lines, what TRACED would have to trace."""
    unplain: float
    """Lines of a row that its outputs' own bounds do not show, on average: of many lines, those that are merged."""


def attempt(
    net: Boxed, method: Method, inputs: Inputs, guess: torch.Tensor, decision: Decision, check: Check = do_nothing
) -> Attempt:
    """Tries to prove the decision that ``guess`` (rows, outputs) says."""
    lines = decision.lines(guess)
    layer = net.network.output.name
    if decision.only_best and (before := _before_softmax(net)) is not None:
        layer, lines = before, replace(lines, thresholds=lines.thresholds + SOFTMAX_SLACK)
    state = forward(net, inputs, refine=method is Method.REFINED, centres=method is not Method.INTERVALS, check=check)
    margins = bound_margins(state, lines, relaxed=method is not Method.INTERVALS, check=check, layer=layer)
    evidence = decision.judge(guess, lines, margins)
    unshown = (~margins.above(lines)).sum(1)[~evidence.proven].double()
    return Attempt(evidence, state.crossing, float(unshown.mean()) if len(unshown) else 0.0, margins.unplain)


SOFTMAX_SLACK = 2.0**-16
"""A margin before a softmax that float32 cannot lose in it: 64 units for each of two probabilities are half of it."""


def _before_softmax(net: Boxed) -> str | None:
    """The layer whose order a softmax at the network's end keeps, or None without one."""
    last = net.network.output
    if last.kind not in ("softmax", "log_softmax") or last.inputs[0] not in net.network:
        return None
    return last.inputs[0] if last.arguments["dim"] in (-1, 1) else None


def portions(rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Rows in portions of that size."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def some(inputs: Inputs, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """The inputs of some rows."""
    return {name: value[rows] for name, value in inputs.items()}
