"""Normalisation: by stored statistics (batch norm) or by those of the row itself (layer, group, instance, RMS norm)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from delc.inference.progressive import rounding
from delc.inference.progressive.boxes import Box
from delc.inference.progressive.rules_arithmetic import multiplied
from delc.inference.progressive.stages import (
    REFUSALS,
    Affine,
    Bounds,
    Incoming,
    LayerView,
    Pull,
    Stage,
    cut,
    guarded,
    numbers,
    rule,
)

FEW = 16
"""Roundings of a handful of operations, generously."""


@dataclass(frozen=True)
class Scale:
    """A scale and a shift of each channel, as parameters: float64, shaped to broadcast over (rows, *shape)."""

    low: torch.Tensor
    high: torch.Tensor
    shift: torch.Tensor
    shift_spread: torch.Tensor

    @staticmethod
    def of(layer: LayerView, shape: Sequence[int]) -> Scale:
        """From the boxes "weight" and "bias", where the layer has them."""
        weight, bias = layer.boxes.get("weight"), layer.boxes.get("bias")
        one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        centre, spread = (one, none) if weight is None else _shaped(weight, shape)
        shift, shift_spread = (none, none) if bias is None else _shaped(bias, shape)
        return Scale(centre - spread, centre + spread, shift, shift_spread)


def _shaped(box: Box, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return box.wide().reshape(*shape), box.spread().reshape(*shape)


@rule("batch_norm1d", "batch_norm2d", "batch_norm3d")
def batch_norm(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """(x - mean) weight / sqrt(variance + eps) + bias, with all four known to lie in boxes."""
    arriving = numbers(inputs[0])
    shape = [1, -1, *[1] * (arriving.low.dim() - 2)]
    scale = Scale.of(layer, shape)
    mean, mean_spread = _shaped(layer.boxes["running_mean"], shape)
    variance, variance_spread = _shaped(layer.boxes["running_var"], shape)
    inverse = _inverse_deviation(variance, variance_spread, layer.arguments["eps"])
    factor = Bounds(*multiplied(Bounds(scale.low, scale.high), inverse))
    middle, largest = factor.centre, factor.magnitude
    distance = arriving.magnitude + mean.abs() + mean_spread
    noise = (
        factor.radius * torch.maximum((arriving.low - mean).abs(), (arriving.high - mean).abs())
        + largest * mean_spread
        + scale.shift_spread
        + rounding.gamma(FEW) * (largest * distance + scale.shift.abs() + scale.shift_spread)
        + FEW * rounding.TINY * (1 + largest + (1 + inverse.high) * (1 + distance))
    )
    spread = noise + middle.abs() * arriving.radius
    affine: Affine = lambda centres: (centres[0] - mean) * middle + scale.shift  # noqa: E731
    bounds = Bounds.around((arriving.centre - mean) * middle + scale.shift, spread)
    # torch makes x · factor + (bias - mean · factor) of it.
    peak = 2 * ((largest + inverse.high) * distance + largest + scale.shift.abs() + scale.shift_spread)
    return Stage(guarded(bounds, peak), noise, affine, (lambda lines, rows: lines * middle,))


def _inverse_deviation(variance: torch.Tensor, spread: torch.Tensor, eps: float) -> Bounds:
    """1 / sqrt(variance + eps), with the sum in float32 or float64; NaN where that may be zero or less."""
    total = variance + eps
    off = spread + rounding.gamma(2) * (variance.abs() + spread + eps) + 2 * rounding.TINY
    least = torch.where(total - off > rounding.TINY, total - off, torch.nan)
    error = rounding.gamma(FEW)
    return Bounds((total + off).rsqrt() * (1 - error), least.rsqrt() * (1 + error))


def _statistics_refusal(layer: LayerView) -> str | None:
    own = not layer.arguments["track_running_stats"]
    return "it normalises by the statistics of the rows that are predicted together" if own else None


def _instance_refusal(layer: LayerView) -> str | None:
    return "it keeps running statistics" if layer.arguments["track_running_stats"] else None


for _dimensions in "123":
    REFUSALS[f"batch_norm{_dimensions}d"] = _statistics_refusal
    REFUSALS[f"instance_norm{_dimensions}d"] = _instance_refusal


@rule("layer_norm", "rms_norm")
def over_last(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Over the last dimensions of a row."""
    arriving = numbers(inputs[0])
    covered = layer.arguments["normalized_shape"]
    groups = [*arriving.low.shape[: arriving.low.dim() - len(covered)], math.prod(covered)]
    eps = layer.arguments["eps"]
    return normalised(arriving, groups, eps, Scale.of(layer, [1, *covered]), centred=layer.kind == "layer_norm")


@rule("group_norm", "instance_norm1d", "instance_norm2d", "instance_norm3d")
def over_channels(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Over groups of channels of a row."""
    arriving = numbers(inputs[0])
    rows, channels = arriving.low.shape[:2]
    count = layer.arguments["num_groups"] if layer.kind == "group_norm" else channels
    groups = [rows, count, arriving.low[0].numel() // count]
    shape = [1, -1, *[1] * (arriving.low.dim() - 2)]
    return normalised(arriving, groups, layer.arguments["eps"], Scale.of(layer, shape), centred=True)


def normalised(arriving: Bounds, groups: Sequence[int], eps: float, scale: Scale, *, centred: bool) -> Stage:
    """(x - mean) / sqrt(mean square of that + eps), times a scale, plus a shift; over the last dimension of ``groups``.

    The norm of a vector in a box around c with radii r lies within |r| of that of c; taking the mean away shortens it
    at most. float32's error of the variance is bounded for the worst way to compute it: the mean of squares less the
    square of the mean. There are no bounds where the sum of squares may overflow, or either factor of the result.
    """
    shape, terms = arriving.low.shape, groups[-1]
    centre, radius = arriving.centre.reshape(*groups), arriving.radius.reshape(*groups)
    magnitude = arriving.magnitude.reshape(*groups)
    error = rounding.gamma(terms + FEW)

    def away(values: torch.Tensor) -> torch.Tensor:
        return values - values.mean(-1, keepdim=True) if centred else values

    apart, apart_radius = away(centre), radius + (radius.mean(-1, keepdim=True) if centred else 0.0)
    largest = magnitude.amax(-1, keepdim=True)
    loss = (error * largest if centred else 0.0) + FEW * rounding.TINY * (1 + largest)
    distance = apart.abs() + apart_radius + loss
    norm, off = apart.norm(dim=-1, keepdim=True), radius.norm(dim=-1, keepdim=True) + math.sqrt(terms) * loss
    slack = 4 * error * magnitude.square().mean(-1, keepdim=True) + FEW * rounding.TINY
    most = (norm + off).square() / terms + slack + eps
    least = ((norm - off).clamp(min=0).square() / terms - slack).clamp(min=0) + eps
    inverse = Bounds(most.rsqrt() * (1 - error), least.rsqrt() * (1 + error))
    factor = Bounds(*multiplied(_spread_out(scale, groups, shape), inverse))
    middle, size = factor.centre.reshape(shape), factor.magnitude.reshape(shape)
    rounded = rounding.gamma(FEW) * (
        size * (distance + largest).reshape(shape) + scale.shift.abs() + scale.shift_spread
    )
    noise = (
        factor.radius.reshape(shape) * distance.reshape(shape)
        + size * torch.as_tensor(loss).expand(distance.shape).reshape(shape)
        + scale.shift_spread
        + rounded
        + FEW * rounding.TINY * (1 + size + ((1 + inverse.high) * (1 + distance + largest)).reshape(shape))
    )
    spread = noise + middle.abs() * apart_radius.reshape(shape)
    affine: Affine = lambda centres: away(centres[0].reshape(*groups)).reshape(shape) * middle + scale.shift  # noqa: E731

    def pull(lines: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        scaled = (lines * middle[rows]).reshape(len(lines), *groups[1:])
        return away(scaled).reshape(lines.shape)  # taking the mean away is its own transposed

    squares = 4 * terms * largest.square()
    ways = ((size.reshape(groups) + inverse.high) * (distance + largest)).reshape(shape)
    peak = 2 * (ways + size + scale.shift.abs() + scale.shift_spread)
    bounds = guarded(Bounds.around(apart.reshape(shape) * middle + scale.shift, spread), squares, peak)
    found: Pull = pull
    return Stage(bounds, noise, affine, (found,))


def _spread_out(scale: Scale, groups: Sequence[int], shape: torch.Size) -> Bounds:
    """The scale of every number, in groups."""
    one = torch.ones(shape, dtype=torch.float64)
    return Bounds((one * scale.low).reshape(*groups), (one * scale.high).reshape(*groups))


@rule("normalize")
def to_length_one(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Divided by max(norm, eps), by bounds alone; the sum or the Euclidean norm."""
    arriving, dim = numbers(inputs[0]), layer.arguments["dim"]
    exponent, eps = layer.arguments["p"], layer.arguments["eps"]
    terms = arriving.low.shape[dim]
    straddling = (arriving.low <= 0) & (arriving.high >= 0)
    nearest = torch.where(straddling, 0.0, torch.minimum(arriving.low.abs(), arriving.high.abs()))
    least, most = (torch.linalg.vector_norm(ends, exponent, dim, True) for ends in (nearest, arriving.magnitude))
    centre, radius = (torch.linalg.vector_norm(of, exponent, dim, True) for of in (arriving.centre, arriving.radius))
    error = rounding.gamma(terms + FEW)
    lost = terms * (rounding.TINY if exponent == 1 else math.sqrt(rounding.TINY))  # squares may be flushed to zero
    least = (torch.maximum(least, centre - radius) * (1 - error) - lost).clamp(min=eps * (1 - error))
    most = (torch.minimum(most, centre + radius) * (1 + error) + lost).clamp(min=eps * (1 + error))
    low, high = multiplied(arriving, Bounds(1 / most, 1 / least))
    largest = arriving.magnitude.amax(dim, keepdim=True)
    possible = (largest * max(1.0, rounding.LARGEST**0.5 if exponent == 2 else 1.0) * terms) < rounding.LARGEST
    slack = error * torch.maximum(low.abs(), high.abs()) + FEW * rounding.TINY * (1 + 1 / least)
    reach = (1 + 2 * error) * (1 + lost / eps) + FEW * rounding.TINY
    possible &= least > rounding.TINY
    low, high = (low - slack).clamp(min=-reach), (high + slack).clamp(max=reach)
    return cut(torch.where(possible, low, -torch.inf), torch.where(possible, high, torch.inf))


def _norm_refusal(layer: LayerView) -> str | None:
    if layer.arguments["dim"] == 0:
        return "it normalises over the rows that are predicted together"
    return None if layer.arguments["p"] in (1, 2) else "only the norms with exponents 1 and 2 have bounds"


REFUSALS["normalize"] = _norm_refusal


@rule("local_response_norm")
def among_neighbours(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Divided by (k + alpha · mean of the neighbours' squares) ** beta, by bounds alone; alpha, beta >= 0 and k > 0."""
    arriving, size = numbers(inputs[0]), layer.arguments["size"]
    alpha, beta, constant = (float(layer.arguments[name]) for name in ("alpha", "beta", "k"))
    straddling = (arriving.low <= 0) & (arriving.high >= 0)
    nearest = torch.where(straddling, 0.0, torch.minimum(arriving.low.abs(), arriving.high.abs()))
    error = rounding.gamma(size + FEW)
    least = _neighbourhood(nearest.square(), size) * (1 - error) - size * rounding.TINY
    most = _neighbourhood(arriving.magnitude.square(), size) * (1 + error) + size * rounding.TINY
    # What rounds the base or the exponent counts as often as the exponent, or as the base's logarithm, says.
    rough = (error * beta + 100 * rounding.UNIT * beta + FEW * rounding.gamma(FEW)) * 2
    low, high = (
        (constant + alpha * ends.clamp(min=0)).pow(beta) * (1 + sign * rough) for sign, ends in ((-1, least), (1, most))
    )
    found = multiplied(arriving, Bounds(1 / high, 1 / low))
    slack = rounding.gamma(FEW) * torch.maximum(found[0].abs(), found[1].abs()) + FEW * rounding.TINY * (1 + 1 / low)
    possible = (most * (size + alpha) < rounding.LARGEST) & (high < rounding.LARGEST) & (low > rounding.TINY)
    possible &= torch.tensor(rough < ROUGHEST_POWER)
    ends = found[0] - slack, found[1] + slack
    return cut(torch.where(possible, ends[0], -torch.inf), torch.where(possible, ends[1], torch.inf))


ROUGHEST_POWER = 2.0**-6
"""Exponents for which the power's relative error may be larger are so large that nothing is certified."""


def _neighbourhood(squares: torch.Tensor, size: int) -> torch.Tensor:
    """The mean over ``size`` channels around each, with zeros beyond the first and the last."""
    channels = squares.movedim(1, -1)
    padded = torch.nn.functional.pad(channels, [size // 2, (size - 1) // 2])
    return padded.unfold(-1, size, 1).mean(-1).movedim(-1, 1)
