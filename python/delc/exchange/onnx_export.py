"""A version's network as an ONNX file, layer by layer, with the parameters bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from delc.exchange import onnx_export_attention, onnx_export_recurrent
from delc.exchange.onnx_graph import NEWER_OPSET, Convert, Graph
from delc.networks import Layer, ResolvedNetwork
from delc.networks.kinds import axis, per_dimension
from delc.server.errors import InvalidParameter


def export(resolved: ResolvedNetwork, state: Mapping[str, torch.Tensor], title: str) -> bytes:
    """The file. ``InvalidParameter`` names a layer that ONNX has no operators for."""
    graph = Graph(resolved, state)
    for layer in resolved.network:
        CONVERTERS[layer.kind](graph, layer)
    model = graph.model(f"{title}: outputs before softmax or sigmoid")
    data: bytes = model.SerializeToString()
    return data


def _operator(name: str, **attributes: str) -> Convert:
    """One operator; ``attributes``: those of the operator and the arguments that they are."""

    def convert(graph: Graph, layer: Layer) -> None:
        given = {attribute: layer.arguments[argument] for attribute, argument in attributes.items()}
        graph.add(layer, name, list(layer.inputs), **given)

    return convert


def _linear(graph: Graph, layer: Layer) -> None:
    weight, bias = graph.parameter(layer, "weight"), graph.parameter(layer, "bias")
    if len(graph.shape(layer.inputs[0])) == 1:
        graph.add(layer, "Gemm", [layer.inputs[0], weight, *([bias] if bias else [])], transB=1)
    else:
        graph.product(layer, layer.inputs[0], weight, bias)


def _convolution(graph: Graph, layer: Layer) -> None:
    arguments = layer.arguments
    dimensions = len(graph.shape(layer.name)) - 1
    kernel, dilation = (per_dimension(arguments[name], dimensions) for name in ("kernel_size", "dilation"))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": per_dimension(arguments["stride"], dimensions),
        "dilations": dilation,
        "group": arguments["groups"],
        "pads": _pads(arguments["padding"], kernel, dilation),
    }
    source, mode = layer.inputs[0], arguments.get("padding_mode", "zeros")
    if mode != "zeros":
        source = _padded(graph, layer, source, [0, 0, *attributes["pads"][:dimensions]],
                         [0, 0, *attributes["pads"][dimensions:]], mode, f"{layer.name}/padded")  # fmt: skip
        attributes["pads"] = [0] * 2 * dimensions
    transposed = layer.kind.startswith("conv_transpose")
    if transposed:
        attributes["output_padding"] = per_dimension(arguments["output_padding"], dimensions)
    inputs = [source, graph.parameter(layer, "weight"), graph.parameter(layer, "bias")]
    graph.add(layer, "ConvTranspose" if transposed else "Conv", [name for name in inputs if name], **attributes)


_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""How ONNX calls what is added."""


def _padded(
    graph: Graph, layer: Layer, source: str, before: list[int], after: list[int], mode: str, output: str | None = None
) -> str:
    """``before`` and ``after``: what is added to each dimension, rows too."""
    if mode == "circular":
        graph.opset = NEWER_OPSET
    pads = graph.constant(layer, "pads", np.array([*before, *after], dtype=np.int64))
    return graph.add(layer, "Pad", [source, pads], output, mode=_MODES[mode])


def _pads(padding: Any, kernel: list[int], dilation: list[int]) -> list[int]:
    if padding == "same":
        whole = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        return [total // 2 for total in whole] + [total - total // 2 for total in whole]
    sizes = per_dimension(0 if padding == "valid" else padding, len(kernel))
    return sizes + sizes


def _pool(operator: str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        arguments = layer.arguments
        dimensions = len(graph.shape(layer.name)) - 1
        kernel = per_dimension(arguments["kernel_size"], dimensions)
        stride = arguments["stride"]
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": kernel if stride is None else per_dimension(stride, dimensions),
            "pads": 2 * per_dimension(arguments["padding"], dimensions),
            "ceil_mode": int(arguments["ceil_mode"]),
        }
        if operator == "MaxPool":
            attributes["dilations"] = per_dimension(arguments["dilation"], dimensions)
        else:
            attributes["count_include_pad"] = int(arguments["count_include_pad"])
        graph.add(layer, operator, list(layer.inputs), **attributes)

    return convert


def _adaptive(operator: str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        sizes = graph.shape(layer.inputs[0])[1:]
        wanted = per_dimension(layer.arguments["output_size"], len(sizes))
        if any(size % want for size, want in zip(sizes, wanted, strict=True)):
            raise InvalidParameter(
                f"{layer} cannot be written as ONNX",
                detail=f"The grid {wanted} does not divide the sizes {list(sizes)}.",
            )
        kernel = [size // want for size, want in zip(sizes, wanted, strict=True)]
        graph.add(layer, operator, list(layer.inputs), kernel_shape=kernel, strides=kernel)

    return convert


def _global(operator: str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        pooled = graph.add(layer, operator, list(layer.inputs), f"{layer.name}/pooled")
        graph.add(layer, "Flatten", [pooled], axis=1)

    return convert


def _batch_norm(graph: Graph, layer: Layer) -> None:
    if not layer.arguments["track_running_stats"]:
        raise InvalidParameter(f"{layer} cannot be written as ONNX", detail="It keeps no running statistics.")
    channels = graph.shape(layer.name)[0]
    weight = graph.parameter(layer, "weight") or graph.constant(layer, "one", np.ones(channels, np.float32))
    bias = graph.parameter(layer, "bias") or graph.constant(layer, "zero", np.zeros(channels, np.float32))
    mean, variance = graph.parameter(layer, "running_mean"), graph.parameter(layer, "running_var")
    graph.add(
        layer, "BatchNormalization", [layer.inputs[0], weight, bias, mean, variance], epsilon=layer.arguments["eps"],
        momentum=1 - (layer.arguments["momentum"] or 0.0),
    )  # fmt: skip


def _layer_norm(graph: Graph, layer: Layer) -> None:
    shape = layer.arguments["normalized_shape"]
    weight = graph.parameter(layer, "weight") or graph.constant(layer, "one", np.ones(shape, np.float32))
    bias = graph.parameter(layer, "bias")
    inputs = [layer.inputs[0], weight, *([bias] if bias else [])]
    graph.add(layer, "LayerNormalization", inputs, axis=-len(shape), epsilon=layer.arguments["eps"])


def _rms_norm(graph: Graph, layer: Layer) -> None:
    """The operator RMSNormalization came with opset 23, so it is written as torch writes it."""
    axes = np.arange(-len(layer.arguments["normalized_shape"]), 0)
    source, name = layer.inputs[0], layer.name
    two = graph.constant(layer, "two", np.float32(2))
    eps = graph.constant(layer, "eps", np.float32(layer.arguments["eps"]))
    square = graph.add(layer, "Pow", [source, two], f"{name}/square")
    mean = graph.add(layer, "ReduceMean", [square, graph.constant(layer, "axes", axes)], f"{name}/mean", keepdims=1)
    added = graph.add(layer, "Add", [mean, eps], f"{name}/added")
    root = graph.add(layer, "Sqrt", [added], f"{name}/root")
    inverse = graph.add(layer, "Reciprocal", [root], f"{name}/inverse")
    weight = graph.parameter(layer, "weight")
    scaled = graph.add(layer, "Mul", [source, inverse], f"{name}/scaled" if weight else None)
    if weight:
        graph.add(layer, "Mul", [scaled, weight])


def _instance_norm(graph: Graph, layer: Layer) -> None:
    """With running statistics it is what batch_norm does in prediction."""
    if layer.arguments["track_running_stats"]:
        _batch_norm(graph, layer)
        return
    channels = graph.shape(layer.name)[0]
    weight = graph.parameter(layer, "weight") or graph.constant(layer, "one", np.ones(channels, np.float32))
    bias = graph.parameter(layer, "bias") or graph.constant(layer, "zero", np.zeros(channels, np.float32))
    eps = layer.arguments["eps"]
    graph.add(layer, "InstanceNormalization", [layer.inputs[0], weight, bias], epsilon=eps)


def _group_norm(graph: Graph, layer: Layer) -> None:
    """GroupNormalization scaled groups instead of channels until opset 21, so it is written as torch writes it."""
    name, source, groups = layer.name, layer.inputs[0], layer.arguments["num_groups"]
    sizes = graph.constant(layer, "groups", np.array([0, groups, -1], dtype=np.int64))
    one, zero = (graph.constant(layer, what, np.full(groups, number, np.float32)) for what, number in _PLAIN)
    grouped = graph.add(layer, "Reshape", [source, sizes], f"{name}/grouped")
    eps = layer.arguments["eps"]
    normal = graph.add(layer, "InstanceNormalization", [grouped, one, zero], f"{name}/normal", epsilon=eps)
    shape = graph.add(layer, "Shape", [source], f"{name}/shape")
    weight, bias = (graph.channels(layer, each) for each in ("weight", "bias"))
    back = graph.add(layer, "Reshape", [normal, shape], f"{name}/back" if weight else None)
    if weight:
        scaled = graph.add(layer, "Mul", [back, weight], f"{name}/scaled")
        graph.add(layer, "Add", [scaled, bias])


_PLAIN = (("one", 1.0), ("zero", 0.0))


def _response_norm(graph: Graph, layer: Layer) -> None:
    arguments = layer.arguments
    if arguments["size"] % 2 == 0:
        _even_response_norm(graph, layer)
        return
    graph.add(layer, "LRN", list(layer.inputs), size=arguments["size"], alpha=arguments["alpha"],
              beta=arguments["beta"], bias=arguments["k"])  # fmt: skip


def _even_response_norm(graph: Graph, layer: Layer) -> None:
    """X / (k + alpha · mean of neighbours' squares)^beta: of an even size, LRN takes other neighbours than torch."""
    source, name, arguments = layer.inputs[0], layer.name, layer.arguments
    channels, *rest = graph.shape(source)
    square = graph.add(layer, "Mul", [source, source], f"{name}/square")
    plane = graph.reshape(layer, square, [0, 1, channels, math.prod(rest)], f"{name}/plane")
    half = arguments["size"] // 2
    mean = graph.add(layer, "AveragePool", [plane], f"{name}/mean", kernel_shape=[arguments["size"], 1],
                     pads=[half, 0, half - 1, 0], count_include_pad=1)  # fmt: skip
    back = graph.reshape(layer, mean, [0, channels, *rest], f"{name}/back")
    alpha, beta, k = (graph.constant(layer, each, np.float32(arguments[each])) for each in ("alpha", "beta", "k"))
    scaled = graph.add(layer, "Mul", [back, alpha], f"{name}/scaled")
    added = graph.add(layer, "Add", [scaled, k], f"{name}/added")
    power = graph.add(layer, "Pow", [added, beta], f"{name}/power")
    graph.add(layer, "Div", [source, power])


def _upsample(graph: Graph, layer: Layer) -> None:
    factor, mode = layer.arguments["scale_factor"], layer.arguments["mode"]
    behind = len(graph.shape(layer.name)) - 1
    scales = graph.constant(layer, "scales", np.array([1, 1, *[factor] * behind], dtype=np.float32))
    places = "asymmetric" if mode == "nearest" else "half_pixel"
    written = {"nearest": "nearest", "bicubic": "cubic"}.get(mode, "linear")
    graph.add(layer, "Resize", [layer.inputs[0], "", scales], mode=written, coordinate_transformation_mode=places,
              nearest_mode="floor", cubic_coeff_a=-0.75)  # fmt: skip


def _pad(graph: Graph, layer: Layer) -> None:
    arguments, rank = layer.arguments, len(graph.shape(layer.name)) + 1
    sides = [*arguments["pad"], *[0] * (2 * rank - len(arguments["pad"]))]
    before, after = sides[0::2][::-1], sides[1::2][::-1]
    if arguments["mode"] != "constant":
        _padded(graph, layer, layer.inputs[0], before, after, arguments["mode"])
        return
    pads = graph.constant(layer, "pads", np.array([*before, *after], dtype=np.int64))
    number = graph.constant(layer, "value", np.float32(arguments["value"]))
    graph.add(layer, "Pad", [layer.inputs[0], pads, number], mode="constant")


def _glu(graph: Graph, layer: Layer) -> None:
    size = graph.shape(layer.inputs[0])[axis(layer.arguments["dim"], len(graph.shape(layer.inputs[0])))] // 2
    first, second = graph.split(layer, layer.inputs[0], [size, size], layer.arguments["dim"])
    gate = graph.add(layer, "Sigmoid", [second], f"{layer.name}/gate")
    graph.add(layer, "Mul", [first, gate])


def _stack(graph: Graph, layer: Layer) -> None:
    rank, dim = len(graph.shape(layer.name)) + 1, layer.arguments["dim"]
    axes = graph.constant(layer, "axes", np.array([dim % rank], dtype=np.int64))
    parts = [graph.add(layer, "Unsqueeze", [each, axes], f"{layer.name}/{at}") for at, each in enumerate(layer.inputs)]
    graph.add(layer, "Concat", parts, axis=dim % rank)


def _embedding(graph: Graph, layer: Layer) -> None:
    graph.add(layer, "Gather", [graph.parameter(layer, "weight"), layer.inputs[0]], axis=0)


def _prelu(graph: Graph, layer: Layer) -> None:
    graph.add(layer, "PRelu", [layer.inputs[0], graph.channels(layer, "weight")])


def _normalize(graph: Graph, layer: Layer) -> None:
    """X / max(‖x‖, eps), the norm as a sum of powers: LpNormalization divides by 0, and knows but two norms."""
    source, name, p = layer.inputs[0], layer.name, layer.arguments["p"]
    axes = graph.constant(layer, "axes", np.array([layer.arguments["dim"]], dtype=np.int64))
    if p in (1, 2):
        norm = graph.add(layer, f"ReduceL{int(p)}", [source, axes], f"{name}/norm", keepdims=1)
    else:
        size = graph.add(layer, "Abs", [source], f"{name}/size")
        power = graph.add(layer, "Pow", [size, graph.constant(layer, "p", np.float32(p))], f"{name}/power")
        total = graph.add(layer, "ReduceSum", [power, axes], f"{name}/sum", keepdims=1)
        norm = graph.add(layer, "Pow", [total, graph.constant(layer, "root", np.float32(1 / p))], f"{name}/norm")
    least = graph.constant(layer, "eps", np.float32(layer.arguments["eps"]))
    divisor = graph.add(layer, "Max", [norm, least], f"{name}/divisor")
    graph.add(layer, "Div", [source, divisor])


def _clip(low: float | str, high: float | str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        bounds = [layer.arguments[bound] if isinstance(bound, str) else bound for bound in (low, high)]
        given = zip(("low", "high"), bounds, strict=True)
        names = [graph.constant(layer, name, np.float32(bound)) for name, bound in given]
        graph.add(layer, "Clip", [layer.inputs[0], *names])

    return convert


def _gelu(graph: Graph, layer: Layer) -> None:
    if layer.arguments["approximate"] == "none":
        graph.gelu(layer, layer.inputs[0])
        return
    graph.opset = NEWER_OPSET
    graph.add(layer, "Gelu", [layer.inputs[0]], approximate=layer.arguments["approximate"])


def _silu(graph: Graph, layer: Layer) -> None:
    gate = graph.add(layer, "Sigmoid", [layer.inputs[0]], f"{layer.name}/gate")
    graph.add(layer, "Mul", [layer.inputs[0], gate])


def _log_sigmoid(graph: Graph, layer: Layer) -> None:
    negated = graph.add(layer, "Neg", [layer.inputs[0]], f"{layer.name}/negated")
    grown = graph.add(layer, "Softplus", [negated], f"{layer.name}/grown")
    graph.add(layer, "Neg", [grown])


def _softplus(graph: Graph, layer: Layer) -> None:
    """Above the threshold x itself, as in torch; with torch's own arguments float32 cannot tell."""
    source, beta, threshold = layer.inputs[0], layer.arguments["beta"], layer.arguments["threshold"]
    if beta == 1 and threshold >= 20:
        graph.add(layer, "Softplus", [source])
        return
    factor, most = graph.constant(layer, "beta", np.float32(beta)), graph.constant(layer, "most", np.float32(threshold))
    scaled = graph.add(layer, "Mul", [source, factor], f"{layer.name}/scaled")
    grown = graph.add(layer, "Softplus", [scaled], f"{layer.name}/grown")
    divided = graph.add(layer, "Div", [grown, factor], f"{layer.name}/divided")
    above = graph.add(layer, "Greater", [scaled, most], f"{layer.name}/above")
    graph.add(layer, "Where", [above, source, divided])


def _hard_sigmoid(graph: Graph, layer: Layer) -> None:
    graph.add(layer, "HardSigmoid", [layer.inputs[0]], alpha=1 / 6, beta=0.5)


def _reshape(graph: Graph, layer: Layer) -> None:
    """Whatever rearranges the numbers of a row without moving them."""
    sizes = graph.constant(layer, "shape", np.array([-1, *graph.shape(layer.name)], dtype=np.int64))
    graph.add(layer, "Reshape", [layer.inputs[0], sizes])


def _permute(graph: Graph, layer: Layer) -> None:
    rank = len(graph.shape(layer.inputs[0])) + 1
    graph.add(layer, "Transpose", [layer.inputs[0]], perm=[0, *[dim % rank for dim in layer.arguments["dims"]]])


def _transpose(graph: Graph, layer: Layer) -> None:
    order = list(range(len(graph.shape(layer.inputs[0])) + 1))
    first, second = layer.arguments["dim0"], layer.arguments["dim1"]
    order[first], order[second] = order[second], order[first]
    graph.add(layer, "Transpose", [layer.inputs[0]], perm=order)


def _select(graph: Graph, layer: Layer) -> None:
    index = graph.constant(layer, "index", np.array(layer.arguments["index"], dtype=np.int64))
    graph.add(layer, "Gather", [layer.inputs[0], index], axis=layer.arguments["dim"])


def _slice(graph: Graph, layer: Layer) -> None:
    arguments = layer.arguments
    end = 2**62 if arguments["end"] is None else arguments["end"]
    parts = {"start": arguments["start"], "end": end, "dim": arguments["dim"], "step": arguments["step"]}
    names = [graph.constant(layer, name, np.array([value], dtype=np.int64)) for name, value in parts.items()]
    graph.add(layer, "Slice", [layer.inputs[0], *names])


def _combine(operator: str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        sources = list(layer.inputs)
        if layer.arguments["constant"] is not None:
            sources.append(graph.constant(layer, "constant", np.float32(layer.arguments["constant"])))
        so_far = sources[0]
        for place, source in enumerate(sources[1:], start=1):
            output = None if place == len(sources) - 1 else f"{layer.name}/{place}"
            so_far = graph.add(layer, operator, [so_far, source], output)

    return convert


def _reduce(operator: str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        dims = layer.arguments["dim"]
        axes = graph.constant(layer, "axes", np.array(dims if isinstance(dims, list) else [dims], dtype=np.int64))
        graph.add(layer, operator, [layer.inputs[0], axes], keepdims=int(layer.arguments["keepdim"]))

    return convert


def _same(graph: Graph, layer: Layer) -> None:
    graph.add(layer, "Identity", [layer.inputs[0]])


CONVERTERS: dict[str, Convert] = {
    "linear": _linear,
    "embedding": _embedding,
    **{f"conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _convolution for n in (1, 2, 3)},
    **{f"max_pool{n}d": _pool("MaxPool") for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _pool("AveragePool") for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive("MaxPool") for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive("AveragePool") for n in (1, 2, 3)},
    **onnx_export_recurrent.CONVERTERS,
    **onnx_export_attention.CONVERTERS,
    "global_average_pool": _global("GlobalAveragePool"),
    "global_max_pool": _global("GlobalMaxPool"),
    "relu": _operator("Relu"),
    "relu6": _clip(0.0, 6.0),
    "leaky_relu": _operator("LeakyRelu", alpha="negative_slope"),
    "prelu": _prelu,
    "normalize": _normalize,
    "elu": _operator("Elu", alpha="alpha"),
    "celu": _operator("Celu", alpha="alpha"),
    "selu": _operator("Selu"),
    "gelu": _gelu,
    "silu": _silu,
    "mish": _operator("Mish"),
    "sigmoid": _operator("Sigmoid"),
    "log_sigmoid": _log_sigmoid,
    "tanh": _operator("Tanh"),
    "softplus": _softplus,
    "softsign": _operator("Softsign"),
    "hardswish": _operator("HardSwish"),
    "hardsigmoid": _hard_sigmoid,
    "hardtanh": _clip("min_val", "max_val"),
    "softmax": _operator("Softmax", axis="dim"),
    "log_softmax": _operator("LogSoftmax", axis="dim"),
    "abs": _operator("Abs"),
    "exp": _operator("Exp"),
    **{f"batch_norm{n}d": _batch_norm for n in (1, 2, 3)},
    **{f"instance_norm{n}d": _instance_norm for n in (1, 2, 3)},
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "local_response_norm": _response_norm,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), _same),
    "identity": _same,
    "flatten": _reshape,
    "unflatten": _reshape,
    "reshape": _reshape,
    "unsqueeze": _reshape,
    "squeeze": _reshape,
    "permute": _permute,
    "transpose": _transpose,
    "select": _select,
    "slice": _slice,
    "concat": _operator("Concat", axis="dim"),
    "stack": _stack,
    "pad": _pad,
    "upsample": _upsample,
    "glu": _glu,
    "add": _combine("Add"),
    "subtract": _combine("Sub"),
    "multiply": _combine("Mul"),
    "divide": _combine("Div"),
    "mean": _reduce("ReduceMean"),
    "sum": _reduce("ReduceSum"),
    "max": _reduce("ReduceMax"),
    "min": _reduce("ReduceMin"),
}
"""How each kind is written."""
