"""Attention, encoder layers, positions and masked means as ONNX, in operators that every version since 13 has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from delc.exchange.onnx_graph import Convert, Graph
from delc.networks import Layer
from delc.networks.library.attention import sinusoids

EPS = 1e-5
"""Of the norms in torch's encoder layer."""


@dataclass(frozen=True)
class _Attention:
    """An attention within a layer: its parameters begin with ``prefix``, its values are called ``output`` and more.

    ``size``: features of what comes out; ``keys``: how many there are.
    """

    layer: Layer
    prefix: str
    output: str
    heads: int
    size: int
    keys: int
    tokens: str = ""


def _multihead(graph: Graph, layer: Layer) -> None:
    arguments, inputs = layer.arguments, list(layer.inputs)
    tokens = inputs.pop() if arguments["padding_index"] is not None else ""
    three = [inputs[0], inputs[min(1, len(inputs) - 1)], inputs[-1]]
    size, keys = graph.shape(layer.name)[1], graph.shape(three[1])[0]
    _attend(graph, _Attention(layer, "", layer.name, arguments["num_heads"], size, keys, tokens), three)


def _attend(graph: Graph, attention: _Attention, values: list[str]) -> str:
    """Softmax(q kᵀ / √d) v of each head, then the projection of what all heads give."""
    layer, name = attention.layer, attention.output
    size, width = attention.size, attention.size // attention.heads
    projected = _projected(graph, attention, values)
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    heads = []
    for what, value, order in zip("qkv", projected, orders, strict=True):
        split = graph.reshape(layer, value, [0, 0, attention.heads, width], f"{name}/{what}/heads")
        heads.append(graph.add(layer, "Transpose", [split], f"{name}/{what}/turned", perm=order))
    scale = graph.constant(layer, "scale", np.float32(width**-0.5))
    scaled = graph.add(layer, "Mul", [heads[0], scale], f"{name}/scaled")
    scores = graph.add(layer, "MatMul", [scaled, heads[1]], f"{name}/scores")
    scores = _masked(graph, attention, scores)
    weights = graph.add(layer, "Softmax", [scores], f"{name}/softmax", axis=-1)
    summed = graph.add(layer, "MatMul", [weights, heads[2]], f"{name}/summed")
    turned = graph.add(layer, "Transpose", [summed], f"{name}/turned", perm=[0, 2, 1, 3])
    joined = graph.reshape(layer, turned, [0, 0, size], f"{name}/joined")
    weight, bias = (graph.parameter(layer, f"{attention.prefix}out_proj.{each}") for each in ("weight", "bias"))
    return graph.product(layer, joined, weight, bias, name)


def _projected(graph: Graph, attention: _Attention, values: list[str]) -> list[str]:
    """Query, keys and values; torch keeps their weights in one where all have as many features."""
    layer, prefix, name = attention.layer, attention.prefix, attention.output
    size = attention.size
    together = graph.parameter(layer, f"{prefix}in_proj_weight")
    if together:
        weights = graph.split(layer, together, [size] * 3, 0, "weight")
    else:
        weights = [graph.parameter(layer, f"{prefix}{each}_proj_weight") for each in "qkv"]
    bias = graph.parameter(layer, f"{prefix}in_proj_bias")
    biases = graph.split(layer, bias, [size] * 3, 0, "bias") if bias else [""] * 3
    parts = zip("qkv", values, weights, biases, strict=True)
    return [graph.product(layer, value, weight, bias, f"{name}/{what}") for what, value, weight, bias in parts]


def _masked(graph: Graph, attention: _Attention, scores: str) -> str:
    """The scores, minus infinity where a position must not look."""
    layer, name, keys = attention.layer, attention.output, attention.keys
    if layer.arguments["causal"]:
        later = np.triu(np.full((keys, keys), -np.inf, np.float32), 1)
        scores = graph.add(layer, "Add", [scores, graph.constant(layer, "causal", later)], f"{name}/causal_scores")
    if not attention.tokens:
        return scores
    padding = graph.constant(layer, "padding", np.int64(layer.arguments["padding_index"]))
    others = graph.constant(layer, "later", np.arange(keys) > 0)
    axes = graph.constant(layer, "mask_axes", np.array([1, 2]))
    nothing = graph.constant(layer, "nothing", np.float32(-np.inf))
    empty = graph.add(layer, "Equal", [attention.tokens, padding], f"{name}/empty")
    hidden = graph.add(layer, "And", [empty, others], f"{name}/hidden")
    mask = graph.add(layer, "Unsqueeze", [hidden, axes], f"{name}/mask")
    return graph.add(layer, "Where", [mask, nothing, scores], f"{name}/seen")


def _encoder(graph: Graph, layer: Layer) -> None:
    source, name, tokens = layer.inputs[0], layer.name, (*layer.inputs[1:], "")[0]
    length, size = graph.shape(source)
    heads = layer.arguments["nhead"]
    attention = _Attention(layer, "self_attn.", f"{name}/attention", heads, size, length, tokens)
    if layer.arguments["norm_first"]:
        normal = _norm(graph, layer, "norm1", source)
        between = graph.add(layer, "Add", [source, _attend(graph, attention, [normal] * 3)], f"{name}/between")
        normal = _norm(graph, layer, "norm2", between)
        graph.add(layer, "Add", [between, _forward(graph, layer, normal)])
        return
    added = graph.add(layer, "Add", [source, _attend(graph, attention, [source] * 3)], f"{name}/added")
    between = _norm(graph, layer, "norm1", added)
    summed = graph.add(layer, "Add", [between, _forward(graph, layer, between)], f"{name}/summed")
    _norm(graph, layer, "norm2", summed, name)


def _norm(graph: Graph, layer: Layer, which: str, value: str, output: str | None = None) -> str:
    inputs = [value, graph.parameter(layer, f"{which}.weight"), graph.parameter(layer, f"{which}.bias")]
    name = output or f"{layer.name}/{which}"
    return graph.add(layer, "LayerNormalization", [each for each in inputs if each], name, axis=-1, epsilon=EPS)


def _forward(graph: Graph, layer: Layer, value: str) -> str:
    """The two linear layers with the activation between them."""
    name = layer.name
    wide = _linear(graph, layer, 1, value, f"{name}/wide")
    if layer.arguments["activation"] == "gelu":
        active = graph.gelu(layer, wide, f"{name}/active")
    else:
        active = graph.add(layer, "Relu", [wide], f"{name}/active")
    return _linear(graph, layer, 2, active, f"{name}/forward")


def _linear(graph: Graph, layer: Layer, number: int, value: str, output: str) -> str:
    weight, bias = (graph.parameter(layer, f"linear{number}.{each}") for each in ("weight", "bias"))
    return graph.product(layer, value, weight, bias, output)


def _positions(graph: Graph, layer: Layer) -> None:
    length, features = graph.shape(layer.inputs[0])
    if layer.arguments["method"] == "sinusoidal":
        table = graph.constant(layer, "waves", sinusoids(length, features).numpy())
    else:
        table = graph.tensor(layer, "weight", graph.state(layer, "weight")[:length])
    graph.add(layer, "Add", [layer.inputs[0], table])


def _masked_mean(graph: Graph, layer: Layer) -> None:
    """The sum over positions that are not padding, divided by how many they are, at least 1."""
    name, (sequence, tokens) = layer.name, layer.inputs
    padding = graph.constant(layer, "padding", np.int64(layer.arguments["padding_index"]))
    behind, over = graph.constant(layer, "behind", np.array([2])), graph.constant(layer, "over", np.array([1]))
    one = graph.constant(layer, "one", np.float32(1))
    empty = graph.add(layer, "Equal", [tokens, padding], f"{name}/empty")
    there = graph.add(layer, "Not", [empty], f"{name}/there")
    number = graph.add(layer, "Cast", [there], f"{name}/number", to=graph.types.FLOAT)
    kept = graph.add(layer, "Unsqueeze", [number, behind], f"{name}/kept")
    product = graph.add(layer, "Mul", [sequence, kept], f"{name}/product")
    total = graph.add(layer, "ReduceSum", [product, over], f"{name}/total", keepdims=0)
    count = graph.add(layer, "ReduceSum", [kept, over], f"{name}/count", keepdims=0)
    some = graph.add(layer, "Max", [count, one], f"{name}/some")
    graph.add(layer, "Div", [total, some])


CONVERTERS: dict[str, Convert] = {
    "multihead_attention": _multihead,
    "transformer_encoder_layer": _encoder,
    "positional_encoding": _positions,
    "masked_mean": _masked_mean,
}
"""How these kinds are written."""
