"""What the operations of an exported program (ATen) are as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.shared_layers import LINEAR, group_norm, instance_norm, pad, rms_norm, upsample

END = 2**62
"""Positions from here on mean the end."""


class Operation:
    """One node of the graph: its arguments by name, decoded."""

    def __init__(self, target: str, node: Mapping[str, Any], ranks: Mapping[str, int]) -> None:
        self.target = target
        self._arguments = {item["name"]: _decoded(item["arg"]) for item in node["inputs"]}
        self._ranks = ranks
        self._given = {item["name"]: item["arg"] for item in node["inputs"]}
        self.outputs = [name for output in node["outputs"] for name in _names(output)]
        self.output = self.outputs[0] if self.outputs else ""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """All arguments by name."""
        return self._arguments

    def sizes(self, name: str) -> list[int | str]:
        """An argument that is one or several sizes; those that are computed are names."""
        kind, value = next(iter(self._given[name].items())) if name in self._given else ("", [])
        items = value if kind == "as_sym_ints" else [value] if kind == "as_sym_int" else None
        if items is not None:
            return [item["as_int"] if "as_int" in item else item["as_name"] for item in items]
        return [value] if isinstance(value, int) else list(value) if kind == "as_ints" else []

    def tensors(self) -> list[str]:
        """The tensors among the arguments."""
        return [name for argument in self._given.values() for name in _names(argument, "as_tensor", "as_tensors")]

    def values(self) -> list[str]:
        """The values among the arguments, sizes too."""
        return [name for argument in self._given.values() for name in _names(argument)]

    def names(self) -> list[str]:
        """What the operation gives."""
        return [name for name in self.outputs if name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument; None where it is not given or given as none."""
        value = self._arguments.get(name, default)
        return default if value is None else value

    @property
    def value(self) -> str:
        """The tensor that it works on."""
        value = self._arguments.get("self", self._arguments.get("input"))
        if not isinstance(value, str):
            refuse(f"the operation {self.target} on something else than a tensor")
        return value

    def check_known(self, *names: str) -> None:
        """Refuses arguments beyond the tensor and those named, unless they say what goes without saying."""
        for name, value in self._arguments.items():
            plain = value in (None, False, []) or (name == "dtype" and value == _FLOAT32)
            if name not in (*_OF_NO_INTEREST, *names) and not plain:
                refuse(f"the operation {self.target} with {name}={value!r:.50}")

    def rank(self, value: str) -> int:
        """How many dimensions a value has, rows too."""
        return self._ranks[value]


_KINDS = ("as_tensor", "as_tensors", "as_optional_tensor", "as_optional_tensors", "as_sym_int", "as_sym_ints")


def _names(argument: Mapping[str, Any], *kinds: str) -> list[str]:
    """The values that an argument or output names; "" for outputs that nothing reads."""
    kind, value = next(iter(argument.items()))
    if kind == "as_none":
        return [""]
    if kind not in (kinds or _KINDS):
        return []
    items = value if isinstance(value, list) else [value]
    if kind.startswith("as_optional"):
        items = [item["as_tensor"] for item in items if "as_tensor" in item]
    return [str(item.get("name", item.get("as_name"))) for item in items if "name" in item or "as_name" in item]


def _decoded(argument: Mapping[str, Any]) -> Any:
    """A tensor is its name, a size that is computed is None."""
    kind, value = next(iter(argument.items()))
    if kind == "as_tensor":
        return value["name"]
    if kind == "as_tensors":
        return [item["name"] for item in value]
    if kind == "as_none":
        return None
    if kind == "as_float":
        return float(value)  # infinity is a text
    if kind == "as_sym_int":
        return value.get("as_int")
    if kind == "as_sym_ints":
        return [item.get("as_int") for item in value]
    return value


_FLOAT32 = 7
"""In the numbering of ``program_file.DTYPES``."""

_OF_NO_INTEREST = ("self", "input", "cudnn_enabled", "inplace", "implicit")

Convert = Callable[[Assembly, Operation], None]


def _simple(kind: str, **names: str) -> Convert:
    """An operation on one tensor; ``names``: the kind's arguments and what the operation calls them."""

    def convert(assembly: Assembly, operation: Operation) -> None:
        operation.check_known(*names.values())
        arguments = {argument: operation.get(name) for argument, name in names.items()}
        assembly.add(operation.output, kind, [operation.value], arguments)

    return convert


def _flatten(assembly: Assembly, operation: Operation) -> None:
    """Torch's own start is the rows."""
    arguments = {"start_dim": operation.get("start_dim", 0), "end_dim": operation.get("end_dim", -1)}
    assembly.add(operation.output, "flatten", [operation.value], arguments)


def _reduce(kind: str) -> Convert:
    """Over all dimensions where none is said, rows too: that is no layer."""

    def convert(assembly: Assembly, operation: Operation) -> None:
        operation.check_known("dim", "keepdim")
        dim = operation.get("dim")
        if dim in (None, []):
            refuse(f"the operation {operation.target} over all dimensions")
        arguments = {"dim": dim, "keepdim": operation.get("keepdim", False)}
        assembly.add(operation.output, kind, [operation.value], arguments)

    return convert


def _elu(assembly: Assembly, operation: Operation) -> None:
    if operation.get("scale", 1) != 1 or operation.get("input_scale", 1) != 1:
        refuse("an elu with a scale")
    assembly.add(operation.output, "elu", [operation.value], {"alpha": operation.get("alpha", 1.0)})


def _group_norm(assembly: Assembly, operation: Operation) -> None:
    affine = {name: _optional(assembly, operation.get(name)) for name in ("weight", "bias")}
    groups, eps = operation.get("num_groups"), operation.get("eps", 1e-5)
    group_norm(assembly, operation.output, operation.value, groups, affine, operation.get("weight", ""), eps)


def _instance_norm(assembly: Assembly, operation: Operation) -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {name: _optional(assembly, operation.get(name)) for name in names}
    if operation.get("use_input_stats") != (tensors["running_mean"] is None):
        refuse("an instance normalisation in training mode; export model.eval()")
    path = operation.get("weight") or operation.get("running_mean", "")
    eps, momentum = operation.get("eps", 1e-5), operation.get("momentum", 0.1)
    instance_norm(assembly, operation.output, operation.value, tensors, path, eps, momentum)


def _rms_norm(assembly: Assembly, operation: Operation) -> None:
    weight = _optional(assembly, operation.get("weight"))
    shape, eps = operation.get("normalized_shape"), operation.get("eps")
    rms_norm(assembly, operation.output, operation.value, shape, weight, operation.get("weight", ""), eps)


def _upsample(mode: str, dimensions: int) -> Convert:
    def convert(assembly: Assembly, operation: Operation) -> None:
        operation.check_known("output_size", "scale_factors")
        sizes, factors = operation.get("output_size"), operation.get("scale_factors")
        if sizes:
            old = assembly.shape(operation.value)[1:]
            factors = [(new or 0) / size for new, size in zip(sizes, old, strict=True)]
        upsample(assembly, operation.output, operation.value, factors or [0.0] * dimensions, mode)

    return convert


def _pad(assembly: Assembly, operation: Operation) -> None:
    operation.check_known("pad", "mode", "value")
    pads, mode, constant = operation.get("pad"), operation.get("mode", "constant"), operation.get("value", 0.0)
    pad(assembly, operation.output, operation.value, pads, mode, constant)


def _unflatten(assembly: Assembly, operation: Operation) -> None:
    sizes = operation.get("sizes", [])
    if None in sizes:
        refuse("an unflatten to sizes that are computed")
    assembly.add(operation.output, "unflatten", [operation.value], {"dim": operation.get("dim"), "sizes": sizes})


def _linear(assembly: Assembly, operation: Operation) -> None:
    weight = operation.get("weight")
    assembly.linear(
        operation.output,
        operation.value,
        assembly.parameter(weight, "a linear layer with a weight"),
        _optional(assembly, operation.get("bias")),
        weight,
    )


def _optional(assembly: Assembly, value: str | None) -> Any:
    return None if value is None else assembly.parameter(value, "a bias or scale")


def _addmm(assembly: Assembly, operation: Operation) -> None:
    weight = operation.get("mat2")
    bias = _optional(assembly, operation.get("self"))
    matrix = assembly.parameter(weight, "a product with a matrix").t().contiguous()
    assembly.linear(operation.output, operation.get("mat1"), matrix, bias, weight)


def _convolution(assembly: Assembly, operation: Operation) -> None:
    transposed = "transpose" in operation.target
    names = ["stride", "padding", "dilation", "groups"] + (["output_padding"] if transposed else [])
    arguments = {name: operation.get(name) for name in names if operation.get(name) is not None}
    weight = operation.get("weight")
    assembly.convolution(
        operation.output,
        operation.value,
        assembly.parameter(weight, "a convolution with a weight"),
        _optional(assembly, operation.get("bias")),
        weight,
        arguments,
        transposed,
    )


def _batch_norm(assembly: Assembly, operation: Operation) -> None:
    if operation.get("training"):
        refuse("a batch normalisation in training mode; export model.eval()")
    tensors = [_optional(assembly, operation.get(name)) for name in ("weight", "bias", "running_mean", "running_var")]
    arguments = {"eps": operation.get("eps"), "momentum": operation.get("momentum")}
    path = operation.get("weight") or operation.get("running_mean", "")
    assembly.batch_norm(operation.output, operation.value, operation.rank(operation.value), tensors, path, arguments)


def _layer_norm(assembly: Assembly, operation: Operation) -> None:
    weight, bias = _optional(assembly, operation.get("weight")), _optional(assembly, operation.get("bias"))
    shape = operation.get("normalized_shape")
    path = operation.get("weight", "")
    assembly.layer_norm(operation.output, operation.value, shape, weight, bias, path, operation.get("eps", 1e-5))


def _embedding(assembly: Assembly, operation: Operation) -> None:
    weight = operation.get("weight")
    table = assembly.parameter(weight, "an embedding with a table")
    operation.check_known("weight", "indices", "padding_idx")
    assembly.embedding(operation.output, operation.get("indices"), table, weight)


def _prelu(assembly: Assembly, operation: Operation) -> None:
    weight = operation.get("weight")
    slopes = assembly.parameter(weight, "a prelu with slopes")
    arguments = {"num_parameters": slopes.numel()}
    assembly.add(operation.output, "prelu", [operation.value], arguments, {"weight": slopes}, weight)


def _pool(kind: str, dimensions: int) -> Convert:
    names = {"kernel_size", "stride", "padding", "ceil_mode", "dilation" if kind == "max" else "count_include_pad"}

    def convert(assembly: Assembly, operation: Operation) -> None:
        if operation.get("divisor_override") is not None:
            refuse("an average pool with another divisor")
        arguments = {name: operation.get(name) for name in names}
        given = {name: value for name, value in arguments.items() if value not in (None, [])}
        for name, value in given.items():
            if isinstance(value, list) and len(value) == 1:
                given[name] = value * dimensions
        assembly.add(operation.output, f"{kind}_pool{dimensions}d", [operation.value], given)

    return convert


def _reshape(assembly: Assembly, operation: Operation) -> None:
    assembly.reshape(operation.output, operation.value, operation.get("shape") or operation.get("size") or [])


def _permute(assembly: Assembly, operation: Operation) -> None:
    dims = operation.get("dims", [])
    if not dims or dims[0] != 0:
        refuse("a permute that moves the rows")
    assembly.add(operation.output, "permute", [operation.value], {"dims": dims[1:]})


def _slice(assembly: Assembly, operation: Operation) -> None:
    dim, start, end = operation.get("dim", 0), operation.get("start", 0), operation.get("end", END)
    end = None if end >= END else end
    if dim == 0:
        if (start, end) != (0, None):
            refuse("a slice of the rows")
        assembly.same(operation.output, operation.value)
        return
    arguments = {"dim": dim, "start": start, "end": end, "step": operation.get("step", 1)}
    assembly.add(operation.output, "slice", [operation.value], arguments)


def _concat(assembly: Assembly, operation: Operation) -> None:
    kind = "stack" if operation.target.startswith("stack") else "concat"
    assembly.add(operation.output, kind, operation.get("tensors"), {"dim": operation.get("dim", 0)})


def _combine(kind: str) -> Convert:
    def convert(assembly: Assembly, operation: Operation) -> None:
        if operation.get("alpha", 1) != 1 or operation.get("rounding_mode") is not None:
            refuse(f"{operation.target} with alpha or rounding")
        assembly.combine(operation.output, kind, operation.value, operation.get("other"))

    return convert


def _same(assembly: Assembly, operation: Operation) -> None:
    assembly.same(operation.output, operation.value)


_POINTWISE = ("relu", "relu6", "selu", "silu", "mish", "sigmoid", "tanh", "hardswish", "hardsigmoid", "abs", "exp")

OPERATIONS: dict[str, Convert] = {
    **{name: _simple(name) for name in _POINTWISE},
    "gelu": _simple("gelu", approximate="approximate"),
    "leaky_relu": _simple("leaky_relu", negative_slope="negative_slope"),
    "elu": _elu,
    "celu": _simple("celu", alpha="alpha"),
    "softplus": _simple("softplus", beta="beta", threshold="threshold"),
    "log_sigmoid": _simple("log_sigmoid"),
    "hardtanh": _simple("hardtanh", min_val="min_val", max_val="max_val"),
    "softmax.int": _simple("softmax", dim="dim"),
    "log_softmax.int": _simple("log_softmax", dim="dim"),
    "glu": _simple("glu", dim="dim"),
    "prelu": _prelu,
    "linear": _linear,
    "addmm": _addmm,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "conv_transpose1d": _convolution,
    "conv_transpose2d": _convolution,
    "conv_transpose3d": _convolution,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "embedding": _embedding,
    **{f"{kind}_pool{n}d": _pool(kind, n) for kind in ("max", "avg") for n in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{n}d": _simple(f"adaptive_{kind}_pool{n}d", output_size="output_size")
       for kind in ("avg", "max") for n in (1, 2, 3)},
    "flatten": _flatten,
    "unflatten.int": _unflatten,
    "pad": _pad,
    **{f"upsample_nearest{n}d.vec": _upsample("nearest", n) for n in (1, 2, 3)},
    **{f"upsample_{mode}{n}d.vec": _upsample(mode, n) for n, mode in LINEAR.items()},
    "upsample_bicubic2d.vec": _upsample("bicubic", 2),
    "view": _reshape,
    "reshape": _reshape,
    "unsqueeze": _simple("unsqueeze", dim="dim"),
    "squeeze.dim": _simple("squeeze", dim="dim"),
    "transpose.int": _simple("transpose", dim0="dim0", dim1="dim1"),
    "permute": _permute,
    "slice.Tensor": _slice,
    "select.int": _simple("select", dim="dim", index="index"),
    "cat": _concat,
    "stack": _concat,
    "add": _combine("add"),
    "sub": _combine("subtract"),
    "mul": _combine("multiply"),
    "div": _combine("divide"),
    "mean.dim": _reduce("mean"),
    "sum.dim_IntList": _reduce("sum"),
    "amax": _reduce("max"),
    "amin": _reduce("min"),
    **dict.fromkeys(("clone", "contiguous", "detach", "alias", "identity"), _same),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), _same),
}  # fmt: skip
