"""Activations: bounds of each number, and a line through them with what the activation is off it.

Piecewise linear functions are bent at known places, so the line through both ends is off by most at one of them. Smooth
ones are off the chord by at most curvature · width² / 8. Where that says less than the range itself, the line is flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from delc.inference.progressive import rounding
from delc.inference.progressive.stages import (
    REFUSALS,
    Affine,
    Bounds,
    Incoming,
    LayerView,
    Stage,
    guarded,
    numbers,
    rule,
)

Function = Callable[[torch.Tensor], torch.Tensor]

ROUGH = 16 * rounding.UNIT
"""Torch's vectorised functions are within a few units of the last place; this is what they are trusted with."""

ROUGHEST = 64 * rounding.UNIT
"""exp has a quicker variant."""


@dataclass(frozen=True)
class Error:
    """What float32 may be off: ``value`` · |f| + ``input`` · |x| + ``fixed``."""

    value: float = 0.0
    input: float = 0.0
    fixed: float = 0.0


EXACT = Error()

REACH = 8.0
"""What a smooth function computes in between is at most so many times its input, where it does not saturate beyond
float32's range as exp does: hardswish takes 6 x before it divides by 6.
"""


@dataclass(frozen=True)
class Bent:
    """A piecewise linear function with its bends."""

    function: Function
    bends: tuple[float, ...]
    error: Error = EXACT


@dataclass(frozen=True)
class Smooth:
    """A smooth function: at most ``curvature`` bent, and falling before ``valley`` (None: nowhere), rising behind."""

    function: Function
    curvature: float
    error: Error
    valley: float | None = None


def bent_stage(arriving: Bounds, bent: Bent) -> Stage:
    """The stage of a piecewise linear function."""
    low, high = arriving.low, arriving.high
    places = torch.stack([low, high, *(torch.minimum(torch.maximum(low, _full(low, at)), high) for at in bent.bends)])
    values = bent.function(places)
    slack = error_of(bent.error, values.abs().amax(0), arriving)
    bounds = Bounds(values.amin(0) - slack, values.amax(0) + slack)
    slope = chord(low, high, values[0], values[1])
    off = values - slope * places
    least, most = off.amin(0), off.amax(0)
    return _line(bounds, slope, (least + most) / 2, (most - least) / 2 + slack, arriving)


def _full(like: torch.Tensor, value: float) -> torch.Tensor:
    return torch.full((), value, dtype=like.dtype)


def smooth_stage(arriving: Bounds, smooth: Smooth) -> Stage:
    """The stage of a smooth function."""
    low, high = arriving.low, arriving.high
    at_low, at_high = smooth.function(low), smooth.function(high)
    least, most = torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)
    if smooth.valley is not None:
        bottom = smooth.function(_full(low, smooth.valley))
        least = torch.where((low < smooth.valley) & (high > smooth.valley), torch.minimum(least, bottom), least)
    slack = error_of(smooth.error, torch.maximum(least.abs(), most.abs()), arriving)
    bounds = guarded(Bounds(least - slack, most + slack), REACH * arriving.magnitude)
    slope = chord(low, high, at_low, at_high)
    off = smooth.curvature * (high - low).square() / 8
    flat = (most - least) / 2
    useful = off < flat
    slope = torch.where(useful, slope, 0.0)
    offset = torch.where(useful, at_low - slope * low, (least + most) / 2)
    return _line(bounds, slope, offset, torch.where(useful, off, flat) + slack, arriving)


def chord(low: torch.Tensor, high: torch.Tensor, at_low: torch.Tensor, at_high: torch.Tensor) -> torch.Tensor:
    """The slope of the line through both ends; 0 where they are one. Any slope is sound."""
    width = high - low
    return torch.where(width > 0, (at_high - at_low) / width, 0.0)


def error_of(error: Error, largest_value: torch.Tensor, arriving: Bounds) -> torch.Tensor:
    """What float32 may be off, for each number."""
    if error == EXACT:
        return torch.zeros_like(largest_value)
    fixed = error.fixed + 4 * rounding.TINY
    return error.value * largest_value + error.input * arriving.magnitude + fixed


def _line(bounds: Bounds, slope: torch.Tensor, offset: torch.Tensor, noise: torch.Tensor, arriving: Bounds) -> Stage:
    noise = noise + rounding.FLOAT64_SLACK * (slope.abs() * arriving.magnitude + offset.abs())
    affine: Affine = lambda centres: slope * centres[0] + offset  # noqa: E731
    return Stage(bounds, noise, affine, (lambda lines, rows: lines * slope[rows],))


# ---- the functions ----


def _relu(layer: LayerView) -> Bent:
    return Bent(torch.relu, (0.0,))


def _relu6(layer: LayerView) -> Bent:
    return Bent(functional.relu6, (0.0, 6.0))


def _leaky_relu(layer: LayerView) -> Bent:
    slope = float(layer.arguments["negative_slope"])
    return Bent(lambda x: functional.leaky_relu(x, slope), (0.0,), Error(value=ROUGH))


def _hardtanh(layer: LayerView) -> Bent:
    low, high = (float(torch.tensor(layer.arguments[name])) for name in ("min_val", "max_val"))
    return Bent(lambda x: x.clamp(low, high), (low, high), Error(value=rounding.UNIT))


def _hardsigmoid(layer: LayerView) -> Bent:
    return Bent(lambda x: functional.relu6(x + 3) / 6, (-3.0, 3.0), Error(fixed=ROUGH))


def _absolute(layer: LayerView) -> Bent:
    return Bent(torch.abs, (0.0,))


BENT: dict[str, Callable[[LayerView], Bent]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "hardsigmoid": _hardsigmoid,
    "abs": _absolute,
}


def _scaled_exponential(alpha: float, scale: float, spread: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function scale · x, or scale · alpha (exp(x / spread) - 1) where x is negative."""
    return lambda x: scale * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0) / spread))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
"""The constants of Klambauer et al. 2017."""

NEVER = math.inf
"""The curvature of a function that has a bend: its chord is not used."""


def _elu(layer: LayerView) -> Smooth:
    alpha = float(layer.arguments["alpha"])
    curvature = alpha if alpha == 1 else NEVER
    return Smooth(_scaled_exponential(alpha, 1.0, 1.0), curvature, Error(value=ROUGH, fixed=ROUGH * alpha))


def _celu(layer: LayerView) -> Smooth:
    alpha = float(layer.arguments["alpha"])
    return Smooth(_scaled_exponential(alpha, 1.0, alpha), 1 / alpha, Error(value=ROUGH, fixed=ROUGH * alpha))


def _selu(layer: LayerView) -> Smooth:
    function = _scaled_exponential(SELU_ALPHA, SELU_SCALE, 1.0)
    return Smooth(function, NEVER, Error(value=ROUGH, fixed=ROUGH * 2))


def _gelu(layer: LayerView) -> Smooth:
    tanh = layer.arguments["approximate"] == "tanh"
    function: Function = lambda x: functional.gelu(x, approximate="tanh" if tanh else "none")  # noqa: E731
    valley = -0.7524614220710162 if tanh else -0.7517915246935645
    return Smooth(function, 0.81 if tanh else 0.7979, Error(input=2 * ROUGH), valley)


def _silu(layer: LayerView) -> Smooth:
    return Smooth(functional.silu, 0.5001, Error(input=ROUGH), -1.2784645427610738)


def _mish(layer: LayerView) -> Smooth:
    return Smooth(functional.mish, 0.65, Error(input=ROUGH), -1.1924312145926246)


def _sigmoid(layer: LayerView) -> Smooth:
    return Smooth(torch.sigmoid, 0.0963, Error(value=ROUGH))


def _log_sigmoid(layer: LayerView) -> Smooth:
    return Smooth(functional.logsigmoid, 0.2501, Error(value=ROUGH, fixed=ROUGH))


def _tanh(layer: LayerView) -> Smooth:
    return Smooth(torch.tanh, 0.77, Error(value=ROUGH))


def _softplus(layer: LayerView) -> Smooth:
    beta, threshold = float(layer.arguments["beta"]), float(layer.arguments["threshold"])
    jump = 1.001 * math.exp(-threshold) / beta  # where torch goes over to x itself
    function: Function = lambda x: torch.logaddexp(beta * x, torch.zeros_like(x)) / beta  # noqa: E731
    return Smooth(function, beta / 4 * 1.0001, Error(value=ROUGH, input=ROUGH, fixed=jump + ROUGH / beta))


def _softsign(layer: LayerView) -> Smooth:
    return Smooth(functional.softsign, 2.0001, Error(value=ROUGH))


def _hardswish(layer: LayerView) -> Smooth:
    return Smooth(lambda x: x * functional.relu6(x + 3) / 6, NEVER, Error(input=ROUGH), -1.5)


def _exponential(layer: LayerView) -> Smooth:
    return Smooth(torch.exp, NEVER, Error(value=ROUGHEST))


SMOOTH: dict[str, Callable[[LayerView], Smooth]] = {
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "sigmoid": _sigmoid,
    "log_sigmoid": _log_sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
    "softsign": _softsign,
    "hardswish": _hardswish,
    "exp": _exponential,
}


def _softplus_refusal(layer: LayerView) -> str | None:
    most = layer.arguments["threshold"] > MOST_THRESHOLD
    return f"up to a threshold above {MOST_THRESHOLD:g} its exponential may overflow" if most else None


MOST_THRESHOLD = 80.0
REFUSALS["softplus"] = _softplus_refusal


@rule(*BENT)
def bent(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """A piecewise linear activation."""
    return bent_stage(numbers(inputs[0]), BENT[layer.kind](layer))


@rule(*SMOOTH)
def smooth(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """A smooth activation, or one that is treated so."""
    return smooth_stage(numbers(inputs[0]), SMOOTH[layer.kind](layer))


@rule("prelu")
def prelu(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Slopes are parameters; what is unknown of one weighs as much as the number is negative."""
    arriving = numbers(inputs[0])
    box = layer.boxes["weight"]
    shape = [1, -1, *[1] * (arriving.low.dim() - 2)]
    slope = box.wide().reshape(shape)
    stage = bent_stage(arriving, Bent(lambda x: torch.where(x > 0, x, slope * x), (0.0,), Error(value=ROUGH)))
    negative = arriving.low.clamp(max=0).abs()
    unknown = (box.spread().reshape(shape) * (1 + ROUGH) + 2 * rounding.TINY) * negative  # slopes may be flushed
    unknown = unknown + 2 * rounding.TINY * box.largest().reshape(shape)
    assert stage.noise is not None
    bounds = Bounds(stage.bounds.low - unknown, stage.bounds.high + unknown)
    return Stage(bounds, stage.noise + unknown, stage.affine, stage.pulls)
