"""Layer normalisation as exporters write it before opset 17: (x − mean) / √(variance + ε) · scale + bias, nine
operators, becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from delc.exchange.onnx_values import Values, replaced


def with_layer_norm(library: Any, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> list[Any]:
    """The nodes, with one LayerNormalization in the place of the last of each such group."""
    values = Values(library, nodes, tensors)
    left_out: set[str] = set()
    instead: dict[str, Any] = {}
    for node in nodes:
        group = _Group.around(values, node, tensors) if node.op_type == "Sqrt" else None
        if group is not None:
            left_out.update(name for member in group.members for name in member.output)
            last = group.members[-1].output[0]
            inputs = [group.source, group.scale, *([group.bias] if group.bias else [])]
            instead[last] = library.helper.make_node(
                "LayerNormalization", inputs, [last], axis=-group.dimensions, epsilon=group.epsilon
            )
    return list(replaced(nodes, left_out, instead))


class _Group:
    """The operators around the square root, the last one being last, and what they work on."""

    def __init__(self, source: str, dimensions: int, epsilon: float) -> None:
        self.source, self.dimensions, self.epsilon = source, dimensions, epsilon
        self.members: list[Any] = []
        self.scale, self.bias = "", ""

    @classmethod
    def around(cls, values: Values, root: Any, tensors: Mapping[str, torch.Tensor]) -> _Group | None:
        """The group, if that is one."""
        above = values.giver(root.input[0], "Add")
        variance, epsilon = values.beside_number(above)
        squares_mean = values.giver(variance, "ReduceMean")
        quotient = values.only_reader(root, "Div")
        if squares_mean is None or quotient is None or quotient.input[1] != root.output[0] or epsilon is None:
            return None
        centred = quotient.input[0]
        square = values.giver(squares_mean.input[0])
        difference = values.giver(centred, "Sub")
        mean = values.giver(difference.input[1], "ReduceMean") if difference is not None else None
        if mean is None or mean.input[0] != difference.input[0] or not _squares(values, square, centred):
            return None
        dimensions = _dimensions(values, mean)
        if not dimensions or dimensions != _dimensions(values, squares_mean):
            return None
        group = cls(mean.input[0], dimensions, epsilon)
        group.members = [mean, difference, square, squares_mean, above, root, quotient]
        return group if group._scaled(values, quotient, tensors) else None

    def _scaled(self, values: Values, quotient: Any, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Takes the scale and the bias behind it."""
        product = values.only_reader(quotient, "Mul")
        scale = values.other(product, quotient.output[0])
        if scale is None or scale not in tensors or tensors[scale].dim() != self.dimensions:
            return False
        self.scale = scale
        self.members.append(product)
        total = values.only_reader(product, "Add")
        bias = values.other(total, product.output[0])
        if bias is not None and bias in tensors and tensors[bias].shape == tensors[scale].shape:
            self.bias = bias
            self.members.append(total)
        return True


def _squares(values: Values, node: Any, value: str) -> bool:
    """Whether an operator squares a value."""
    if node is None or node.input[0] != value:
        return False
    if node.op_type == "Mul":
        return bool(node.input[1] == value)
    return node.op_type == "Pow" and values.number(node.input[1]) == 2.0


def _dimensions(values: Values, mean: Any) -> int:
    """Over how many of the last dimensions a mean is; 0 where it is over others, or does not keep them."""
    attributes = values.attributes(mean)
    axes = attributes.get("axes")
    if axes is None and len(mean.input) > 1:
        axes = values.integers(mean.input[1])
    wanted = list(range(-len(axes), 0)) if axes else []
    return len(wanted) if axes and sorted(axes) == wanted and attributes.get("keepdims", 1) else 0
