"""Resolution: from a definition and the inputs to a network in which every size is known, layer by layer.

Nothing is allocated here: shapes follow from the kinds' rules, and parameters are counted on torch's "meta" device. So
whoever builds can look at the size first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from delc.networks.arguments import complete
from delc.networks.graph import Layer, Network
from delc.networks.joining import join, values_of
from delc.networks.kinds import Arguments, Cost, Kind, Mismatch, Shape, Value, find_kind, show_shape
from delc.server.errors import InvalidParameter, LimitExceeded
from delc.server.inputs import InputSpec

MOST_ROW_ELEMENTS = 2**40
"""No layer may make more numbers than this of one row: nothing could hold them."""

SIZE_OF_OUTPUT = "out_features"
"""The argument that the last layer may leave out."""


@dataclass(frozen=True)
class LayerReport:
    """One layer of a resolved network, as a row of the relation ``layers``.

    ``position`` counts from 1. ``output_shape`` is that of one row. ``parameters`` counts the numbers that are learned,
    ``parameter_bytes`` their bytes and those of buffers (running statistics). ``flops`` is for one row, a multiply-add
    counting as two; layers without multiply-adds have 0. ``working`` is how many numbers the layer holds in between.
    """

    position: int
    name: str
    kind: str
    arguments: dict[str, Any]
    inputs: tuple[str, ...]
    output_shape: Shape
    parameters: int
    parameter_bytes: int
    flops: int
    working: int


@dataclass(frozen=True)
class ResolvedNetwork:
    """A network with all sizes filled in, and what it will take to run it."""

    network: Network
    inputs: dict[str, Value]
    values: dict[str, Value]
    layers: tuple[LayerReport, ...]

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of parameters and buffers."""
        return sum(layer.parameter_bytes for layer in self.layers)

    @property
    def output_shape(self) -> Shape:
        """The shape of the network's output for one row."""
        return self.layers[-1].output_shape

    def flops(self, rows: int = 1) -> int:
        """Floating-point operations of a forward pass, multiply-adds counting as two; only multiply-adds count."""
        return rows * sum(layer.flops for layer in self.layers)

    def activation_bytes(self, rows: int, training: bool = False) -> int:
        """An estimate of the bytes that a forward pass over so many rows takes besides the parameters.

        Training keeps every layer's output for the backward pass and as much again for gradients; prediction drops
        each as soon as nothing reads it any more.
        """
        inputs = sum(value.row_bytes for value in self.inputs.values())
        if training:
            working = sum(layer.working for layer in self.layers)
            outputs = sum(self.values[layer.name].row_bytes for layer in self.layers)
            return rows * (inputs + 2 * (outputs + 4 * working))
        return rows * self._peak_row_bytes()

    def _peak_row_bytes(self) -> int:
        readers = {name: set(self.network.consumers(name)) for name in self.values}
        alive = sum(value.row_bytes for value in self.inputs.values())
        peak = alive
        for layer in self.layers:
            alive += self.values[layer.name].row_bytes
            peak = max(peak, alive + 4 * layer.working)
            for source in set(layer.inputs) & self.values.keys():
                readers[source].discard(layer.name)
                alive -= 0 if readers[source] or source in self.inputs else self.values[source].row_bytes
        return peak


def resolve(network: Network, inputs: Mapping[str, InputSpec], outputs: int | None = None) -> ResolvedNetwork:
    """Fill in every size of the network and check that its layers fit.

    ``inputs``: what the network reads, by name. ``outputs``: how many numbers it must give per row; the last layer's
    missing ``out_features`` becomes that number, and any other output is an error. None takes the network as it is.

    Raises ``InvalidParameter`` naming the layer, the shape that arrived and the one expected; ``UndefinedObject`` for
    an input that is not known; ``LimitExceeded`` for sizes that nothing could hold.
    """
    network = join(network, inputs)
    open_layer = layer_giving_outputs(network) if outputs is not None else None
    if open_layer is not None and open_layer.arguments.get(SIZE_OF_OUTPUT) is None:
        network = _with_outputs(network, open_layer, outputs)
    arriving = values_of(inputs)
    values = dict(arriving)
    layers, reports = [], []
    for position, layer in enumerate(network, start=1):
        layer, output = resolve_layer(layer, [values[source] for source in layer.inputs])
        values[layer.name] = output
        layers.append(layer)
        reports.append(_report(position, layer, [values[source] for source in layer.inputs], output))
    resolved = ResolvedNetwork(Network(tuple(layers)), arriving, values, tuple(reports))
    _check_output(resolved, outputs, open_layer)
    return resolved


def layer_giving_outputs(network: Network) -> Layer | None:
    """The layer whose out_features is the number of outputs: the last one, or the last before pointwise layers."""
    layer = network.output
    while find_kind(layer.kind).pointwise and len(layer.inputs) == 1 and layer.inputs[0] in network:
        layer = network.layer(layer.inputs[0])
    return layer if _has_output_size(find_kind(layer.kind)) else None


def _has_output_size(kind: Kind) -> bool:
    return any(argument.name == SIZE_OF_OUTPUT for argument in kind.arguments)


def _with_outputs(network: Network, open_layer: Layer, outputs: int | None) -> Network:
    closed = replace(open_layer, arguments={**open_layer.arguments, SIZE_OF_OUTPUT: outputs})
    return Network(tuple(closed if layer is open_layer else layer for layer in network))


def resolve_layer(layer: Layer, arriving: Sequence[Value]) -> tuple[Layer, Value]:
    """The layer with all arguments, and what it gives."""
    kind = find_kind(layer.kind)
    _check_count(layer, kind)
    arguments = complete(str(layer), kind.arguments, layer.arguments)
    try:
        output = kind.rule(arguments, arriving)
    except Mismatch as mismatch:
        raise _mismatch_error(layer, arriving, mismatch) from None
    if output.elements > MOST_ROW_ELEMENTS:
        raise LimitExceeded(f"{layer} would make {output.elements} numbers of each row")
    return replace(layer, kind=kind.name, arguments=arguments), output


def _check_count(layer: Layer, kind: Kind) -> None:
    count = len(layer.inputs)
    if count >= kind.least and (kind.most is None or count <= kind.most):
        return
    if kind.most is None:
        allowed = f"at least {kind.least}"
    else:
        allowed = str(kind.least) if kind.least == kind.most else f"{kind.least} to {kind.most}"
    raise InvalidParameter(
        f"{layer} has {count} {'input' if count == 1 else 'inputs'}: {', '.join(layer.inputs)}",
        detail=f"A layer of this kind takes {allowed}.",
        hint="Layers of the kinds concat and add make one of several." if kind.most == 1 else None,
    )


def _mismatch_error(layer: Layer, arriving: Sequence[Value], mismatch: Mismatch) -> InvalidParameter:
    arrived = ", ".join(
        f'{value}{" of int64" if value.dtype == "int64" else ""} from "{source}"'
        for value, source in zip(arriving, layer.inputs, strict=True)
    )
    return InvalidParameter(
        f"{layer} cannot take the shape {arrived}", detail=f"Expected is {mismatch.expected}.", hint=mismatch.hint
    )


def _report(position: int, layer: Layer, arriving: Sequence[Value], output: Value) -> LayerReport:
    kind = find_kind(layer.kind)
    arguments = dict(layer.arguments)
    cost: Cost = kind.cost(arguments, arriving, output)
    parameters, size = _count(layer, kind, arguments)
    return LayerReport(
        position=position,
        name=layer.name,
        kind=layer.kind,
        arguments=arguments,
        inputs=layer.inputs,
        output_shape=output.shape,
        parameters=parameters,
        parameter_bytes=size,
        flops=cost.flops,
        working=cost.working,
    )


def _count(layer: Layer, kind: Kind, arguments: Arguments) -> tuple[int, int]:
    """How many numbers the layer learns, and the bytes of its parameters and buffers."""
    module = make_module(layer, kind, arguments, "meta")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    tensors: list[torch.Tensor] = [*module.parameters(), *module.buffers()]
    return parameters, sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def make_module(layer: Layer, kind: Kind, arguments: Arguments, device: str) -> nn.Module:
    """The layer's module; ``LimitExceeded`` where torch cannot hold its parameters."""
    try:
        return kind.make(arguments, device)
    except RuntimeError as error:
        raise LimitExceeded(
            f"the parameters of {layer} do not fit into memory", detail=str(error).splitlines()[0]
        ) from None


def _check_output(resolved: ResolvedNetwork, outputs: int | None, open_layer: Layer | None) -> None:
    last = resolved.network.output
    shape = resolved.values[last.name].shape
    if outputs is None or shape == (outputs,):
        return
    raise InvalidParameter(
        f"the network gives {show_shape(shape)}, from its last {last}",
        detail=f"Expected is {show_shape((outputs,))}: one number for each of the {outputs} outputs.",
        hint=_output_hint(shape, outputs, last, open_layer),
    )


def _output_hint(shape: Shape, outputs: int, last: Layer, open_layer: Layer | None) -> str:
    if len(shape) == 1 and open_layer is not None:
        return f'Set out_features of layer "{open_layer.name}" to {outputs}, or leave it out.'
    if len(shape) == 1:
        return 'Add {"kind": "linear"} at the end: the last layer gets the number of outputs by itself.'
    if open_layer is not None:
        return f'Add a flatten or global_average_pool layer before layer "{open_layer.name}".'
    return f'Add a flatten or global_average_pool layer and a linear layer after layer "{last.name}".'
