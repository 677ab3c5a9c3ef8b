"""GELU as exporters write it before opset 20: x (erf(x / √2) + 1) / 2, five operators."""

from __future__ import annotations

from typing import Any

from delc.exchange.onnx_grouping import Graph, Group, other

TOLERANCE = 1e-4


def gelu(graph: Graph, erf: Any) -> Group | None:
    """What the group around an Erf does, where it is a GELU."""
    scaled = graph.giver(erf.input[0], "Div", "Mul")
    source = _scaled(graph, scaled)
    above = graph.reader(erf, "Add")
    product = graph.reader(above, "Mul")
    if source is None or product is None or graph.number(other(above, erf.output[0])) != 1:
        return None
    factor = other(product, above.output[0])
    if factor == source:
        last = graph.reader(product, "Mul")
        if last is None or graph.number(other(last, product.output[0])) != 0.5:
            return None
        return Group([scaled, erf, above, product, last], "Gelu", [source])
    halved = graph.giver(factor, "Mul")
    if halved is None or graph.number(other(halved, source)) != 0.5:
        return None
    return Group([scaled, erf, above, halved, product], "Gelu", [source])


def _scaled(graph: Graph, node: Any) -> str | None:
    """X of x / √2 or x · (1/√2)."""
    number = graph.number(node.input[1]) if node is not None else None
    if number is None:
        return None
    wanted = 2**0.5 if node.op_type == "Div" else 0.5**0.5
    return str(node.input[0]) if abs(number - wanted) < TOLERANCE else None
