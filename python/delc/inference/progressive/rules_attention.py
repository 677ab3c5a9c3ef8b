"""Softmax, gates and attention, by bounds alone: what leaves them is known by its range, not by a map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from delc.inference.progressive import rounding
from delc.inference.progressive.boxes import Box
from delc.inference.progressive.rules_arithmetic import rounded_product, widened
from delc.inference.progressive.rules_elementwise import ROUGH, ROUGHEST, Bent, Error, Smooth, bent_stage, smooth_stage
from delc.inference.progressive.rules_linear import Weights, product_stage
from delc.inference.progressive.rules_normalisation import Scale, normalised
from delc.inference.progressive.stages import (
    Bounds,
    Incoming,
    LayerView,
    Stage,
    guarded,
    numbers,
    row_largest,
    rule,
)
from delc.networks.library.attention import causal_mask, padding_mask

GELU_VALLEY = -0.7517915246935645


@rule("softmax", "log_softmax")
def softmax(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Over one dimension."""
    found = softmax_bounds(numbers(inputs[0]), layer.arguments["dim"], log=layer.kind == "log_softmax")
    return Stage(found)


def softmax_bounds(arriving: Bounds, dim: int, *, log: bool = False) -> Bounds:
    """Each number is largest when it is at its upper end and all others are at their lower ones. -inf stays 0."""
    low, high = arriving.low, arriving.high
    terms = low.shape[dim]
    least = low - _logsumexp_others(low, high, dim)
    most = high - _logsumexp_others(high, low, dim)
    if log:
        error = rounding.gamma(terms + 64)
        slack = error * (1 + torch.maximum(least.abs(), most.abs()) + arriving.magnitude.amax(dim, keepdim=True))
        return Bounds(least - slack, most + slack)
    error = rounding.gamma(terms) + ROUGHEST
    # The differences that exp sees are rounded too, by a unit of their size.
    gap = 2 * rounding.gamma(2) * arriving.magnitude.amax(dim, keepdim=True)
    low_end = least.exp() * (1 - error) * torch.exp(-2 * gap) - 2 * rounding.TINY
    high_end = most.exp() * (1 + error) * torch.exp(2 * gap) + 2 * rounding.TINY
    return Bounds(low_end.clamp(min=0), high_end.clamp(max=1 + error))


def _logsumexp_others(own: torch.Tensor, others: torch.Tensor, dim: int) -> torch.Tensor:
    """log(exp(own_i) + sum of exp(others_j) over j other than i), without cancellation: own takes others' place."""
    size = own.shape[dim]
    moved_own, moved = own.movedim(dim, -1), others.movedim(dim, -1)
    swapped = moved.unsqueeze(-2).expand(*moved.shape[:-1], size, size)
    diagonal = torch.eye(size, dtype=torch.bool)
    swapped = torch.where(diagonal, moved_own.unsqueeze(-2), swapped)
    return swapped.logsumexp(-1).movedim(-1, dim)


@rule("glu")
def gated(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """The first half times the sigmoid of the second."""
    arriving, dim = numbers(inputs[0]), layer.arguments["dim"]
    (low, gate_low), (high, gate_high) = arriving.low.chunk(2, dim), arriving.high.chunk(2, dim)
    gate = smooth_stage(Bounds(gate_low, gate_high), Smooth(torch.sigmoid, 0.0963, Error(value=ROUGH))).bounds
    return Stage(rounded_product(Bounds(low, high), gate, 4))


def projected(arriving: Bounds, weight: Box, bias: Box | None) -> Bounds:
    """A linear layer's bounds; none where it may overflow."""
    outputs, terms = weight.centre.shape
    weights = Weights.of(weight, bias, terms, outputs)
    return guarded(product_stage(arriving, weights, terms, functional.linear, lambda lines: lines).bounds)


def part(box: Box | None, start: int, size: int) -> Box | None:
    """Rows of a parameter."""
    return None if box is None else box.rows(start, size)


def products(first: Bounds, second: Bounds) -> Bounds:
    """Matrix products of uncertain matrices (rows, …, n, k) and (rows, …, k, m), by centres and radii; none where a sum
    may overflow.
    """
    terms = first.low.shape[-1]
    centre, radius, size = first.centre, first.radius, first.magnitude
    other, other_radius, other_size = second.centre, second.radius, second.magnitude
    error = rounding.gamma(terms)
    sums = size @ other_size
    spread = centre.abs() @ other_radius + radius @ other_size + error * sums
    reach = row_largest(size) + row_largest(other_size)
    flushed = (terms + 4) * rounding.TINY * (1 + reach.reshape(-1, *[1] * (size.dim() - 1)))
    return guarded(Bounds.around(centre @ other, spread + flushed), sums)


def attention_bounds(
    layer: LayerView, prefix: str, heads: int, sequences: Sequence[Bounds], hidden: torch.Tensor | None
) -> Bounds:
    """Attention of several heads. ``hidden``: (rows or 1, 1, queries or 1, keys), True where nothing is looked at."""
    query, key, value = sequences[0], sequences[min(1, len(sequences) - 1)], sequences[-1]
    size = query.low.shape[-1]
    boxes = {name.removeprefix(prefix): box for name, box in layer.boxes.items() if name.startswith(prefix)}
    joined, bias = boxes.get("in_proj_weight"), boxes.get("in_proj_bias")
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    split = []
    for at, (sequence, name) in enumerate(zip((query, key, value), names, strict=True)):
        weight = boxes[name] if joined is None else part(joined, at * size, size)
        assert weight is not None
        split.append(_in_heads(projected(sequence, weight, part(bias, at * size, size)), heads))
    queries, keys, values = split
    # The scores may be scaled behind the product; the sums over the keys may be of what softmax has not divided yet.
    unscaled = queries.magnitude @ keys.magnitude.transpose(-1, -2)
    factor = 1 / math.sqrt(size // heads)
    scaled = Bounds(*widened(queries.low * factor, queries.high * factor, 8))
    scores = products(scaled, Bounds(keys.low.transpose(-1, -2), keys.high.transpose(-1, -2)))
    scores = guarded(scores, 4 * unscaled, values.magnitude.sum(-2))
    if hidden is not None:
        scores = Bounds(scores.low.masked_fill(hidden, -torch.inf), scores.high.masked_fill(hidden, -torch.inf))
    mixed = products(attention_weights(scores), values)
    out = Bounds(*(end.transpose(1, 2).flatten(2) for end in (mixed.low, mixed.high)))
    return projected(out, boxes["out_proj.weight"], boxes.get("out_proj.bias"))


def attention_weights(scores: Bounds) -> Bounds:
    """Softmax over the keys; positions that are hidden get exactly 0."""
    hidden = scores.high == -torch.inf
    shown = Bounds(scores.low.masked_fill(hidden, 0.0), scores.high.masked_fill(hidden, 0.0))
    error = rounding.gamma(scores.low.shape[-1]) + ROUGHEST
    gap = 4 * rounding.gamma(2) * shown.magnitude.amax(-1, keepdim=True)
    least = (scores.low - _logsumexp_hidden(scores.low, scores.high)).exp()
    most = (scores.high - _logsumexp_hidden(scores.high, scores.low)).exp()
    low = (least * (1 - error) * torch.exp(-gap) - 2 * rounding.TINY).clamp(min=0)
    high = (most * (1 + error) * torch.exp(gap) + 2 * rounding.TINY).clamp(max=1 + error)
    return Bounds(low.masked_fill(hidden, 0.0), high.masked_fill(hidden, 0.0))


def _logsumexp_hidden(own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    found = _logsumexp_others(own, others, -1)
    return found.masked_fill(own == -torch.inf, 0.0)


def _in_heads(bounds: Bounds, heads: int) -> Bounds:
    """(rows, length, features) → (rows, heads, length, features of a head)."""

    def split(end: torch.Tensor) -> torch.Tensor:
        return end.reshape(*end.shape[:2], heads, -1).transpose(1, 2)

    return Bounds(split(bounds.low), split(bounds.high))


def hidden_positions(layer: LayerView, inputs: Sequence[Incoming], length: int) -> torch.Tensor | None:
    """Where nothing is looked at: padding, and what comes later."""
    hidden = causal_mask(length, torch.device("cpu"))[None, None] if layer.arguments["causal"] else None
    if layer.arguments["padding_index"] is None:
        return hidden
    tokens = inputs[-1]
    assert isinstance(tokens, torch.Tensor)
    padding = padding_mask(tokens, layer.arguments["padding_index"])[:, None, None, :]
    return padding if hidden is None else padding | hidden


@rule("multihead_attention")
def attention(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Of one to three sequences."""
    sequences = [value for value in inputs if isinstance(value, Bounds)]
    hidden = hidden_positions(layer, inputs, sequences[0].low.shape[1])
    return Stage(attention_bounds(layer, "", layer.arguments["num_heads"], sequences, hidden))


@rule("transformer_encoder_layer")
def encoder_layer(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """Attention and a feed-forward part, each with a residual connection and a norm before or after it."""
    arriving = numbers(inputs[0])
    hidden = hidden_positions(layer, inputs, arriving.low.shape[1])

    def attend(values: Bounds) -> Bounds:
        return attention_bounds(layer, "self_attn.", layer.arguments["nhead"], [values], hidden)

    def feed(values: Bounds) -> Bounds:
        inner = projected(values, layer.boxes["linear1.weight"], layer.boxes.get("linear1.bias"))
        if layer.arguments["activation"] == "relu":
            inner = bent_stage(inner, Bent(torch.relu, (0.0,))).bounds
        else:
            inner = smooth_stage(inner, Smooth(functional.gelu, 0.7979, Error(input=2 * ROUGH), GELU_VALLEY)).bounds
        return projected(inner, layer.boxes["linear2.weight"], layer.boxes.get("linear2.bias"))

    def norm(values: Bounds, name: str) -> Bounds:
        boxes = {key: layer.boxes[f"{name}.{key}"] for key in ("weight", "bias") if f"{name}.{key}" in layer.boxes}
        view = LayerView(layer.name, "layer_norm", layer.arguments, None, boxes)
        scale = Scale.of(view, [1, 1, -1])
        return normalised(values, values.low.shape, layer.module.norm1.eps, scale, centred=True).bounds

    if layer.arguments["norm_first"]:
        values = together(arriving, attend(norm(arriving, "norm1")))
        values = together(values, feed(norm(values, "norm2")))
    else:
        values = norm(together(arriving, attend(arriving)), "norm1")
        values = norm(together(values, feed(values)), "norm2")
    return Stage(values)


def together(first: Bounds, second: Bounds) -> Bounds:
    """The sum of a residual connection; none where it may overflow. Roundings are of what is added."""
    size = first.magnitude + second.magnitude
    slack = rounding.gamma(2) * size + 4 * rounding.TINY
    return guarded(Bounds(first.low + second.low - slack, first.high + second.high + slack), size)
