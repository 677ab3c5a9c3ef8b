"""Who gives and who reads each value of an ONNX graph, for finding groups of operators that are one layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch


def replaced(nodes: Sequence[Any], left_out: set[str], instead: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes without those whose first output is ``left_out``, and others ``instead`` of some."""
    for node in nodes:
        name = node.output[0] if node.output else ""
        if name in instead:
            yield instead[name]
        elif name not in left_out:
            yield node


class Values:
    """The values of a graph by name."""

    def __init__(self, library: Any, nodes: Sequence[Any], tensors: Mapping[str, torch.Tensor]) -> None:
        self._library, self._tensors = library, tensors
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

    def giver(self, value: str | None, operator: str | None = None) -> Any:
        """The node that gives a value, if it is of the operator."""
        found = self._givers.get(value or "")
        return found if found is not None and operator in (None, found.op_type) else None

    def only_reader(self, node: Any, operator: str) -> Any:
        """The one node that reads what another gives, if it is of the operator."""
        readers = self._readers.get(node.output[0], []) if node is not None else []
        return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None

    def number(self, value: str) -> float | None:
        """The one number that a value is."""
        return self._numbers.get(value)

    def integers(self, value: str) -> list[int] | None:
        """The few whole numbers that a value is."""
        tensor = self._tensors.get(value)
        return None if tensor is None or tensor.dtype is not torch.int64 else [int(n) for n in tensor.reshape(-1)]

    def other(self, node: Any, value: str) -> str | None:
        """The operand beside ``value``."""
        others = [name for name in node.input if name != value] if node is not None else []
        return others[0] if len(others) == 1 else None

    def beside_number(self, node: Any) -> tuple[str | None, float | None]:
        """The operand that is no number, and the one that is."""
        for value in node.input if node is not None else []:
            number = self.number(value)
            if number is not None:
                return self.other(node, value), number
        return None, None

    def attributes(self, node: Any) -> dict[str, Any]:
        """The attributes of a node by name."""
        return {item.name: self._library.helper.get_attribute_value(item) for item in node.attribute}
