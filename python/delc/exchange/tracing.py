"""From a torch module to a network of layers: the graph that torch.fx traces, node by node.

Modules of torch.nn become the kinds of the same name; functions and methods those that do the same. What has no kind
is an error that names it. The parameters keep the module's names, with "-" for "." in the layer's part.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import fx, nn

from delc.exchange.drawing import Drawing
from delc.exchange.naming import layer_name
from delc.networks import KINDS, Network
from delc.networks.kinds import Kind, find_kind
from delc.server.errors import InvalidParameter


@dataclass(frozen=True)
class Traced:
    """The network that a module is, and where its parameters lie in it."""

    network: Network
    renamed: Mapping[str, str]
    prefix: str = ""
    """What the module itself is called where it is one layer."""

    def rename(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The module's state under the network's names, without what the network does not use."""
        found = {}
        for name, value in state.items():
            layer, known = self._layer_of(self.prefix + name)
            if known:
                found[layer] = value
        return found

    def _layer_of(self, name: str) -> tuple[str, bool]:
        for path, layer in self.renamed.items():
            if name.startswith(f"{path}."):
                return f"{layer}.{name[len(path) + 1 :]}", True
        return name, False


def trace(module: nn.Module) -> Traced:
    """The network of a module with one or several tensor inputs and one output.

    Raises ``InvalidParameter`` for what has no kind of layer, and for modules that torch.fx cannot trace, such as those
    whose course depends on the numbers.
    """
    kind = kind_of(module)
    if kind is not None:
        alone = trace(nn.Sequential(OrderedDict([(kind.name, module)])))
        return replace(alone, prefix=f"{kind.name}.")
    try:
        graph = _Tracer().trace(module)
    except (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError, ValueError, AssertionError) as error:
        raise InvalidParameter(
            f"torch.fx cannot trace the module {type(module).__name__}",
            detail=str(error).splitlines()[0][:300] if str(error) else type(error).__name__,
            hint="Give the network as layers (docs/layers.md) with the names of the module's parts.",
        ) from None
    return _Conversion(module).convert(graph)


class _Tracer(fx.Tracer):
    """Modules that are a kind of layer are not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return kind_of(m) is not None


def kind_of(module: nn.Module) -> Kind | None:
    """The kind of layer that a module of torch.nn is."""
    if type(module).__module__.partition(".")[0] != "torch":
        return None
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return None
    name = type(module).__name__.casefold()
    return next((kind for kind in KINDS.values() if kind.name.replace("_", "") == name), None)


class _Conversion:
    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._drawing = Drawing()
        self._names: dict[fx.Node, str] = {}
        self._renamed: dict[str, str] = {}
        self._overwritten: set[fx.Node] = set()

    def convert(self, graph: fx.Graph) -> Traced:
        for node in graph.nodes:
            if node.op == "placeholder":
                self._names[node] = "input" if not self._names else str(node.name)
            elif node.op == "call_module":
                self._names[node] = self._module_node(node)
            elif node.op in ("call_function", "call_method"):
                self._names[node] = self._function_node(node)
            elif node.op == "get_attr":
                _refuse(f'the parameter "{node.target}" used outside of a layer')
            elif len(self._inputs(node)) != 1 or isinstance(node.args[0], tuple | list | dict):
                _refuse("a module with several outputs")
        return Traced(self._drawing.network(), self._renamed)

    def _module_node(self, node: fx.Node) -> str:
        path = str(node.target)
        module = self._module.get_submodule(path)
        kind = kind_of(module)
        assert kind is not None
        if path in self._renamed and any(True for _ in module.parameters()):
            _refuse(f'the module "{path}" used twice, with shared parameters')
        said = {key: value for key, value in node.kwargs.items() if key not in _OF_NO_INTEREST}
        for value in (*node.args, *said.values()):
            if not isinstance(value, fx.Node) and value not in (None, False):
                _refuse(f'a call of the module "{path}" with {value!r:.50}')
        name = self._drawing.add(layer_name(path), kind.name, arguments_of(kind, module), self._inputs(node))
        self._renamed[path] = name
        if getattr(module, "inplace", False):
            self._overwrite(node)
        return name

    def _function_node(self, node: fx.Node) -> str:
        key = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        if node.target is operator.getitem and node.args[1:] == (0,) and isinstance(node.args[0], fx.Node):
            source = node.args[0]
            if source.op == "call_module" and self._layer_kind(source) in ("multihead_attention", "gru", "lstm", "rnn"):
                return self._names[source]
        convert = _FUNCTIONS.get(str(key))
        if convert is None:
            _refuse(f"{key}()")
        kind, arguments = convert(_Call(node))
        name = self._drawing.add(None, kind, arguments, self._inputs(node))
        in_place = str(key).endswith("_") or str(key) in _AUGMENTED or node.kwargs.get("inplace")
        if in_place and not str(key).endswith("__"):
            self._overwrite(node)
        return name

    def _overwrite(self, node: fx.Node) -> None:
        """Notes that a node changes its first input, which must not be read as it was after that."""
        if isinstance(node.args[0], fx.Node):
            self._overwritten.add(node.args[0])

    def _layer_kind(self, node: fx.Node) -> str:
        kind = kind_of(self._module.get_submodule(str(node.target)))
        return kind.name if kind else ""

    def _inputs(self, node: fx.Node) -> list[str]:
        sources = [source for source in node.all_input_nodes if source in self._names]
        listed: list[str] = []

        def visit(value: Any) -> None:
            if isinstance(value, fx.Node):
                if value in self._overwritten:
                    _refuse(f'"{value.name}" read after an operation that changes it in place')
                listed.append(self._names[value])
            elif isinstance(value, list | tuple):
                for item in value:
                    visit(item)

        visit(node.args)
        visit(list(node.kwargs.values()))
        return listed if sources else []


def arguments_of(kind: Kind, module: nn.Module) -> dict[str, Any]:
    """The arguments with which the kind makes such a module."""
    special = _MODULES.get(kind.name)
    if special is not None:
        return special(module)
    arguments: dict[str, Any] = {}
    for argument in kind.arguments:
        if not hasattr(module, argument.name):
            continue
        value = getattr(module, argument.name)
        if isinstance(value, nn.Parameter) or (argument.name == "bias" and value is None):
            value = value is not None
        if value is None and not argument.may_be_null:
            _refuse(f"{type(module).__name__}({argument.name}=None)")
        arguments[argument.name] = list(value) if isinstance(value, tuple) else value
    _check_same(kind, module)
    return arguments


def _check_same(kind: Kind, module: nn.Module) -> None:
    """Settings of torch that the kind does not have must be at their default."""
    defaults = {
        "return_indices": False,
        "ceil_mode": False,
        "batch_first": True,
        "max_norm": None,
        "sparse": False,
        "scale_grad_by_freq": False,
        "divisor_override": None,
        "proj_size": 0,
        "output_size": None,
    }
    known = {argument.name for argument in kind.arguments}
    for name, default in defaults.items():
        value = getattr(module, name, default)
        if name not in known and value != default:
            _refuse(f"{type(module).__name__}({name}={value})")


def _encoder_layer(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, nn.TransformerEncoderLayer)
    activation = {"relu": "relu", "gelu": "gelu"}.get(getattr(module.activation, "__name__", ""))
    activation = activation or {nn.ReLU: "relu", nn.GELU: "gelu"}.get(type(module.activation))
    exact = getattr(module.activation, "approximate", "none") == "none"
    if activation is None or not exact or not module.self_attn.batch_first or module.norm1.eps != 1e-5:
        _refuse("TransformerEncoderLayer with another activation, batch_first=False or another layer_norm_eps")
    return {
        "d_model": module.self_attn.embed_dim,
        "nhead": module.self_attn.num_heads,
        "dim_feedforward": module.linear1.out_features,
        "dropout": module.dropout.p,
        "activation": activation,
        "norm_first": module.norm_first,
        "bias": module.linear1.bias is not None,
    }


def _attention(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, nn.MultiheadAttention)
    if not module.batch_first or module.bias_k is not None or module.add_zero_attn:
        _refuse("MultiheadAttention with batch_first=False, add_bias_kv or add_zero_attn")
    return {
        "embed_dim": module.embed_dim,
        "num_heads": module.num_heads,
        "dropout": module.dropout,
        "bias": module.in_proj_bias is not None,
        "kdim": module.kdim,
        "vdim": module.vdim,
    }


def _recurrent(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, nn.RNNBase)
    if not module.batch_first or module.proj_size:
        _refuse(f"{type(module).__name__} with batch_first=False or proj_size")
    names = ("input_size", "hidden_size", "num_layers", "bias", "dropout", "bidirectional")
    arguments = {name: getattr(module, name) for name in names}
    return arguments | ({"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {})


def _upsample(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, nn.Upsample)
    if module.size is not None or module.align_corners or module.recompute_scale_factor:
        _refuse("Upsample to a size, or with align_corners or recompute_scale_factor")
    factor = module.scale_factor
    factors = set(factor) if isinstance(factor, tuple) else {factor}
    if len(factors) != 1:
        _refuse(f"Upsample with the factors {factor}")
    return {"scale_factor": factors.pop(), "mode": module.mode}


def _unflatten(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, nn.Unflatten)
    sizes = list(module.unflattened_size)
    if not all(isinstance(each, int) for each in (module.dim, *sizes)):
        _refuse("Unflatten by names of dimensions")
    return {"dim": module.dim, "sizes": sizes}


_MODULES: dict[str, Callable[[nn.Module], dict[str, Any]]] = {
    "upsample": _upsample,
    "unflatten": _unflatten,
    "transformer_encoder_layer": _encoder_layer,
    "multihead_attention": _attention,
    "lstm": _recurrent,
    "gru": _recurrent,
    "rnn": _recurrent,
}


_OF_NO_INTEREST = ("need_weights", "average_attn_weights", "inplace", "training", "_stacklevel")
"""What callers say that changes no outputs of prediction."""

_AUGMENTED = ("iadd", "isub", "imul", "itruediv")
"""Python's operators that write into their first operand."""


class _Call:
    """The arguments of a call, by position or name."""

    def __init__(self, node: fx.Node) -> None:
        self.node = node

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """The argument at a place (0 is the tensor) or of that name."""
        if name in self.node.kwargs:
            return self.node.kwargs[name]
        return self.node.args[place] if place < len(self.node.args) else default

    def constant(self) -> dict[str, Any]:
        """{"constant": …} where the other operand is a number."""
        self.check_known(2, ("input", "other"))
        operands = [*self.node.args, *(self.node.kwargs[key] for key in ("other",) if key in self.node.kwargs)]
        numbers = [value for value in operands if isinstance(value, int | float)]
        if len(numbers) == 1 and isinstance(self.node.args[0], int | float) and self.node.target not in _COMMUTING:
            _refuse(f"a number before {getattr(self.node.target, '__name__', self.node.target)}")
        return {"constant": numbers[0]} if numbers else {}

    def check_known(self, places: int, names: Sequence[str]) -> None:
        """Refuses arguments beyond those named and the first places, unless they say what goes without saying."""
        beyond = {f"argument {at}": value for at, value in enumerate(self.node.args[places:], places + 1)}
        beyond |= {key: value for key, value in self.node.kwargs.items() if key not in (*names, *_OF_NO_INTEREST)}
        for name, value in beyond.items():
            said = value is not None and not isinstance(value, bool)
            if said or (value is True and name in self.node.kwargs):
                _refuse(f"{getattr(self.node.target, '__name__', self.node.target)}() with {name}={value!r:.50}")

    def sizes(self) -> list[Any]:
        """The sizes of a view, after the rows."""
        first = self.get(1, "shape", ())
        sizes = list(first) if isinstance(first, list | tuple) else list(self.node.args[1:])
        return sizes[1:]


_COMMUTING = (operator.add, operator.mul, torch.add, torch.mul, "add", "mul")

Converted = tuple[str, dict[str, Any]]


_SAY = object()


def _simple(kind: str, *names: str, **defaults: Any) -> Callable[[_Call], Converted]:
    """A function whose arguments after the tensor are those of the kind, under the names given.

    ``defaults``: torch's where they are not those of the kind; ``_SAY`` where torch's has no counterpart.
    """

    def convert(call: _Call) -> Converted:
        call.check_known(1 + len(names), ("input", "self", *names))
        found = {name: call.get(place, name) for place, name in enumerate(names, start=1)}
        for name, default in defaults.items():
            if found[name] is None and default is _SAY:
                _refuse(f"{kind}() without {name}")
            found[name] = default if found[name] is None else found[name]
        return kind, {name: _plain(value) for name, value in found.items() if value is not None}

    return convert


def _plain(value: Any) -> Any:
    if isinstance(value, fx.Node):
        _refuse("a call whose sizes are computed")
    return list(value) if isinstance(value, tuple) else value


def _reshape(call: _Call) -> Converted:
    sizes = call.sizes()
    if any(isinstance(size, fx.Node) for size in sizes):
        _refuse("a view whose sizes are computed")
    return ("flatten", {}) if sizes == [-1] else ("reshape", {"shape": sizes})


def _operation(kind: str) -> Callable[[_Call], Converted]:
    return lambda call: (kind, call.constant())


def _concat(call: _Call) -> Converted:
    return "concat", {"dim": call.get(1, "dim", 0)}


def _permute(call: _Call) -> Converted:
    first = call.get(1, "dims", ())
    dims = list(first) if isinstance(first, list | tuple) else list(call.node.args[1:])
    if not dims or dims[0] != 0:
        _refuse("a permute that moves the rows")
    return "permute", {"dims": dims[1:]}


def _nothing(call: _Call) -> Converted:
    return "identity", {}


def _dropout(call: _Call) -> Converted:
    return "dropout", {"p": call.get(1, "p", 0.5)}


_POINTWISE = (
    "relu",
    "relu6",
    "selu",
    "silu",
    "mish",
    "sigmoid",
    "tanh",
    "softsign",
    "hardswish",
    "hardsigmoid",
    "abs",
    "exp",
)

_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

_FUNCTIONS: dict[str, Callable[[_Call], Converted]] = {
    **{name: _simple(name) for name in _POINTWISE},
    "relu_": _simple("relu"),
    "gelu": _simple("gelu", "approximate"),
    "leaky_relu": _simple("leaky_relu", "negative_slope"),
    "elu": _simple("elu", "alpha"),
    "celu": _simple("celu", "alpha"),
    "softplus": _simple("softplus", "beta", "threshold"),
    "logsigmoid": _simple("log_sigmoid"),
    "hardtanh": _simple("hardtanh", "min_val", "max_val"),
    "softmax": _simple("softmax", "dim", dim=_SAY),
    "log_softmax": _simple("log_softmax", "dim", dim=_SAY),
    "glu": _simple("glu", "dim"),
    "flatten": _simple("flatten", "start_dim", "end_dim", start_dim=0),
    "view": _reshape,
    "reshape": _reshape,
    "unsqueeze": _simple("unsqueeze", "dim"),
    "squeeze": _simple("squeeze", "dim", dim=_SAY),
    "transpose": _simple("transpose", "dim0", "dim1"),
    "permute": _permute,
    "cat": _concat,
    "concat": _concat,
    "contiguous": _nothing,
    "clone": _nothing,
    "dropout": _dropout,
    "add": _operation("add"),
    "iadd": _operation("add"),
    "imul": _operation("multiply"),
    "isub": _operation("subtract"),
    "itruediv": _operation("divide"),
    "mul": _operation("multiply"),
    "sub": _operation("subtract"),
    "truediv": _operation("divide"),
    "div": _operation("divide"),
    "mean": _simple("mean", "dim", "keepdim", dim=_SAY),
    "sum": _simple("sum", "dim", "keepdim", dim=_SAY),
    "amax": _simple("max", "dim", "keepdim", dim=_SAY),
    "amin": _simple("min", "dim", "keepdim", dim=_SAY),
    "normalize": _simple("normalize", "p", "dim", "eps", dim=1),
    "max_pool1d": _simple("max_pool1d", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "max_pool2d": _simple("max_pool2d", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool1d": _simple("avg_pool1d", *_AVERAGE),
    "avg_pool2d": _simple("avg_pool2d", *_AVERAGE),
    "adaptive_avg_pool2d": _simple("adaptive_avg_pool2d", "output_size"),
    "adaptive_avg_pool1d": _simple("adaptive_avg_pool1d", "output_size"),
}


def _refuse(what: str) -> NoReturn:
    raise InvalidParameter(
        f"no kind of layer does what the module does: {what}",
        detail="delc.layer_kinds() lists the kinds.",
        hint="Give the network as layers (docs/layers.md), or leave that step to the query.",
    )


__all__ = ["Traced", "arguments_of", "find_kind", "kind_of", "trace"]
