"""Recurrent layers, by bounds alone: step after step, what the gates let through lies between its extremes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from delc.inference.progressive import rounding
from delc.inference.progressive.rules_arithmetic import rounded_product
from delc.inference.progressive.rules_attention import together
from delc.inference.progressive.rules_elementwise import ROUGHEST, Bent, Error, Smooth, bent_stage, smooth_stage
from delc.inference.progressive.rules_linear import Weights, product_stage
from delc.inference.progressive.stages import Bounds, Incoming, LayerView, Stage, guarded, numbers, rule
from delc.networks.library.recurrent import row_lengths

FUSED = Error(value=ROUGHEST, fixed=ROUGHEST)
"""oneDNN computes a whole recurrent layer with activations of its own, which are less exact than torch's."""


@rule("rnn", "gru", "lstm")
def recurrent(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Stacked, in one or both directions, with or without padding."""
    arriving = numbers(inputs[0])
    rows, length = arriving.low.shape[:2]
    lengths = torch.full((rows,), length)
    if layer.arguments["padding_index"] is not None:
        tokens = inputs[1]
        assert isinstance(tokens, torch.Tensor)
        lengths = row_lengths(tokens, layer.arguments["padding_index"])
    last: list[Bounds] = []
    for number in range(layer.arguments["num_layers"]):
        suffixes = [f"_l{number}"] + [f"_l{number}_reverse"] * layer.arguments["bidirectional"]
        found = [_direction(layer, suffix, arriving, lengths) for suffix in suffixes]
        arriving = _joined([steps for steps, _ in found], -1)
        last = [state for _, state in found]
    return Stage(arriving if layer.arguments["output"] == "sequence" else _joined(last, -1))


def _joined(parts: Sequence[Bounds], dim: int) -> Bounds:
    return Bounds(torch.cat([part.low for part in parts], dim), torch.cat([part.high for part in parts], dim))


def _direction(layer: LayerView, suffix: str, arriving: Bounds, lengths: torch.Tensor) -> tuple[Bounds, Bounds]:
    """(every step's output, the last state); steps behind a row's length give zeros and leave its state alone."""
    length = arriving.low.shape[1]
    given = _product(layer, arriving, "ih", suffix)
    nothing = torch.zeros((len(lengths), layer.arguments["hidden_size"]), dtype=torch.float64)
    hidden = cell = Bounds(nothing, nothing)
    steps: list[Bounds] = [hidden] * length
    for at in reversed(range(length)) if suffix.endswith("reverse") else range(length):
        now = Bounds(given.low[:, at], given.high[:, at])
        new, new_cell = CELLS[layer.kind](layer, now, _product(layer, hidden, "hh", suffix), hidden, cell)
        active = (at < lengths).unsqueeze(1)
        hidden, cell = _where(active, new, hidden), _where(active, new_cell, cell)
        steps[at] = _where(active, new, Bounds(nothing, nothing))
    low, high = (torch.stack(ends, 1) for ends in ([step.low for step in steps], [step.high for step in steps]))
    return Bounds(low, high), hidden


def _where(active: torch.Tensor, one: Bounds, other: Bounds) -> Bounds:
    return Bounds(torch.where(active, one.low, other.low), torch.where(active, one.high, other.high))


def _product(layer: LayerView, values: Bounds, which: str, suffix: str) -> Bounds:
    """What the weights of all gates make of the input or of the hidden state. Both may be summed in any order."""
    weight = layer.boxes[f"weight_{which}{suffix}"]
    outputs = len(weight.centre)
    terms = sum(layer.boxes[f"weight_{side}{suffix}"].centre.shape[1] for side in ("ih", "hh")) + 2
    bias = layer.boxes.get(f"bias_{which}{suffix}")
    weights: Weights = layer.kept((which, suffix), lambda: Weights.of(weight, bias, terms, outputs))
    return guarded(product_stage(values, weights, terms, functional.linear, lambda lines: lines).bounds)


def _split(bounds: Bounds, parts: int) -> list[Bounds]:
    pairs = zip(bounds.low.chunk(parts, -1), bounds.high.chunk(parts, -1), strict=True)
    return [Bounds(low, high) for low, high in pairs]


def _sigmoid(values: Bounds) -> Bounds:
    return smooth_stage(values, Smooth(torch.sigmoid, 0.0963, FUSED)).bounds


def _tanh(values: Bounds) -> Bounds:
    return smooth_stage(values, Smooth(torch.tanh, 0.77, FUSED)).bounds


def _times(one: Bounds, other: Bounds) -> Bounds:
    return rounded_product(one, other, 2)


def _plain(layer: LayerView, now: Bounds, before: Bounds, hidden: Bounds, cell: Bounds) -> tuple[Bounds, Bounds]:
    total = together(now, before)
    if layer.arguments["nonlinearity"] == "relu":
        return bent_stage(total, Bent(torch.relu, (0.0,))).bounds, cell
    return _tanh(total), cell


def _gru(layer: LayerView, now: Bounds, before: Bounds, hidden: Bounds, cell: Bounds) -> tuple[Bounds, Bounds]:
    """(1 - z) n + z h, which grows with n and h, and is linear in z."""
    reset, update, new = _split(now, 3)
    reset_before, update_before, new_before = _split(before, 3)
    gate = _sigmoid(together(reset, reset_before))
    candidate = _tanh(together(new, _times(gate, new_before)))
    share = _sigmoid(together(update, update_before))
    ends = [end.clamp(0.0, 1.0) for end in (share.low, share.high)]
    low = torch.minimum(*((1 - end) * candidate.low + end * hidden.low for end in ends))
    high = torch.maximum(*((1 - end) * candidate.high + end * hidden.high for end in ends))
    slack = 4 * ROUGHEST * (candidate.magnitude + hidden.magnitude) + 8 * rounding.TINY
    return Bounds(low - slack, high + slack), cell


def _lstm(layer: LayerView, now: Bounds, before: Bounds, hidden: Bounds, cell: Bounds) -> tuple[Bounds, Bounds]:
    """The cell forgets and takes in, the hidden state is what the output gate shows of it."""
    into, forget, candidate, out = _split(together(now, before), 4)
    kept, taken = _times(_sigmoid(forget), cell), _times(_sigmoid(into), _tanh(candidate))
    renewed = together(kept, taken)
    return _times(_sigmoid(out), _tanh(renewed)), renewed


CELLS = {"rnn": _plain, "gru": _gru, "lstm": _lstm}
"""From what the input and the hidden state give, the state and the cell: the new state and cell."""
