"""Putting a network together from the operations of a file, whose weights are operands like any other.

Values are called as the file calls them. A value is a layer's output, an input of the network, or a tensor that the
file holds; an operation on such a tensor becomes a layer with that parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import torch

from delc.exchange.drawing import Drawing
from delc.exchange.naming import layer_name
from delc.networks import Network
from delc.networks.joining import values_of
from delc.networks.kinds import Value
from delc.networks.resolution import resolve_layer
from delc.server.errors import InvalidData, InvalidParameter
from delc.server.inputs import InputSpec


class Assembly:
    """The network so far, and its parameters under the network's names.

    ``tensors``: what the file holds, by value; ``paths``: the name of each in the module, such as "conv1.weight".
    """

    def __init__(
        self, inputs: Mapping[str, InputSpec], tensors: Mapping[str, torch.Tensor], paths: Mapping[str, str]
    ) -> None:
        self.inputs = dict(inputs)
        self.state: dict[str, torch.Tensor] = {}
        self._drawing = Drawing(list(inputs))
        self._tensors = dict(tensors)
        self._paths = dict(paths)
        self._layers: dict[str, str] = {name: name for name in inputs}
        self._overwritten: set[str] = set()
        self._values: dict[str, Value] = {}
        self._later: dict[str, Callable[[], None]] = {}

    def network(self) -> Network:
        """The network."""
        return self._drawing.network()

    def tensor(self, value: str) -> torch.Tensor | None:
        """The tensor that the file holds under this name."""
        return self._tensors.get(value)

    def constant(self, value: str, tensor: torch.Tensor, like: str = "") -> None:
        """Lets a value be a tensor; one that is made of another (``like``) belongs to the same module."""
        self._tensors[value] = tensor
        if like in self._paths:
            self._paths[value] = self._paths[like]

    def parameter(self, value: str, what: str) -> torch.Tensor:
        """A tensor that a layer needs as its parameter."""
        found = self._tensors.get(value)
        if found is None:
            refuse(f"{what} that is computed, not stored")
        return found

    def later(self, value: str, give: Callable[[], None]) -> None:
        """Lets ``give`` add what gives the value when it is needed, and only then."""
        self._later[value] = give

    def path(self, value: str) -> str:
        """What the tensor is called in the module; empty where the file does not say."""
        return self._paths.get(value, "")

    def source(self, value: str) -> str:
        """The layer or input that gives a value."""
        if value in self._later:
            self._later.pop(value)()
        if value in self._overwritten:
            refuse(f'the value "{value[:100]}" read after an operation that changes it in place')
        if value not in self._layers:
            if value in self._tensors:
                refuse(f'the tensor "{self._paths.get(value, value)}" used outside of a layer')
            raise InvalidData(f'the file uses the value "{value[:100]}" before anything gives it')
        return self._layers[value]

    def overwrite(self, value: str) -> None:
        """Notes that an operation changed a value in place, so that it cannot be read as it was."""
        self._overwritten.add(value)

    def is_computed(self, value: str) -> bool:
        """Whether a layer or an input gives the value."""
        return value in self._layers or value in self._later

    def add(
        self,
        output: str,
        kind: str,
        sources: Iterable[str],
        arguments: Mapping[str, Any] | None = None,
        parameters: Mapping[str, torch.Tensor] | None = None,
        weight: str = "",
        path: str = "",
    ) -> None:
        """Adds the layer that gives ``output``; it is named after ``path``, or that of its ``weight``."""
        path = path or self._paths.get(weight, "").rpartition(".")[0]
        reads = [self.source(value) for value in sources]
        given = {argument: value for argument, value in (arguments or {}).items() if value is not None}
        name = self._drawing.add(layer_name(path) or None, kind, given, reads)
        for parameter, tensor in (parameters or {}).items():
            self.state[f"{name}.{parameter}"] = tensor
        self._layers[output] = name

    def rank(self, value: str) -> int:
        """How many dimensions a value has, rows too."""
        return len(self.shape(value)) + 1

    def shape(self, value: str) -> tuple[int, ...]:
        """One row's shape of a value."""
        return self._value(self.source(value)).shape

    def _value(self, name: str) -> Value:
        """What an input or a layer gives."""
        if name in self.inputs:
            return values_of({name: self.inputs[name]})[name]
        if name not in self._values:
            layer = self._drawing.layer(name)
            _, self._values[name] = resolve_layer(layer, [self._value(source) for source in layer.inputs])
        return self._values[name]

    def give_bias(self, output: str, value: str, bias: torch.Tensor) -> bool:
        """Lets the layer that gives ``value`` add ``bias`` where it is a linear layer without one; says if so."""
        name = self.source(value)
        weight = self.state.get(f"{name}.weight")
        if weight is None or not self._drawing.give_bias(name) or weight.shape[:1] != bias.shape:
            return False
        self.state[f"{name}.bias"] = bias
        self._layers[output] = name
        return True

    def finish(self, output: str) -> None:
        """Checks that this value is the network's one output, which no layer comes after."""
        if self.source(output) in self.inputs:
            self.add(output, "identity", [output])
        last = self.network().output
        if last.name != self._layers[output]:
            refuse(f'the output "{output[:100]}", which is not what the last layer gives')

    def same(self, output: str, value: str) -> None:
        """Lets ``output`` be another name of a value."""
        self._layers[output] = self.source(value)

    # Operations with parameters, which the formats share.

    def linear(self, output: str, value: str, weight: torch.Tensor, bias: torch.Tensor | None, path: str) -> None:
        """``weight``: (out_features, in_features)."""
        if weight.dim() != 2:
            refuse(f"a product with a tensor of {weight.dim()} dimensions")
        arguments = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": bias is not None}
        self.add(output, "linear", [value], arguments, _without_none(weight=weight, bias=bias), path)

    def convolution(
        self,
        output: str,
        value: str,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        path: str,
        arguments: Mapping[str, Any],
        transposed: bool = False,
    ) -> None:
        """``arguments``: stride, padding, dilation, groups and, transposed, output_padding."""
        dimensions = weight.dim() - 2
        if not 1 <= dimensions <= 3:
            refuse(f"a convolution over {dimensions} dimensions")
        groups = int(arguments.get("groups", 1))
        channels = (weight.shape[0], weight.shape[1] * groups)
        sizes = {
            "in_channels": channels[0] if transposed else channels[1],
            "out_channels": channels[1] if transposed else channels[0],
            "kernel_size": list(weight.shape[2:]),
            "bias": bias is not None,
        }
        given = {name: _spread(size, dimensions) for name, size in arguments.items() if name != "groups"}
        kind = f"conv_transpose{dimensions}d" if transposed else f"conv{dimensions}d"
        parameters = _without_none(weight=weight, bias=bias)
        self.add(output, kind, [value], {**sizes, **given, "groups": groups}, parameters, path)

    def batch_norm(
        self, output: str, value: str, dimensions: int, tensors: Sequence[torch.Tensor | None], path: str,
        arguments: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """``tensors``: weight, bias, running mean and variance. ``dimensions``: how many the value has, rows too."""
        weight, bias, mean, variance = tensors
        if mean is None or variance is None or (weight is None) != (bias is None):
            refuse("a batch normalisation without running statistics, or with half of its parameters")
        kind = f"batch_norm{max(1, dimensions - 2)}d"
        count = torch.zeros((), dtype=torch.int64)
        state = _without_none(
            weight=weight, bias=bias, running_mean=mean, running_var=variance, num_batches_tracked=count
        )
        self.add(output, kind, [value], {**arguments, "affine": weight is not None}, state, path)

    def layer_norm(
        self, output: str, value: str, shape: Sequence[int], weight: torch.Tensor | None, bias: torch.Tensor | None,
        path: str, eps: float,
    ) -> None:  # fmt: skip
        """Over the last dimensions, of ``shape``."""
        arguments = {
            "normalized_shape": list(shape),
            "eps": eps,
            "elementwise_affine": weight is not None,
            "bias": bias is not None,
        }
        self.add(output, "layer_norm", [value], arguments, _without_none(weight=weight, bias=bias), path)

    def embedding(self, output: str, value: str, weight: torch.Tensor, path: str) -> None:
        """``weight``: (num_embeddings, embedding_dim). An input that it reads has as many codes."""
        arguments = {"num_embeddings": weight.shape[0], "embedding_dim": weight.shape[1]}
        if value in self.inputs:
            spec = self.inputs[value]
            codes = min(spec.categories or weight.shape[0], weight.shape[0])
            self.inputs[value] = InputSpec(spec.shape, "int64", codes)
        self.add(output, "embedding", [value], arguments, {"weight": weight}, path)

    def reshape(self, output: str, value: str, sizes: Sequence[int | None]) -> None:
        """``sizes``: with the rows in front; None and 0 stand for a size that is kept or computed."""
        rest = list(sizes[1:])
        if not sizes or None in rest or 0 in rest:
            refuse("a reshape to sizes that are computed")
        if rest == [-1]:
            self.add(output, "flatten", [value])
        else:
            self.add(output, "reshape", [value], {"shape": rest})

    def combine(self, output: str, kind: str, first: str, second: str | float) -> None:
        """add, subtract, multiply or divide of two values, or of a value and a number."""
        number = second if isinstance(second, int | float) else self._number(second)
        if number is not None:
            self.add(output, kind, [first], {"constant": float(number)})
        elif kind == "add" and self._adds_positions(output, first, str(second)):
            return
        elif not self.is_computed(first) and kind in ("add", "multiply"):
            self.combine(output, kind, str(second), first)
        else:
            self.add(output, kind, [first, str(second)])

    def _adds_positions(self, output: str, first: str, second: str) -> bool:
        """A table of as many rows as a sequence has positions, added to the sequence; says if it is one."""
        value, key = (first, second) if self.is_computed(first) else (second, first)
        table = self._tensors.get(key)
        if table is None or not self.is_computed(value):
            return False
        shape = self.shape(value)
        if len(shape) != 2 or tuple(table.shape) not in (shape, (1, *shape)):
            return False
        arguments = {"method": "learned", "max_length": shape[0], "features": shape[1]}
        self.add(output, "positional_encoding", [value], arguments, {"weight": table.reshape(shape)}, key)
        return True

    def _number(self, value: str) -> float | None:
        tensor = self._tensors.get(value)
        return tensor.reshape(()).item() if tensor is not None and tensor.numel() == 1 else None


def _spread(size: Any, dimensions: int) -> Any:
    """One size for all dimensions written once, as the formats allow."""
    if isinstance(size, list | tuple):
        return list(size) * dimensions if len(size) == 1 else list(size)
    return size


def _without_none(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def refuse(what: str) -> NoReturn:
    """Raise the error for what no kind of layer does."""
    raise InvalidParameter(
        f"no kind of layer does what the file does: {what}",
        detail="delc.layer_kinds() lists the kinds.",
        hint="Give the network as layers (docs/layers.md) with import_state_dict(), or leave that step to the query.",
    )
