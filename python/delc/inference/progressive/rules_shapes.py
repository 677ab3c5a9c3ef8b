"""Layers without parameters that are linear with coefficients of at least zero: what moves numbers, sums and means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

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
    "concat", "stack", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
)  # fmt: skip


@rule(*MOVING)
def moving(layer: LayerView, inputs: Sequence[Incoming]) -> Stage | torch.Tensor:
    """What moves numbers computes nothing. Tokens that are moved stay tokens."""
    if any(isinstance(value, torch.Tensor) for value in inputs):
        moved: torch.Tensor = layer.module(*inputs)
        return moved
    return monotone_linear(layer, [numbers(value) for value in inputs], 0)


@rule("pad")
def padded(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """What is there is moved; a constant is the float32 that torch makes of it."""
    pads, filling = tuple(layer.arguments["pad"]), rounding.single(layer.arguments["value"])
    constant = layer.arguments["mode"] == "constant"
    function: Callable[..., torch.Tensor] = lambda values: functional.pad(values, pads, value=filling)  # noqa: E731
    return linear_stage(function if constant else layer.module, [numbers(inputs[0])], 0)


@rule("upsample")
def enlarged(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Each number is that of the nearest place, which torch finds in the arithmetic of the numbers: for some factors
    float64 takes another than float32. So places are looked up in float32 and numbers are moved by them.
    """
    arriving = numbers(inputs[0])
    places = nearest_places(layer.module, arriving.low.shape[2:])

    def move(values: torch.Tensor) -> torch.Tensor:
        for at, chosen in enumerate(places):
            values = values.index_select(2 + at, chosen)
        return values

    return linear_stage(move, [arriving], 0)


def nearest_places(module: Callable[[torch.Tensor], torch.Tensor], space: Sequence[int]) -> list[torch.Tensor]:
    """For each dimension of an image the place that each number of the enlarged one is taken from."""
    found = []
    for at, size in enumerate(space):
        line = [1] * len(space)
        line[at] = size
        numbered = torch.arange(size, dtype=torch.float32).reshape(1, 1, *line).expand(1, 1, *space)
        enlarged = module(numbered.contiguous())
        found.append(enlarged.movedim(2 + at, 0).flatten(1)[:, 0].long())
    return found


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
