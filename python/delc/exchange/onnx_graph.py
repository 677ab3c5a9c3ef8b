"""The ONNX graph in the making: nodes, the layers' parameters and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from delc.exchange.naming import dotted
from delc.exchange.onnx_library import onnx
from delc.networks import Layer, ResolvedNetwork

OPSET = 18
NEWER_OPSET = 20
"""Where the operators Gelu and Pad (wrap) are needed."""
IR_VERSIONS = {OPSET: 8, NEWER_OPSET: 9}
ROWS = "rows"


class Graph:
    """The ONNX graph in the making."""

    def __init__(self, resolved: ResolvedNetwork, state: Mapping[str, torch.Tensor]) -> None:
        self._onnx = onnx()
        self.types = self._onnx.TensorProto
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

    def split(self, layer: Layer, value: str, sizes: list[int], axis: int, what: str = "part") -> list[str]:
        """A node that cuts a value along a dimension; its outputs are called ``what`` with a number."""
        parts = self.constant(layer, f"{what}_sizes", np.array(sizes, dtype=np.int64))
        outputs = [f"{layer.name}/{what}{number}" for number in range(len(sizes))]
        self.several(layer, "Split", [value, parts], outputs, axis=axis)
        return outputs

    def several(self, layer: Layer, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """A node with several outputs; those called "" are not wanted."""
        name = f"{next(filter(None, outputs), layer.name)}:{operator}"
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def state(self, layer: Layer, name: str) -> torch.Tensor:
        """The numbers of the layer's parameter."""
        return self._state[f"{layer.name}.{name}"]

    def tensor(self, layer: Layer, name: str, value: torch.Tensor) -> str:
        """A tensor that is made of the layer's parameters, under a name of its own."""
        self._put(dotted(f"{layer.name}.{name}"), value)
        return dotted(f"{layer.name}.{name}")

    def constant(self, layer: Layer, what: str, value: Any) -> str:
        """A constant of the layer."""
        name = f"{layer.name}/{what}"
        self._put(name, value)
        return name

    def product(self, layer: Layer, value: str, weight: str, bias: str, output: str | None = None) -> str:
        """A value times a weight (out_features, in_features), and the bias where it is not ""; any dimensions."""
        name = output or layer.name
        turned = self.add(layer, "Transpose", [weight], f"{name}/weight", perm=[1, 0])
        if not bias:
            return self.add(layer, "MatMul", [value, turned], name)
        product = self.add(layer, "MatMul", [value, turned], f"{name}/product")
        return self.add(layer, "Add", [product, bias], name)

    def gelu(self, layer: Layer, value: str, output: str | None = None) -> str:
        """X Φ(x) by Erf, which more programs know than the operator Gelu of opset 20."""
        name = output or layer.name
        root = self.constant(layer, "root", np.float32(2**0.5))
        one, half = self.constant(layer, "one", np.float32(1)), self.constant(layer, "half", np.float32(0.5))
        scaled = self.add(layer, "Div", [value, root], f"{name}/scaled")
        erf = self.add(layer, "Erf", [scaled], f"{name}/erf")
        above = self.add(layer, "Add", [erf, one], f"{name}/above")
        twice = self.add(layer, "Mul", [value, above], f"{name}/twice")
        return self.add(layer, "Mul", [twice, half], name)

    def reshape(self, layer: Layer, value: str, sizes: list[int], output: str) -> str:
        """``sizes``: with the rows in front, 0 where a size stays as it is."""
        shape = self.constant(layer, f"shape{len(self.nodes)}", np.array(sizes, dtype=np.int64))
        return self.add(layer, "Reshape", [value, shape], output)

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
        helper, types = self._onnx.helper, self.types
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


Convert = Callable[[Graph, Layer], None]
"""What writes a layer."""
