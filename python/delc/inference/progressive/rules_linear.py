"""Layers that multiply by parameters and add: linear, embedding, convolutions, learned and fixed positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional

from delc.inference.progressive import rounding
from delc.inference.progressive.boxes import Box
from delc.inference.progressive.large_convolutions import is_wide, large_convolution
from delc.inference.progressive.large_products import LargeMatrix
from delc.inference.progressive.stages import (
    REFUSALS,
    Bounds,
    Incoming,
    LayerView,
    Stage,
    numbers,
    per_row,
    row_largest,
    rule,
)
from delc.networks.library.attention import sinusoids

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The product of inputs (rows, *shape) and weights, without a bias."""


@dataclass(frozen=True)
class Weights:
    """A layer's weights for bounds, float64: centres, their magnitudes, and what every unit of an input's magnitude
    adds to the noise (uncertainty of the weight, and float32 rounding).
    """

    centre: torch.Tensor
    size: torch.Tensor
    noise: torch.Tensor
    bias: torch.Tensor | None
    bias_noise: torch.Tensor | None
    largest: float
    row_sum: float
    largest_bias: float

    @staticmethod
    def of(weight: Box, bias: Box | None, terms: int, outputs: int) -> Weights:
        """From boxes; ``terms`` numbers are summed for each output, the first dimension of the weight is outputs."""
        centre, spread = weight.wide(), weight.spread()
        size = centre.abs()
        error = rounding.gamma(terms)
        largest = size + spread
        bias_noise = None
        if bias is not None:
            bias_noise = bias.spread() + error * bias.largest()
        return Weights(
            centre=centre,
            size=size,
            noise=spread + error * largest,
            bias=None if bias is None else bias.wide(),
            bias_noise=bias_noise,
            largest=float(largest.max()) if largest.numel() else 0.0,
            row_sum=float(largest.reshape(outputs, -1).sum(1).max()) if largest.numel() else 0.0,
            largest_bias=float(bias.largest().max()) if bias is not None else 0.0,
        )


def product_stage(
    arriving: Bounds, weights: Weights, terms: int, product: Product, pull: Callable[[torch.Tensor], torch.Tensor]
) -> Stage:
    """The stage of weights times inputs plus a bias."""
    centre, radius, magnitude = arriving.centre, arriving.radius, arriving.magnitude
    shape = [1, -1, *[1] * (centre.dim() - 2)] if product is not functional.linear else [-1]
    bias = 0.0 if weights.bias is None else weights.bias.reshape(shape)
    middle = product(centre, weights.centre) + bias
    noise = product(magnitude, weights.noise)
    if weights.bias_noise is not None:
        noise = noise + weights.bias_noise.reshape(shape)
    largest = row_largest(magnitude)
    noise = noise + per_row(rounding.underflow(terms, largest, weights.largest), noise)
    possible = largest * weights.row_sum + weights.largest_bias < rounding.LARGEST
    noise = torch.where(per_row(possible, noise), noise, torch.inf)
    spread = noise + product(radius, weights.size) if bool((radius != 0).any()) else noise
    return Stage(
        Bounds.around(middle, spread),
        noise,
        lambda centres: product(centres[0], weights.centre) + bias,
        (lambda lines, rows: pull(lines),),
    )


def is_large(kind: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a layer's weight is bounded as a large matrix where it has enough numbers."""
    return kind == "linear" or is_wide(kind, arguments)


@rule("linear")
def linear(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Over the last dimension."""
    box = layer.boxes["weight"]
    outputs, terms = box.centre.shape
    large: LargeMatrix | None = layer.kept("large", lambda: LargeMatrix.of(box))
    if large is not None:
        return large_stage(numbers(inputs[0]), large, layer.boxes.get("bias"))
    weights: Weights = layer.kept("weights", lambda: Weights.of(box, layer.boxes.get("bias"), terms, outputs))
    stage = product_stage(numbers(inputs[0]), weights, terms, functional.linear, lambda lines: lines @ weights.centre)
    return replace(stage, pick=lambda places: weights.centre[places])


def large_stage(arriving: Bounds, matrix: LargeMatrix, bias: Box | None) -> Stage:
    """As ``product_stage``, for a large matrix."""
    shift = 0.0 if bias is None else bias.wide()
    middle, noise, spread = matrix.bounds(arriving)
    middle = middle + shift
    largest = row_largest(arriving.magnitude)
    noise = noise + per_row(rounding.underflow(matrix.terms, largest, matrix.largest), noise)
    sums = largest * matrix.largest * matrix.terms
    if bias is not None:
        noise = noise + bias.spread() + rounding.gamma(matrix.terms) * bias.largest()
        sums = sums + float(bias.largest().max())
    noise = torch.where(per_row(sums < rounding.LARGEST, noise), noise, torch.inf)
    return Stage(
        Bounds.around(middle, noise + spread),
        noise,
        lambda centres: matrix.product(centres[0]) + shift,
        (lambda lines, rows: matrix.pull(lines),),
        lambda places: matrix.centre[places].double(),
    )


def layer_convolution(layer: LayerView) -> Product:
    """The layer's convolution as a function of inputs and weights."""
    module, arguments = layer.module, layer.arguments
    dimensions = int(layer.kind.removesuffix("d")[-1])
    if "output_padding" in arguments:
        transposed = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
        turned = transposed[dimensions - 1]
        return lambda values, weight: turned(
            values, weight, None, module.stride, module.padding, module.output_padding, module.groups, module.dilation
        )
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[dimensions - 1]
    if arguments["padding_mode"] == "zeros":
        return lambda values, weight: convolve(
            values, weight, None, module.stride, module.padding, module.dilation, module.groups
        )
    pads, mode = module._reversed_padding_repeated_twice, arguments["padding_mode"]
    return lambda values, weight: convolve(
        functional.pad(values, pads, mode=mode), weight, None, module.stride, 0, module.dilation, module.groups
    )


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Each output sums at most a window of each channel of its group."""
    box = layer.boxes["weight"]
    if is_large(layer.kind, layer.arguments):
        large: LargeMatrix | None = layer.kept("large", lambda: LargeMatrix.of(box))
        if large is not None:
            return _large_convolution(layer, numbers(inputs[0]), large)
    groups = layer.arguments["groups"]
    turned = "output_padding" in layer.arguments
    incoming = box.centre.shape[0] // groups if turned else box.centre.shape[1]
    terms = incoming * box.centre[0, 0].numel()

    def make() -> Weights:
        # Rows of the sum that bounds overflow: all that any output may read.
        return Weights.of(box, layer.boxes.get("bias"), terms, 1 if turned else box.centre.shape[0])

    weights: Weights = layer.kept("weights", make)
    product = layer_convolution(layer)
    arriving = numbers(inputs[0])
    shape = arriving.low.shape[1:]
    return product_stage(
        arriving, weights, terms, product, transposed_map(lambda values: product(values, weights.centre), shape)
    )


def _large_convolution(layer: LayerView, arriving: Bounds, matrix: LargeMatrix) -> Stage:
    product, shape = layer_convolution(layer), arriving.low.shape[1:]

    def maps() -> tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
        wide = layer.kept("wide", lambda: layer.boxes["weight"].wide())
        return lambda values: product(values, wide), transposed_map(lambda values: product(values, wide), shape)

    return large_convolution(layer, arriving, matrix, layer.boxes.get("bias"), maps)


for _kind in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
    REFUSALS[_kind] = lambda layer: rounding.direct_convolutions()


def transposed_map(
    function: Callable[[torch.Tensor], torch.Tensor], shape: Sequence[int]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The transposed of a linear (or affine) function of (rows, *shape), found by differentiating it."""

    def pull(lines: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            inputs = torch.zeros((len(lines), *shape), dtype=lines.dtype, requires_grad=True)
            (found,) = torch.autograd.grad(function(inputs), inputs, lines)
        return found

    return pull


@rule("embedding")
def embedding(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """A row of the table for each token: nothing is computed, so float32 adds nothing."""
    tokens = inputs[0]
    assert isinstance(tokens, torch.Tensor)
    box = layer.boxes["weight"]
    given = None if box.given is None else functional.embedding(tokens, box.given)
    looked_up = Box(functional.embedding(tokens, box.centre), given, box.step)
    centre = looked_up.wide()
    if looked_up.exact:
        return Stage(Bounds(centre, centre), None, lambda centres: centre)
    radius = looked_up.spread()
    return Stage(Bounds.around(centre, radius), radius, lambda centres: centre)


@rule("positional_encoding")
def positions(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """One addition; what is added is a parameter, or a table computed in float32 as the full pass computes it."""
    arriving = numbers(inputs[0])
    length = arriving.low.shape[1]
    if layer.arguments["method"] == "learned":
        box = layer.boxes["weight"]
        added, spread = box.wide()[:length], box.spread()[:length]
    else:
        added = sinusoids(length, layer.arguments["features"]).double()
        spread = torch.zeros_like(added)
    magnitude = arriving.magnitude + added.abs() + spread
    noise = spread + rounding.gamma(1) * magnitude + rounding.TINY
    bounds = Bounds(arriving.low + added - noise, arriving.high + added + noise)
    return Stage(bounds, noise, lambda centres: centres[0] + added, (lambda lines, rows: lines,))
