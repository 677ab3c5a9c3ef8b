"""Layers without parameters that are linear with coefficients of at least zero: what moves numbers, sums and means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from delc.inference.progressive import rounding
from delc.inference.progressive.rules_linear import transposed_map
from delc.inference.progressive.stages import (
    REFUSALS,
    Affine,
    Bounds,
    Incoming,
    LayerView,
    Pull,
    Stage,
    numbers,
    per_row,
    row_largest,
    rule,
)
from delc.networks.kinds import per_dimension

MOVING = (
    "identity", "flatten", "unflatten", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "select", "slice",
    "concat", "stack", "pad", "upsample", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
)  # fmt: skip


@rule(*MOVING)
def moving(layer: LayerView, inputs: Sequence[Incoming]) -> Stage | torch.Tensor:
    """What moves numbers computes nothing. Tokens that are moved stay tokens."""
    if any(isinstance(value, torch.Tensor) for value in inputs):
        moved: torch.Tensor = layer.module(*inputs)
        return moved
    return monotone_linear(layer, [numbers(value) for value in inputs], 0)


def _upsample_refusal(layer: LayerView) -> str | None:
    mode = layer.arguments["mode"]
    return None if mode == "nearest" else f'upsample in mode "{mode}" weighs by positions that float32 rounds'


REFUSALS["upsample"] = _upsample_refusal


def monotone_linear(layer: LayerView, inputs: Sequence[Bounds], terms: int) -> Stage:
    """The module itself on both ends of the bounds; ``terms``: how many numbers it sums for each output (0: none)."""
    return linear_stage(layer.module, inputs, terms)


def linear_stage(function: Callable[..., torch.Tensor], inputs: Sequence[Bounds], terms: int) -> Stage:
    """The stage of a function that is linear with coefficients >= 0 (a constant may be added, as by padding)."""
    low = function(*[bounds.low for bounds in inputs])
    high = function(*[bounds.high for bounds in inputs])
    noise = None
    if terms:
        magnitude = function(*[bounds.magnitude for bounds in inputs])
        largest = torch.stack([row_largest(bounds.magnitude) for bounds in inputs]).amax(0)
        noise = rounding.gamma(terms) * magnitude + per_row(rounding.underflow(terms, largest, 1.0), magnitude)
        noise = torch.where(per_row(largest * terms < rounding.LARGEST, noise), noise, torch.inf)
        low, high = low - noise, high + noise
    affine: Affine = lambda centres: function(*centres)  # noqa: E731
    return Stage(Bounds(low, high), noise, affine, pulls_of(function, inputs))


def pulls_of(function: Callable[..., torch.Tensor], inputs: Sequence[Bounds]) -> tuple[Pull, ...]:
    """For each input the transposed of a function that is affine in all of them."""
    shapes = [bounds.low.shape[1:] for bounds in inputs]

    def make(at: int) -> Pull:
        def of_one(values: torch.Tensor) -> torch.Tensor:
            zeros = [torch.zeros((len(values), *shape), dtype=values.dtype) for shape in shapes]
            moved: torch.Tensor = function(*zeros[:at], values, *zeros[at + 1 :])
            return moved

        transposed = transposed_map(of_one, shapes[at])
        return lambda lines, rows: transposed(lines)

    return tuple(make(at) for at in range(len(inputs)))


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def average_pool(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Each output is the mean of a window."""
    window = math.prod(per_dimension(layer.arguments["kernel_size"], int(layer.kind[-2])))
    return monotone_linear(layer, [numbers(inputs[0])], window)


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "global_average_pool")
def whole_average(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Each output is the mean of at most a whole channel."""
    arriving = numbers(inputs[0])
    return monotone_linear(layer, [arriving], math.prod(arriving.low.shape[2:]))


@rule("mean", "sum")
def reduction(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Over dimensions."""
    arriving = numbers(inputs[0])
    return monotone_linear(layer, [arriving], arriving.low[0].numel())


@rule("masked_mean")
def masked_mean(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """The mean over the positions whose token is no padding."""
    arriving, tokens = numbers(inputs[0]), inputs[1]
    assert isinstance(tokens, torch.Tensor)
    kept = (tokens != layer.arguments["padding_index"]).double()
    shares = kept / kept.sum(1, keepdim=True).clamp(min=1)

    def mean(values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = (values * shares.unsqueeze(2)).sum(1)
        return found

    stage = linear_stage(mean, [arriving], arriving.low.shape[1] + 2)
    pull: Pull = lambda lines, rows: lines.unsqueeze(1) * shares[rows].unsqueeze(2)  # noqa: E731
    return Stage(stage.bounds, stage.noise, stage.affine, (pull,))
