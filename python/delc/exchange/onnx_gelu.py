"""GELU as exporters write it before opset 20: x (erf(x / √2) + 1) / 2, five operators, becomes one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

TOLERANCE = 1e-4


def with_gelu(library: Any, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> list[Any]:
    """The nodes, with one Gelu in the place of the last of each such group."""
    graph = _Graph(library, nodes, tensors)
    left_out: set[str] = set()
    instead: dict[str, Any] = {}
    for node in nodes:
        group = graph.gelu(node) if node.op_type == "Erf" else None
        if group is not None:
            source, members = group
            left_out.update(member.output[0] for member in members)
            last = members[-1].output[0]
            instead[last] = library.helper.make_node("Gelu", [source], [last])
    return list(_replaced(nodes, left_out, instead))


def _replaced(nodes: Sequence[Any], left_out: set[str], instead: Mapping[str, Any]) -> Iterator[Any]:
    for node in nodes:
        name = node.output[0] if node.output else ""
        if name in instead:
            yield instead[name]
        elif name not in left_out:
            yield node


class _Graph:
    """Who gives and who reads each value."""

    def __init__(self, library: Any, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> None:
        self._givers = {name: node for node in nodes for name in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._numbers = {name: tensor.item() for name, tensor in tensors.items() if tensor.numel() == 1}
        for node in nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                tensor = node.attribute[0].t
                if tensor.data_location == library.TensorProto.DEFAULT and list(tensor.dims) in ([], [1]):
                    self._numbers[node.output[0]] = library.numpy_helper.to_array(tensor).item()

    def gelu(self, erf: Any) -> tuple[str, list[Any]] | None:
        """What the group around an Erf works on, and its nodes, the last one being last."""
        scaled = self._givers.get(erf.input[0])
        source = self._scaled(scaled)
        above = self._only_reader(erf, "Add")
        product = self._only_reader(above, "Mul")
        if source is None or product is None or self._other(above, erf.output[0], 1.0) is None:
            return None
        factor = next((name for name in product.input if name != above.output[0]), None)
        if factor == source:
            last = self._only_reader(product, "Mul")
            if last is None or self._other(last, product.output[0], 0.5) is None:
                return None
            return source, [scaled, erf, above, product, last]
        halved = self._givers.get(factor or "")
        if halved is None or halved.op_type != "Mul" or self._other(halved, source, 0.5) is None:
            return None
        return source, [scaled, erf, above, halved, product]

    def _scaled(self, node: Any) -> str | None:
        """X of x / √2 or x · (1/√2)."""
        if node is None or node.op_type not in ("Div", "Mul"):
            return None
        number = self._numbers.get(node.input[1])
        wanted = 2**0.5 if node.op_type == "Div" else 0.5**0.5
        return node.input[0] if number is not None and abs(number - wanted) < TOLERANCE else None

    def _only_reader(self, node: Any, operator: str) -> Any:
        readers = self._readers.get(node.output[0], []) if node is not None else []
        return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None

    def _other(self, node: Any, value: str, wanted: float) -> str | None:
        """The operand beside ``value`` where it is the number wanted."""
        others = [name for name in node.input if name != value] if node is not None else []
        return others[0] if len(others) == 1 and self._numbers.get(others[0]) == wanted else None
