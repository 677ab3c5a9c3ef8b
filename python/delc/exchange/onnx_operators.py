"""What the operators of ONNX are as layers."""

from __future__ import annotations

from typing import Any

from delc.exchange import onnx_normalisation, onnx_space
from delc.exchange.assembly import Assembly, refuse
from delc.exchange.onnx_operator import Convert, Operator, integers, needed, parameter

END = 2**31

SELU = (1.6732632423543772, 1.0507009873554805)
"""alpha and scale, Klambauer et al. 2017, section 2."""


def _simple(kind: str, **names: str) -> Convert:
    """An operator of one input; ``names``: the kind's arguments and the attributes that they are."""

    def convert(assembly: Assembly, operator: Operator) -> None:
        arguments = {argument: operator.get(name) for argument, name in names.items()}
        assembly.add(operator.output, kind, [operator.value], arguments)

    return convert


def _gemm(assembly: Assembly, operator: Operator) -> None:
    if operator.get("transA") or operator.get("alpha", 1.0) != 1 or operator.get("beta", 1.0) != 1:
        refuse("a Gemm with transA, alpha or beta")
    weight = needed(assembly, operator, 1)
    weight = weight if operator.get("transB") else weight.t().contiguous()
    bias = parameter(assembly, operator, 2)
    bias = bias.reshape(-1).expand(weight.shape[0]).contiguous() if bias is not None else None
    assembly.linear(operator.output, operator.value, weight, bias, operator.inputs[1])


def _matmul(assembly: Assembly, operator: Operator) -> None:
    weight = needed(assembly, operator, 1)
    if weight.dim() != 2:
        refuse(f"a MatMul with a tensor of {weight.dim()} dimensions")
    assembly.linear(operator.output, operator.value, weight.t().contiguous(), None, operator.inputs[1])


def _convolution(assembly: Assembly, operator: Operator) -> None:
    weight = needed(assembly, operator, 1)
    arguments: dict[str, Any] = {
        "stride": operator.get("strides"),
        "padding": _padding(operator, weight.dim() - 2),
        "dilation": operator.get("dilations"),
        "groups": operator.get("group", 1),
    }
    transposed = operator.name == "ConvTranspose"
    if transposed:
        arguments["output_padding"] = operator.get("output_padding")
        if operator.get("output_shape") is not None:
            refuse("a ConvTranspose with output_shape")
    given = {name: value for name, value in arguments.items() if value is not None}
    bias = parameter(assembly, operator, 2)
    assembly.convolution(operator.output, operator.value, weight, bias, operator.inputs[1], given, transposed)


def _padding(operator: Operator, dimensions: int) -> Any:
    automatic = operator.get("auto_pad", "NOTSET")
    if automatic not in ("NOTSET", "VALID"):
        kernel = operator.get("kernel_shape") or []
        plain = all(size % 2 for size in kernel) and set(operator.get("strides", [1])) == {1}
        plain = plain and operator.name == "Conv"
        if automatic in ("SAME_UPPER", "SAME_LOWER") and kernel and plain:
            return "same"
        refuse(f"a {operator.name} with auto_pad {automatic}")
    pads = operator.get("pads")
    if not pads:
        return None
    if pads[:dimensions] != pads[dimensions:]:
        refuse(f"a {operator.name} with other padding at the end than at the beginning")
    return pads[:dimensions]


def _gather(assembly: Assembly, operator: Operator) -> None:
    table, indices = assembly.tensor(operator.inputs[0]), operator.inputs[1]
    if table is not None and table.dim() == 2 and operator.get("axis", 0) == 0 and assembly.is_computed(indices):
        assembly.embedding(operator.output, indices, table, operator.inputs[0])
        return
    index = assembly.tensor(indices)
    if index is None or index.dim() != 0 or operator.get("axis", 0) == 0:
        refuse("a Gather other than from a table of embeddings or one position of a dimension")
    arguments = {"dim": operator.get("axis", 0), "index": int(index)}
    assembly.add(operator.output, "select", [operator.value], arguments)


def _prelu(assembly: Assembly, operator: Operator) -> None:
    slopes = needed(assembly, operator, 1)
    behind = assembly.rank(operator.value) - 2
    if slopes.numel() > 1 and tuple(slopes.shape[-behind - 1 :]) != (slopes.numel(), *[1] * behind):
        refuse("a PRelu with slopes other than one for each channel")
    slopes = slopes.reshape(-1)
    arguments = {"num_parameters": slopes.numel()}
    assembly.add(operator.output, "prelu", [operator.value], arguments, {"weight": slopes}, operator.inputs[1])


def _pool(kind: str) -> Convert:
    def convert(assembly: Assembly, operator: Operator) -> None:
        kernel = operator.get("kernel_shape")
        arguments = {
            "kernel_size": kernel,
            "stride": operator.get("strides", [1] * len(kernel)),
            "padding": _padding(operator, len(kernel)),
            "ceil_mode": bool(operator.get("ceil_mode", 0)),
        }
        if kind == "max":
            arguments["dilation"] = operator.get("dilations")
        else:
            arguments["count_include_pad"] = bool(operator.get("count_include_pad", 0))
        assembly.add(operator.output, f"{kind}_pool{len(kernel)}d", [operator.value], arguments)

    return convert


def _global_pool(kind: str) -> Convert:
    """ONNX keeps the dimensions with size 1."""

    def convert(assembly: Assembly, operator: Operator) -> None:
        over = assembly.rank(operator.value) - 2
        arguments = {"output_size": 1}
        assembly.add(operator.output, f"adaptive_{kind}_pool{over}d", [operator.value], arguments)

    return convert


def _clip(assembly: Assembly, operator: Operator) -> None:
    bounds = []
    for place, name in ((1, "min"), (2, "max")):
        tensor = parameter(assembly, operator, place)
        bounds.append(operator.get(name) if tensor is None else tensor.item())
    if bounds == [0.0, 6.0]:
        assembly.add(operator.output, "relu6", [operator.value])
    elif bounds[0] == 0 and bounds[1] is None:
        assembly.add(operator.output, "relu", [operator.value])
    elif None in bounds:
        refuse("a Clip with one bound")
    else:
        assembly.add(operator.output, "hardtanh", [operator.value], {"min_val": bounds[0], "max_val": bounds[1]})


def _reshape(assembly: Assembly, operator: Operator) -> None:
    sizes = integers(assembly, operator, 1, "shape")
    assembly.reshape(operator.output, operator.value, [size or None for size in sizes or []])


def _flatten(assembly: Assembly, operator: Operator) -> None:
    if operator.get("axis", 1) != 1:
        refuse("a Flatten that joins the rows")
    assembly.add(operator.output, "flatten", [operator.value])


def _transpose(assembly: Assembly, operator: Operator) -> None:
    order = operator.get("perm") or []
    if not order or order[0] != 0:
        refuse("a Transpose that moves the rows")
    assembly.add(operator.output, "permute", [operator.value], {"dims": order[1:]})


def _one_axis(kind: str) -> Convert:
    def convert(assembly: Assembly, operator: Operator) -> None:
        axes = integers(assembly, operator, 1, "axes")
        if axes is None or len(axes) != 1:
            refuse(f"the operator {operator.name} over several dimensions")
        assembly.add(operator.output, kind, [operator.value], {"dim": axes[0]})

    return convert


def _slice(assembly: Assembly, operator: Operator) -> None:
    starts, ends = integers(assembly, operator, 1, "starts"), integers(assembly, operator, 2, "ends")
    axes, steps = integers(assembly, operator, 3, "axes"), integers(assembly, operator, 4, "steps") or [1]
    if starts is None or ends is None or axes is None or len(axes) != 1 or steps[0] < 1 or axes[0] == 0:
        refuse("a Slice over the rows, over several dimensions or backwards")
    end = None if ends[0] >= END - 1 else ends[0]
    arguments = {"dim": axes[0], "start": starts[0], "end": end, "step": steps[0]}
    assembly.add(operator.output, "slice", [operator.value], arguments)


def _concat(assembly: Assembly, operator: Operator) -> None:
    assembly.add(operator.output, "concat", operator.inputs, {"dim": operator.get("axis")})


def _combine(kind: str) -> Convert:
    def convert(assembly: Assembly, operator: Operator) -> None:
        first, second = operator.inputs
        if kind == "add" and _adds_bias(assembly, operator, first, second):
            return
        assembly.combine(operator.output, kind, first, second)

    return convert


def _adds_bias(assembly: Assembly, operator: Operator, first: str, second: str) -> bool:
    """A MatMul and an Add are one linear layer."""
    value, other = (first, second) if assembly.is_computed(first) else (second, first)
    bias = assembly.tensor(other)
    return bias is not None and bias.dim() == 1 and assembly.give_bias(operator.output, value, bias)


def _reduce(kind: str) -> Convert:
    def convert(assembly: Assembly, operator: Operator) -> None:
        axes = integers(assembly, operator, 1, "axes")
        if axes is None:
            refuse(f"the operator {operator.name} over all dimensions")
        arguments = {"dim": axes[0] if len(axes) == 1 else axes, "keepdim": bool(operator.get("keepdims", 1))}
        assembly.add(operator.output, kind, [operator.value], arguments)

    return convert


def _softmax(kind: str) -> Convert:
    def convert(assembly: Assembly, operator: Operator) -> None:
        axis = operator.get("axis", -1 if operator.opset >= 13 else 1)
        last = axis in (-1, assembly.rank(operator.value) - 1)
        if operator.opset < 13 and not last:
            refuse(f"the operator {operator.name} over several dimensions, as before opset 13")
        assembly.add(operator.output, kind, [operator.value], {"dim": axis})

    return convert


def _selu(assembly: Assembly, operator: Operator) -> None:
    if abs(operator.get("alpha", SELU[0]) - SELU[0]) > 1e-6 or abs(operator.get("gamma", SELU[1]) - SELU[1]) > 1e-6:
        refuse("a Selu with other numbers than those of its paper")
    assembly.add(operator.output, "selu", [operator.value])


def _softplus(assembly: Assembly, operator: Operator) -> None:
    arguments = {"beta": operator.get("beta"), "threshold": operator.get("threshold")}
    assembly.add(operator.output, "softplus", [operator.value], arguments)


def _glu(assembly: Assembly, operator: Operator) -> None:
    assembly.add(operator.output, "glu", [operator.value], {"dim": operator.get("axis")})


def _hard_sigmoid(assembly: Assembly, operator: Operator) -> None:
    if abs(operator.get("alpha", 0.2) - 1 / 6) > 1e-6 or operator.get("beta", 0.5) != 0.5:
        refuse("a HardSigmoid with another slope than 1/6")
    assembly.add(operator.output, "hardsigmoid", [operator.value])


def _leaky_relu(assembly: Assembly, operator: Operator) -> None:
    assembly.add(operator.output, "leaky_relu", [operator.value], {"negative_slope": operator.get("alpha", 0.01)})


def _elu(kind: str) -> Convert:
    def convert(assembly: Assembly, operator: Operator) -> None:
        assembly.add(operator.output, kind, [operator.value], {"alpha": operator.get("alpha", 1.0)})

    return convert


def _negate(assembly: Assembly, operator: Operator) -> None:
    assembly.combine(operator.output, "multiply", operator.value, -1.0)


def _same(assembly: Assembly, operator: Operator) -> None:
    assembly.same(operator.outputs[0], operator.value)


OPERATORS: dict[str, Convert] = {
    "Relu": _simple("relu"),
    "Neg": _negate,
    "Selu": _selu,
    "Mish": _simple("mish"),
    "Sigmoid": _simple("sigmoid"),
    "Tanh": _simple("tanh"),
    "Softsign": _simple("softsign"),
    "Softplus": _softplus,
    "LogSigmoid": _simple("log_sigmoid"),
    "Glu": _glu,
    "HardSwish": _simple("hardswish"),
    "Abs": _simple("abs"),
    "Exp": _simple("exp"),
    "Gelu": _simple("gelu", approximate="approximate"),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu("elu"),
    "Celu": _elu("celu"),
    "PRelu": _prelu,
    "Clip": _clip,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "BatchNormalization": onnx_normalisation.batch_norm_layer,
    "LayerNormalization": onnx_normalisation.layer_norm_layer,
    "InstanceNormalization": onnx_normalisation.instance_norm_layer,
    "GroupNormalization": onnx_normalisation.group_norm_layer,
    "RMSNormalization": onnx_normalisation.rms_norm_layer,
    "LRN": onnx_normalisation.response_norm_layer,
    "Resize": onnx_space.resize_layer,
    "Upsample": onnx_space.resize_layer,
    "Pad": onnx_space.pad_layer,
    "Gather": _gather,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "GlobalAveragePool": _global_pool("avg"),
    "GlobalMaxPool": _global_pool("max"),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Unsqueeze": _one_axis("unsqueeze"),
    "Squeeze": _one_axis("squeeze"),
    "Slice": _slice,
    "Concat": _concat,
    "Add": _combine("add"),
    "Sub": _combine("subtract"),
    "Mul": _combine("multiply"),
    "Div": _combine("divide"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "Identity": _same,
    "Dropout": _same,
}
