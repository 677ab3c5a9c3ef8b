"""Arithmetic of inputs with each other or with a constant."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from delc.inference.progressive import rounding
from delc.inference.progressive.rules_shapes import linear_stage, pulls_of
from delc.inference.progressive.stages import Affine, Bounds, Incoming, LayerView, Stage, guarded, numbers, rule


@rule("add")
def add(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Of inputs, or of one and a constant, which float32 rounds like another input."""
    constant = layer.arguments["constant"]
    arriving = [numbers(value) for value in inputs]
    if constant is not None:
        return shifted(arriving[0], rounding.single(constant))
    return linear_stage(layer.module, arriving, len(arriving))


@rule("subtract")
def subtract(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """The first input less the second or a constant."""
    first = numbers(inputs[0])
    if layer.arguments["constant"] is not None:
        return shifted(first, -rounding.single(layer.arguments["constant"]))
    second = numbers(inputs[1])
    noise = rounding.gamma(2) * (first.magnitude + second.magnitude) + 4 * rounding.TINY
    bounds = Bounds(first.low - second.high - noise, first.high - second.low + noise)
    affine: Affine = lambda centres: centres[0] - centres[1]  # noqa: E731
    return Stage(bounds, noise, affine, pulls_of(torch.subtract, [first, second]))


def shifted(arriving: Bounds, constant: float) -> Stage:
    """A float32 constant added."""
    noise = rounding.gamma(2) * (arriving.magnitude + abs(constant)) + 4 * rounding.TINY
    bounds = Bounds(arriving.low + constant - noise, arriving.high + constant + noise)
    return Stage(bounds, noise, lambda centres: centres[0] + constant, (lambda lines, rows: lines,))


@rule("multiply", "divide")
def scale(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """By a constant, or inputs by one another (then only bounds are kept)."""
    constant = layer.arguments["constant"]
    arriving = [numbers(value) for value in inputs]
    if constant is None:
        return functools.reduce(product if layer.kind == "multiply" else quotient, arriving[1:], _as_stage(arriving[0]))
    factor = rounding.single(constant)
    return scaled(arriving[0], factor if layer.kind == "multiply" else 1 / factor)


def scaled(arriving: Bounds, factor: float) -> Stage:
    """Times a constant."""
    noise = rounding.gamma(4) * abs(factor) * arriving.magnitude
    noise = noise + 4 * rounding.TINY * (1 + abs(factor) + arriving.magnitude)
    ends = arriving.low * factor, arriving.high * factor
    bounds = Bounds(torch.minimum(*ends) - noise, torch.maximum(*ends) + noise)
    return Stage(bounds, noise, lambda centres: centres[0] * factor, (lambda lines, rows: lines * factor,))


def _as_stage(bounds: Bounds) -> Stage:
    return Stage(bounds)


def product(stage: Stage, other: Bounds) -> Stage:
    """The bounds of a product, which may be a factor of another: none where it may overflow."""
    return Stage(rounded_product(stage.bounds, other, 2))


def quotient(stage: Stage, other: Bounds) -> Stage:
    """The bounds of a quotient; none where the divisor may be zero, or be flushed to it."""
    possible = (other.low > 2 * rounding.TINY) | (other.high < -2 * rounding.TINY)
    inverse = Bounds(torch.where(possible, 1 / other.high, -torch.inf), torch.where(possible, 1 / other.low, torch.inf))
    return Stage(rounded_product(stage.bounds, inverse, 4))


def multiplied(first: Bounds, second: Bounds) -> tuple[torch.Tensor, torch.Tensor]:
    """The exact range of products of numbers from both."""
    one, other = first.low * second.low, first.low * second.high
    third, fourth = first.high * second.low, first.high * second.high
    least = torch.minimum(torch.minimum(one, other), torch.minimum(third, fourth))
    return least, torch.maximum(torch.maximum(one, other), torch.maximum(third, fourth))


def rounded_product(first: Bounds, second: Bounds, roundings: int) -> Bounds:
    """The bounds of a product that float32 computes, with factors that may be flushed to zero; none where it may
    overflow.
    """
    low, high = widened(*multiplied(first, second), roundings)
    flushed = 2 * rounding.TINY * (first.magnitude + second.magnitude)
    return guarded(Bounds(low - flushed, high + flushed))


def widened(low: torch.Tensor, high: torch.Tensor, roundings: int) -> tuple[torch.Tensor, torch.Tensor]:
    """With so many roundings of the result."""
    slack = rounding.gamma(roundings) * torch.maximum(low.abs(), high.abs()) + roundings * rounding.TINY
    return low - slack, high + slack
