"""A version's network as an ONNX file, layer by layer, with the parameters bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from delc.exchange.naming import dotted
from delc.exchange.onnx_library import onnx
from delc.networks import Layer, ResolvedNetwork
from delc.networks.kinds import axis, per_dimension
from delc.server.errors import InvalidParameter

OPSET = 18
NEWER_OPSET = 20
"""Where the operators Gelu and Pad (wrap) are needed."""
IR_VERSIONS = {OPSET: 8, NEWER_OPSET: 9}
ROWS = "rows"


class Graph:
    """The ONNX graph in the making."""

    def __init__(self, resolved: ResolvedNetwork, state: Mapping[str, torch.Tensor]) -> None:
        self._onnx = onnx()
        self.resolved = resolved
        self._state = state
        self.opset = OPSET
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def add(self, layer: Layer, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """A node; its output is called after the layer."""
        name = output or layer.name
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [name], name=f"{name}:{operator}", **given))
        return name

    def parameter(self, layer: Layer, name: str) -> str:
        """The name of the layer's parameter in the file, or "" where it has none."""
        full = f"{layer.name}.{name}"
        if full not in self._state:
            return ""
        self._put(dotted(full), self._state[full])
        return dotted(full)

    def channels(self, layer: Layer, name: str) -> str:
        """The layer's parameter as (channels, 1, …), so that it goes with the layer's output; "" without it."""
        full = f"{layer.name}.{name}"
        if full not in self._state:
            return ""
        ones = [1] * (len(self.shape(layer.name)) - 1)
        self._put(dotted(full), self._state[full].reshape(-1, *ones))
        return dotted(full)

    def split(self, layer: Layer, inputs: list[str], outputs: list[str], axis: int) -> None:
        """A node that cuts its first input along a dimension into the sizes that the second says."""
        made = self._onnx.helper.make_node("Split", inputs, outputs, name=f"{layer.name}:Split", axis=axis)
        self.nodes.append(made)

    def constant(self, layer: Layer, what: str, value: Any) -> str:
        """A constant of the layer."""
        name = f"{layer.name}/{what}"
        self._put(name, value)
        return name

    def shape(self, value: str) -> tuple[int, ...]:
        """One row's shape of a layer's output or an input."""
        return self.resolved.values[value].shape

    def _put(self, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            if value.dtype is torch.bfloat16:
                value = value.float()
            value = value.detach().contiguous().numpy()
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        self.initializers[name] = self._onnx.numpy_helper.from_array(array, name)

    def model(self, text: str) -> Any:
        """The whole file."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        inputs = [
            helper.make_tensor_value_info(
                name, types.FLOAT if value.dtype == "float32" else types.INT64, [ROWS, *value.shape]
            )
            for name, value in self.resolved.inputs.items()
        ]
        last = self.resolved.network.output.name
        output = helper.make_tensor_value_info(last, types.FLOAT, [ROWS, *self.resolved.output_shape])
        graph = helper.make_graph(self.nodes, "network", inputs, [output], list(self.initializers.values()))
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSIONS[self.opset], producer_name="delc", doc_string=text
        )


def export(resolved: ResolvedNetwork, state: Mapping[str, torch.Tensor], title: str) -> bytes:
    """The file. ``InvalidParameter`` names a kind of layer that ONNX has no operator for here."""
    graph = Graph(resolved, state)
    for layer in resolved.network:
        convert = CONVERTERS.get(layer.kind)
        if convert is None:
            raise InvalidParameter(
                f"{layer} cannot be written as ONNX",
                detail=f"Kinds that can: {', '.join(sorted(CONVERTERS))}.",
                hint="export_program() and export_safetensors() take every kind.",
            )
        convert(graph, layer)
    model = graph.model(f"{title}: outputs before softmax or sigmoid")
    data: bytes = model.SerializeToString()
    return data


Convert = Callable[[Graph, Layer], None]


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
        return
    turned = graph.add(layer, "Transpose", [weight], f"{layer.name}/weight", perm=[1, 0])
    if not bias:
        graph.add(layer, "MatMul", [layer.inputs[0], turned])
        return
    product = graph.add(layer, "MatMul", [layer.inputs[0], turned], f"{layer.name}/product")
    graph.add(layer, "Add", [product, bias])


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
        raise InvalidParameter(f"{layer} cannot be written as ONNX", detail="Its size is even.")
    graph.add(layer, "LRN", list(layer.inputs), size=arguments["size"], alpha=arguments["alpha"],
              beta=arguments["beta"], bias=arguments["k"])  # fmt: skip


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
    first, second = f"{layer.name}/first", f"{layer.name}/second"
    size = graph.shape(layer.inputs[0])[axis(layer.arguments["dim"], len(graph.shape(layer.inputs[0])))] // 2
    parts = graph.constant(layer, "parts", np.array([size, size], dtype=np.int64))
    graph.split(layer, [layer.inputs[0], parts], [first, second], layer.arguments["dim"])
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


def _clip(low: float | str, high: float | str) -> Convert:
    def convert(graph: Graph, layer: Layer) -> None:
        bounds = [layer.arguments[bound] if isinstance(bound, str) else bound for bound in (low, high)]
        given = zip(("low", "high"), bounds, strict=True)
        names = [graph.constant(layer, name, np.float32(bound)) for name, bound in given]
        graph.add(layer, "Clip", [layer.inputs[0], *names])

    return convert


def _gelu(graph: Graph, layer: Layer) -> None:
    """X Φ(x) by Erf, which more programs know than the operator Gelu of opset 20."""
    source = layer.inputs[0]
    if layer.arguments["approximate"] != "none":
        graph.opset = NEWER_OPSET
        graph.add(layer, "Gelu", [source], approximate=layer.arguments["approximate"])
        return
    root = graph.constant(layer, "root", np.float32(2**0.5))
    one, half = graph.constant(layer, "one", np.float32(1)), graph.constant(layer, "half", np.float32(0.5))
    scaled = graph.add(layer, "Div", [source, root], f"{layer.name}/scaled")
    erf = graph.add(layer, "Erf", [scaled], f"{layer.name}/erf")
    above = graph.add(layer, "Add", [erf, one], f"{layer.name}/above")
    twice = graph.add(layer, "Mul", [source, above], f"{layer.name}/twice")
    graph.add(layer, "Mul", [twice, half])


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
    "global_average_pool": _global("GlobalAveragePool"),
    "global_max_pool": _global("GlobalMaxPool"),
    "relu": _operator("Relu"),
    "relu6": _clip(0.0, 6.0),
    "leaky_relu": _operator("LeakyRelu", alpha="negative_slope"),
    "prelu": _prelu,
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
