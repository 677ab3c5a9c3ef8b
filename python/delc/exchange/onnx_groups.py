"""Functions that exporters write as several operators become one: normalisations, GELU, softplus, glu, log_sigmoid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from delc.exchange.onnx_gelu import gelu
from delc.exchange.onnx_grouping import Graph, Group, axes_of_mean, is_square, mean_among, other
from delc.exchange.onnx_layer_norm import layer_norm


def with_groups(library: Any, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> list[Any]:
    """The nodes, with one operator in the place of the last of each group."""
    graph = Graph(nodes, tensors)
    left_out: set[str] = set()
    instead: dict[str, Any] = {}
    for node in nodes:
        find = _FINDERS.get(node.op_type)
        group = find(graph, node) if find is not None else None
        if group is None or not graph.is_closed(group):
            continue
        names = [name for member in group.members for name in member.output]
        if not left_out.isdisjoint(names):
            continue
        left_out.update(names)
        last = group.members[-1].output[0]
        instead[last] = library.helper.make_node(group.operator, list(group.inputs), [last], **group.attributes)
    return list(_replaced(nodes, left_out, instead))


def _replaced(nodes: Sequence[Any], left_out: set[str], instead: Mapping[str, Any]) -> Iterator[Any]:
    for node in nodes:
        name = node.output[0] if node.output else ""
        if name in instead:
            yield instead[name]
        elif name not in left_out:
            yield node


def _rms_norm(graph: Graph, root: Any) -> Group | None:
    """X · 1/√(mean(x²) + eps) · weight, or x / √…, found by its root."""
    added = graph.giver(root.input[0], "Add")
    mean = mean_among(graph, added)
    square = graph.giver(mean.input[0], "Pow", "Mul") if mean is not None else None
    eps = graph.number(other(added, mean.output[0])) if mean is not None else None
    axes = axes_of_mean(graph, mean)
    if square is None or eps is None or not axes or axes != list(range(-len(axes), 0)) or not is_square(graph, square):
        return None
    value = square.input[0]
    inverse = graph.reader(root, "Reciprocal")
    scaled = graph.reader(inverse, "Mul") if inverse is not None else graph.reader(root, "Div")
    if scaled is None or value not in scaled.input or (scaled.op_type == "Div" and scaled.input[0] != value):
        return None
    members = [square, mean, added, root, *([inverse] if inverse is not None else []), scaled]
    inputs, last = [value], graph.reader(scaled, "Mul")
    weight = other(last, scaled.output[0])
    found = graph.tensor(weight)
    if found is not None and found.dim() == len(axes):
        members.append(last)
        inputs.append(weight)
    return Group(members, "RMSNormalization", inputs, {"axis": -len(axes), "epsilon": eps})


def _group_norm(graph: Graph, norm: Any) -> Group | None:
    """An instance normalisation between two reshapes: to (rows, groups, …) and back."""
    before, after = graph.giver(norm.input[0], "Reshape"), graph.reader(norm, "Reshape")
    sizes = graph.tensor(before.input[1]) if before is not None else None
    if after is None or sizes is None or sizes.numel() != 3 or sizes.tolist()[::2] != [0, -1]:
        return None
    value, groups = before.input[0], int(sizes[1])
    shape = graph.giver(after.input[1], "Shape")
    plain = [graph.tensor(name) for name in norm.input[1:3]]
    if shape is None or shape.input[0] != value or any(tensor is None for tensor in plain):
        return None
    if not (plain[0] == 1).all() or not (plain[1] == 0).all():  # type: ignore[union-attr]
        return None
    members, inputs = [before, norm, shape, after], [value]
    scaled = graph.reader(after, "Mul")
    shifted = graph.reader(scaled, "Add")
    if shifted is not None:
        affine = [other(scaled, after.output[0]), other(shifted, scaled.output[0])]
        found = [graph.tensor(name) for name in affine]
        if all(_is_of_channels(tensor) for tensor in found):
            members += [scaled, shifted]
            inputs += affine
    return Group(members, "GroupNormalization", inputs, {"num_groups": groups, "epsilon": _epsilon(norm)})


def _is_of_channels(tensor: torch.Tensor | None) -> bool:
    return tensor is not None and tensor.dim() > 1 and tensor.numel() > 1 and tensor.shape[0] == tensor.numel()


def _epsilon(node: Any) -> float:
    return next((float(item.f) for item in node.attribute if item.name == "epsilon"), 1e-5)


def _softplus(graph: Graph, where: Any) -> Group | None:
    """X where beta x is above a threshold, otherwise log(1 + exp(beta x)) / beta."""
    above = graph.giver(where.input[0], "Greater")
    value, end = where.input[1], graph.giver(where.input[2], "Softplus", "Div")
    grown = graph.giver(end.input[0], "Softplus") if end is not None and end.op_type == "Div" else end
    threshold = graph.number(above.input[1]) if above is not None else None
    if grown is None or threshold is None or above.input[0] != grown.input[0]:
        return None
    if grown is end:
        members, beta = [grown, above, where], 1.0
        if grown.input[0] != value:
            return None
    else:
        scaled = graph.giver(grown.input[0], "Mul")
        factor = graph.number(other(scaled, value)) if scaled is not None and value in scaled.input else None
        if factor is None or factor != graph.number(end.input[1]):
            return None
        members, beta = [scaled, grown, end, above, where], factor
    return Group(members, "Softplus", [value], {"beta": beta, "threshold": threshold})


def _log_sigmoid(graph: Graph, logarithm: Any) -> Group | None:
    gate = graph.giver(logarithm.input[0], "Sigmoid")
    return None if gate is None else Group([gate, logarithm], "LogSigmoid", [gate.input[0]])


def _glu(graph: Graph, split: Any) -> Group | None:
    """The first half of a dimension times the sigmoid of the second."""
    sizes = graph.tensor(split.input[1]) if len(split.input) > 1 else None
    if len(split.output) != 2 or (len(split.input) > 1 and (sizes is None or len(set(sizes.tolist())) != 1)):
        return None
    half, gated = split.output
    gates = [reader for reader in graph.reading(gated) if reader.op_type == "Sigmoid"]
    product = graph.reader(gates[0], "Mul") if len(gates) == 1 else None
    if product is None or other(product, gates[0].output[0]) != half:
        return None
    axis = next((int(item.i) for item in split.attribute if item.name == "axis"), 0)
    return Group([split, gates[0], product], "Glu", [split.input[0]], {"axis": axis})


_FINDERS: dict[str, Callable[[Graph, Any], Group | None]] = {
    "Erf": gelu,
    "Sqrt": lambda graph, root: layer_norm(graph, root) or _rms_norm(graph, root),
    "InstanceNormalization": _group_norm,
    "Where": _softplus,
    "Log": _log_sigmoid,
    "Split": _glu,
}
