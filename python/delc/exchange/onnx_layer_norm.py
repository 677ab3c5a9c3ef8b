"""Layer normalisation as exporters write it before opset 17: (x − mean) / √(variance + ε) · scale + bias, nine
operators.
"""

from __future__ import annotations

from typing import Any

from delc.exchange.onnx_grouping import Graph, Group, axes_of_mean, is_square, mean_among, other


def layer_norm(graph: Graph, root: Any) -> Group | None:
    """What the group around a square root does, where it is a layer normalisation."""
    above = graph.giver(root.input[0], "Add")
    variance = mean_among(graph, above)
    quotient = graph.reader(root, "Div")
    if variance is None or quotient is None or quotient.input[1] != root.output[0]:
        return None
    epsilon = graph.number(other(above, variance.output[0]))
    square = graph.giver(variance.input[0], "Pow", "Mul")
    difference = graph.giver(quotient.input[0], "Sub")
    mean = graph.giver(difference.input[1], "ReduceMean") if difference is not None else None
    if epsilon is None or mean is None or mean.input[0] != difference.input[0]:
        return None
    if not is_square(graph, square) or square.input[0] != difference.output[0]:
        return None
    axes = axes_of_mean(graph, mean)
    if not axes or axes != list(range(-len(axes), 0)) or axes != axes_of_mean(graph, variance):
        return None
    members = [mean, difference, square, variance, above, root, quotient]
    inputs = _scaled(graph, quotient, len(axes), members)
    if not inputs:
        return None
    attributes = {"axis": axes[0], "epsilon": epsilon}
    return Group(members, "LayerNormalization", [mean.input[0], *inputs], attributes)


def _scaled(graph: Graph, quotient: Any, dimensions: int, members: list[Any]) -> list[str]:
    """The scale, and the bias behind it where there is one; their operators become members."""
    product = graph.reader(quotient, "Mul")
    name = other(product, quotient.output[0])
    scale = graph.tensor(name)
    if scale is None or scale.dim() != dimensions:
        return []
    members.append(product)
    total = graph.reader(product, "Add")
    last = other(total, product.output[0])
    bias = graph.tensor(last)
    if bias is None or bias.shape != scale.shape:
        return [name]
    members.append(total)
    return [name, last]
