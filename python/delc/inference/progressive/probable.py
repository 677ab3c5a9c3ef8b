"""The statistical rule: how likely another answer is, if the unknown bits are random. It proves nothing.

Each unknown part of a parameter is taken as independent and uniform in its box. To first order a combination of outputs
is then normal around what the middles give, and its variance is the sum over all parameters of
(derivative · radius)² / 3. What stays on the right side for six standard deviations counts as settled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch.nn import functional, grad

from delc.inference.progressive.boxes import Box, Boxes
from delc.inference.progressive.decisions import Decision, Evidence
from delc.inference.progressive.margins import MANY, Lines, Margins
from delc.inference.progressive.methods import Inputs
from delc.inference.progressive.propagation import Boxed, Check, Pass, do_nothing, forward
from delc.inference.progressive.relaxation import LINES_BYTES, Combinations, Pairs, lines_at_once, walk, widest
from delc.inference.progressive.stages import RULES, Bounds, LayerView, Stage

SIGMAS = 6.0
"""So many standard deviations are taken for enough."""

UNIFORM = 3.0
"""The variance of a uniform error is its radius squared over this."""

FURTHER = 2.0
"""Of many lines, those that are far from their thresholds are taken to spread so many times as far as the near ones."""

ALMOST = 2.0**-40
"""Relative radius of boxes that stand for known parameters; with none, slopes could not be told from ends of bounds."""


def judge(
    net: Boxed, inputs: Inputs, guess: torch.Tensor, decision: Decision, check: Check = do_nothing
) -> tuple[Evidence, torch.Tensor]:
    """What the rule says of the decision that ``guess`` makes, and the error rate (rows,) that it implies."""
    lines = decision.lines(guess)
    state = forward(_at_the_middle(net), inputs, centres=True, check=check)
    middle = lines.values(guess)
    spread = _spread(net, state, lines, middle, check)
    margins = Margins(middle - SIGMAS * spread, middle + SIGMAS * spread)
    return decision.judge(guess, lines, margins), _error_rate(middle, spread, lines)


def _spread(net: Boxed, state: Pass, lines: Lines, middle: torch.Tensor, check: Check) -> torch.Tensor:
    """The standard deviation of each line, (rows, lines). Of many, it is worked out for those nearest to their
    thresholds, and the others are taken to spread ``FURTHER`` times as far as any of these.
    """
    rows, count = middle.shape
    nearest = torch.arange(count).expand(rows, count)
    if not lines.few:
        nearest = (middle - lines.thresholds).topk(MANY, dim=1, largest=False).indices
    chosen = (nearest + count * torch.arange(rows).unsqueeze(1)).flatten()
    variance = torch.zeros(len(chosen), dtype=torch.float64)
    most = max(1, LINES_BYTES // (8 * _numbers_of_a_line(net, state)))
    portion = min(most, lines_at_once(state, net.network.output.name))
    kept: dict[str, torch.Tensor] = {}
    for start in range(0, len(chosen), portion):
        check()
        some = slice(start, start + portion)
        pairs, owner = lines.pairs(chosen[some])
        variance[some] = _variance(net, state, pairs, owner, kept, check)
    found = variance.sqrt().reshape(rows, -1)
    if found.shape[1] == count:
        return torch.empty_like(middle).scatter_(1, nearest, found)
    return (FURTHER * found.amax(1, keepdim=True)).repeat(1, count).scatter_(1, nearest, found)


def _error_rate(middle: torch.Tensor, spread: torch.Tensor, lines: Lines) -> torch.Tensor:
    """The chance that any of the lines is on the wrong side, at most; of numbers, that they leave their bounds."""
    bounded = torch.isfinite(lines.thresholds)
    away = torch.where(bounded, (middle - lines.thresholds.clamp(min=-1e300)) / spread, SIGMAS)
    tail = 0.5 * torch.erfc(away.nan_to_num(nan=math.inf) / math.sqrt(2.0))
    return torch.where(bounded, tail, 2 * tail).sum(1).clamp(max=1.0)


def _at_the_middle(net: Boxed) -> Boxed:
    """The network with every parameter known to be (almost) at the middle of its box."""
    layers = [replace(layer, boxes=_middles(layer.boxes), cache={}) for layer in net.layers]
    return Boxed(net.network, layers, net.missing)


def _middles(boxes: Boxes) -> Boxes:
    found = {}
    for name, box in boxes.items():
        if box.centre.dtype == torch.float32:  # takes no memory, and large matrices stay so
            found[name] = Box(box.centre, step=ALMOST)
        else:
            floats = box.centre.is_floating_point()
            found[name] = Box(box.centre.double(), box.centre.double().abs() * ALMOST) if floats else box
    return found


def _numbers_of_a_line(net: Boxed, state: Pass) -> int:
    """What a line takes in the widest layer, or where its derivatives by all of a layer's weights are worked out."""
    found = widest(state, net.network.output.name)
    for layer in net.layers:
        if layer.kind in _DERIVATIVES and not (
            layer.kind == "linear" and state.stage(layer.name).bounds.low.dim() == 2
        ):
            found = max(found, layer.boxes["weight"].centre.numel())
    return found


def _variance(
    net: Boxed, state: Pass, lines: Combinations, rows: torch.Tensor, kept: dict[str, torch.Tensor], check: Check
) -> torch.Tensor:
    """The variance of combinations (lines, outputs) of the network's outputs for those rows. ``kept`` holds what does
    not depend on the lines.
    """
    known = {layer.name: layer for layer in net.layers}
    variance = torch.zeros(len(rows), dtype=torch.float64)
    for view, line in walk(state, net.network.output.name, lines, rows, check):
        layer = known[view.name]
        if any(not box.exact for box in layer.boxes.values()):
            variance += _of_layer(layer, state, line, rows, kept)
    return variance


def _of_layer(
    layer: LayerView, state: Pass, line: Combinations, rows: torch.Tensor, kept: dict[str, torch.Tensor]
) -> torch.Tensor:
    """What the unknown bits of one layer's parameters add."""
    if isinstance(line, Pairs):
        if layer.kind == "linear":
            return _of_last_layer(layer, state, line, rows, kept)
        line = line.dense()
    arriving = [value.centre if isinstance(value, Bounds) else value for value in state.arriving(layer)]
    derivative = _DERIVATIVES.get(layer.kind)
    if derivative is None or layer.arguments.get("padding_mode", "zeros") != "zeros":
        return _by_worst_case(layer, arriving, line, rows)
    found = torch.zeros(len(line), dtype=torch.float64)
    if layer.kind == "linear" and line.dim() == 2:
        found += (line.square() * _by_output(layer, arriving[0], kept)[rows]).sum(1) / UNIFORM
    elif not layer.boxes["weight"].exact:
        weight = derivative(layer, line, arriving[0][rows])
        found += (weight.flatten(1) * layer.boxes["weight"].spread().flatten()).square().sum(1) / UNIFORM
    if "bias" in layer.boxes and not layer.boxes["bias"].exact:
        positions = line.reshape(len(line), -1, line.shape[-1]).transpose(1, 2) if layer.kind == "linear" else line
        of_bias = positions.flatten(2).sum(2)
        found += (of_bias * layer.boxes["bias"].spread()).square().sum(1) / UNIFORM
    return found


def _by_output(layer: LayerView, arriving: torch.Tensor, kept: dict[str, torch.Tensor]) -> torch.Tensor:
    """(rows, outputs): three times the variance of each output of a linear layer by its weights."""
    if layer.name not in kept:
        kept[layer.name] = functional.linear(arriving.square(), layer.boxes["weight"].spread().square())
    return kept[layer.name]


def _of_last_layer(
    layer: LayerView, state: Pass, pairs: Pairs, rows: torch.Tensor, kept: dict[str, torch.Tensor]
) -> torch.Tensor:
    """The same of a linear layer of which lines combine two outputs."""
    arriving = state.arriving(layer)[0]
    assert isinstance(arriving, Bounds)
    spread = _by_output(layer, arriving.centre, kept)[rows.unsqueeze(1), pairs.places]
    if "bias" in layer.boxes:
        spread = spread + layer.boxes["bias"].spread().square()[pairs.places]
    return (pairs.factors.square() * spread).sum(1) / UNIFORM


def _by_worst_case(
    layer: LayerView, arriving: Sequence[torch.Tensor], line: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """For layers whose derivatives are not worked out: all the layer's noise at once, as if it were one parameter."""
    stage = RULES[layer.kind](
        layer, [Bounds(value, value) if value.is_floating_point() else value for value in arriving]
    )
    assert isinstance(stage, Stage)
    noise = stage.bounds.radius if stage.noise is None else stage.noise
    return (line.abs() * noise[rows]).flatten(1).sum(1).square() / UNIFORM


def _of_linear(layer: LayerView, line: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """(lines, outputs, inputs): the derivative with respect to each weight, over all positions."""
    lines = line.reshape(len(line), -1, line.shape[-1])
    return lines.transpose(1, 2) @ inputs.reshape(len(inputs), -1, inputs.shape[-1])


def _of_convolution(layer: LayerView, line: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """(lines, *weight's shape): each line is a group of channels of its own."""
    module, weight = layer.module, layer.boxes["weight"].centre
    dimensions = weight.dim() - 2
    gradient = (grad.conv1d_weight, grad.conv2d_weight, grad.conv3d_weight)[dimensions - 1]
    padding = module.padding
    if isinstance(padding, str):
        pads = module._reversed_padding_repeated_twice if padding == "same" else [0, 0] * dimensions
        inputs, padding = functional.pad(inputs, pads), 0
    count, channels = inputs.shape[:2]
    found: torch.Tensor = gradient(  # type: ignore[no-untyped-call]
        inputs.reshape(1, count * channels, *inputs.shape[2:]),
        torch.Size((count * weight.shape[0], *weight.shape[1:])),
        line.reshape(1, count * line.shape[1], *line.shape[2:]),
        stride=module.stride,
        padding=padding,
        dilation=module.dilation,
        groups=count * module.groups,
    )
    return found.reshape(count, *weight.shape)


_DERIVATIVES: dict[str, Callable[[LayerView, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "linear": _of_linear,
    "conv1d": _of_convolution,
    "conv2d": _of_convolution,
    "conv3d": _of_convolution,
}
