"""The operators of an ONNX file as a graph, and groups of them that do together what one operator does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Group:
    """Nodes, the last one last, and the operator that does what they do."""

    members: Sequence[Any]
    operator: str
    inputs: Sequence[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Graph:
    """Who gives and who reads each value."""

    def __init__(self, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> None:
        self._givers = {name: node for node in nodes for name in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._tensors = tensors

    def giver(self, value: str, *operators: str) -> Any:
        """The node of one of these operators that gives a value, or None."""
        node = self._givers.get(value)
        return node if node is not None and node.op_type in operators else None

    def readers(self, node: Any, operator: str) -> list[Any]:
        """The nodes of an operator that read what a node gives."""
        found = self._readers.get(node.output[0], []) if node is not None else []
        return [reader for reader in found if reader.op_type == operator]

    def reading(self, value: str) -> list[Any]:
        """All nodes that read a value."""
        return self._readers.get(value, [])

    def reader(self, node: Any, operator: str) -> Any:
        """The one such node, or None."""
        found = self.readers(node, operator)
        return found[0] if len(found) == 1 else None

    def tensor(self, value: str) -> torch.Tensor | None:
        """The constant of that name."""
        return self._tensors.get(value)

    def number(self, value: str) -> float | None:
        """The constant of that name where it is one number."""
        tensor = self._tensors.get(value)
        return float(tensor.item()) if tensor is not None and tensor.numel() == 1 else None

    def is_closed(self, group: Group) -> bool:
        """Whether nothing outside of the group reads what is inside of it."""
        inside = {id(member) for member in group.members}
        hidden = [name for member in group.members[:-1] for name in member.output]
        return all(id(reader) in inside for name in hidden for reader in self._readers.get(name, []))


def other(node: Any, value: str) -> str:
    """The operand beside ``value``; empty where there is none."""
    names = [name for name in node.input if name != value] if node is not None else []
    return names[0] if len(names) == 1 else ""


def is_square(graph: Graph, node: Any) -> bool:
    """Whether an operator squares its first input."""
    if node is None:
        return False
    if node.op_type == "Mul":
        return bool(node.input[1] == node.input[0])
    return node.op_type == "Pow" and graph.number(node.input[1]) == 2


def axes_of_mean(graph: Graph, mean: Any) -> list[int]:
    """The dimensions that a mean is over, sorted; none where they are not kept, or not known."""
    if mean is None:
        return []
    attributes = {item.name: item for item in mean.attribute}
    if "keepdims" in attributes and not attributes["keepdims"].i:
        return []
    if "axes" in attributes:
        return sorted(attributes["axes"].ints)
    tensor = graph.tensor(mean.input[1]) if len(mean.input) > 1 else None
    return sorted(int(axis) for axis in tensor.reshape(-1)) if tensor is not None else []


def mean_among(graph: Graph, node: Any) -> Any:
    """The mean that is among a node's inputs."""
    found = [graph.giver(name, "ReduceMean") for name in node.input] if node is not None else []
    return next((mean for mean in found if mean is not None), None)
