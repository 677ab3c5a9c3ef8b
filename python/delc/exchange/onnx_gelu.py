"""GELU as exporters write it before opset 20: x (erf(x / √2) + 1) / 2, five operators, becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from delc.exchange.onnx_values import Values, replaced

TOLERANCE = 1e-4


def with_gelu(library: Any, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> list[Any]:
    """The nodes, with one Gelu in the place of the last of each such group."""
    graph = _Graph(Values(library, nodes, tensors))
    left_out: set[str] = set()
    instead: dict[str, Any] = {}
    for node in nodes:
        group = graph.gelu(node) if node.op_type == "Erf" else None
        if group is not None:
            source, members = group
            left_out.update(member.output[0] for member in members)
            last = members[-1].output[0]
            instead[last] = library.helper.make_node("Gelu", [source], [last])
    return list(replaced(nodes, left_out, instead))


class _Graph:
    """Finds the groups."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def gelu(self, erf: Any) -> tuple[str, list[Any]] | None:
        """What the group around an Erf works on, and its nodes, the last one being last."""
        scaled = self._values.giver(erf.input[0])
        source = self._scaled(scaled)
        above = self._values.only_reader(erf, "Add")
        product = self._values.only_reader(above, "Mul")
        if source is None or product is None or self._other(above, erf.output[0], 1.0) is None:
            return None
        factor = next((name for name in product.input if name != above.output[0]), None)
        if factor == source:
            last = self._values.only_reader(product, "Mul")
            if last is None or self._other(last, product.output[0], 0.5) is None:
                return None
            return source, [scaled, erf, above, product, last]
        halved = self._values.giver(factor)
        if halved is None or halved.op_type != "Mul" or self._other(halved, source, 0.5) is None:
            return None
        return source, [scaled, erf, above, halved, product]

    def _scaled(self, node: Any) -> str | None:
        """X of x / √2 or x · (1/√2)."""
        if node is None or node.op_type not in ("Div", "Mul"):
            return None
        number = self._values.number(node.input[1])
        wanted = 2**0.5 if node.op_type == "Div" else 0.5**0.5
        return node.input[0] if number is not None and abs(number - wanted) < TOLERANCE else None

    def _other(self, node: Any, value: str, wanted: float) -> str | None:
        """The operand beside ``value`` where it is the number wanted."""
        others = [name for name in node.input if name != value] if node is not None else []
        return others[0] if len(others) == 1 and self._values.number(others[0]) == wanted else None
