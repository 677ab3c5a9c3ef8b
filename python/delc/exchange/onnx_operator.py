"""One operator of an ONNX graph, and its inputs that the file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from delc.exchange.assembly import Assembly, refuse


@dataclass(frozen=True)
class Operator:
    """One node of the graph."""

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    ranks: Mapping[str, int]
    opset: int = 18

    @property
    def value(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> str:
        """The first output; the others must not be there."""
        if any(self.outputs[1:]):
            refuse(f"the operator {self.name} with several outputs")
        return self.outputs[0]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def optional(self, place: int) -> str | None:
        """An input that may be left out."""
        return (self.inputs[place] or None) if place < len(self.inputs) else None


Convert = Callable[[Assembly, Operator], None]


def parameter(assembly: Assembly, operator: Operator, place: int) -> torch.Tensor | None:
    value = operator.optional(place)
    return None if value is None else assembly.parameter(value, f"the operator {operator.name} with an input")


def needed(assembly: Assembly, operator: Operator, place: int) -> torch.Tensor:
    found = parameter(assembly, operator, place)
    if found is None:
        refuse(f"the operator {operator.name} without input {place + 1}")
    return found


def integers(assembly: Assembly, operator: Operator, place: int, attribute: str) -> list[int] | None:
    """Whole numbers that are an attribute, or in later versions of the operator an input."""
    if operator.get(attribute) is not None:
        return [int(number) for number in operator.get(attribute)]
    tensor = parameter(assembly, operator, place)
    return None if tensor is None else [int(number) for number in tensor.reshape(-1).tolist()]
