"""What a file works out from tokens that are padding: masks of attention, lengths of sequences, masked means.

Each is a chain of operators that begins with tokens == a number. A value on the way is its stage of the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from delc.exchange.moved import Padding
from delc.exchange.onnx_moved import MovedOperators
from delc.exchange.onnx_operator import Operator

FLOAT, INT32, INT64 = 1, 6, 7


@dataclass(frozen=True)
class Stage:
    """How far a chain has come. ``sequence``: the value that a masked mean is of."""

    name: str
    padding: Padding
    sequence: str = ""


class PaddingOperators:
    """Takes the operators of such chains."""

    def __init__(self, moves: MovedOperators) -> None:
        self.moves = moves
        self._stages: dict[str, Stage] = {}

    def take(self, operator: Operator) -> bool:
        """Whether the operator was taken."""
        if operator.name == "Equal":
            return self._begin(operator)
        places = [place for place, value in enumerate(operator.inputs) if value in self._stages]
        if not places:
            return False
        stage = self._stages[operator.inputs[places[0]]]
        if operator.name == "Where":
            return self._hide(operator, stage, places)
        if operator.name == "Div" and places == [0, 1]:
            return self._mean(operator, stage, self._stages[operator.inputs[1]])
        step = _STEPS.get((stage.name, operator.name))
        following = step(self.moves, operator, stage, places[0]) if step is not None else None
        if following is None:
            return False
        self._stages[operator.outputs[0]] = following
        return True

    def lengths(self, value: str) -> Padding | None:
        """Of which padding a value is the lengths of the sequences."""
        stage = self._stages.get(value)
        return stage.padding if stage is not None and stage.name == "lengths" else None

    def _begin(self, operator: Operator) -> bool:
        assembly = self.moves.assembly
        for tokens, number in (operator.inputs, operator.inputs[::-1]):
            token = assembly.tensor(number)
            whole = token is not None and token.numel() == 1 and token.dtype is torch.int64
            if whole and token is not None and assembly.is_computed(tokens) and int(token) >= 0:
                self._stages[operator.outputs[0]] = Stage("empty", Padding(tokens, int(token)))
                return True
        return False

    def _hide(self, operator: Operator, stage: Stage, places: list[int]) -> bool:
        number, view = self.moves.sizes.number(operator.inputs[1]), self.moves.view(operator, 2)
        if stage.name != "mask" or places != [0] or number != float("-inf") or view is None:
            return False
        hiding = self.moves.moved.hiding(view, stage.padding)
        if hiding is None:
            return False
        self.moves.moved.put(operator.outputs[0], hiding)
        return True

    def _mean(self, operator: Operator, total: Stage, count: Stage) -> bool:
        if (total.name, count.name) != ("total", "some kept") or total.padding != count.padding:
            return False
        padding = total.padding
        reads, arguments = [total.sequence, padding.tokens], {"padding_index": padding.token}
        self.moves.assembly.add(operator.outputs[0], "masked_mean", reads, arguments)
        return True


Step = Callable[[MovedOperators, Operator, Stage, int], Stage | None]


def _to(name: str) -> Step:
    return lambda moves, operator, stage, place: replace(stage, name=name)


def _cast(types: dict[int, str]) -> Step:
    def step(moves: MovedOperators, operator: Operator, stage: Stage, place: int) -> Stage | None:
        name = types.get(operator.get("to"))
        return None if name is None else replace(stage, name=name)

    return step


def _axes(axes: list[int], name: str, attribute: bool = False) -> Step:
    """``attribute``: whether the dimensions that are reduced must go away."""

    def step(moves: MovedOperators, operator: Operator, stage: Stage, place: int) -> Stage | None:
        right = moves.integers(operator, 1, "axes") == axes and not (attribute and operator.get("keepdims", 1))
        return replace(stage, name=name) if right else None

    return step


def _but_the_first(moves: MovedOperators, operator: Operator, stage: Stage, place: int) -> Stage | None:
    later = moves.assembly.tensor(operator.inputs[1 - place])
    if later is None or later.dtype is not torch.bool or later.dim() != 1 or later.tolist() != _later(later.numel()):
        return None
    return replace(stage, name="hidden")


def _later(count: int) -> list[bool]:
    return [place > 0 for place in range(count)]


def _placed(moves: MovedOperators, operator: Operator, stage: Stage, place: int) -> Stage | None:
    positions = moves.sizes.of(operator.inputs[1 - place])
    numbers = None if positions is None else [size.count for size in positions]
    return replace(stage, name="place") if numbers and numbers == list(range(1, len(numbers) + 1)) else None


def _at_least_one(name: str) -> Step:
    def step(moves: MovedOperators, operator: Operator, stage: Stage, place: int) -> Stage | None:
        one = len(operator.inputs) == 2 and moves.sizes.number(operator.inputs[1 - place]) == 1
        return replace(stage, name=name) if one else None

    return step


def _product(moves: MovedOperators, operator: Operator, stage: Stage, place: int) -> Stage | None:
    sequence = operator.inputs[1 - place]
    if not moves.assembly.is_computed(sequence) or len(moves.assembly.shape(sequence)) != 2:
        return None
    return replace(stage, name="product", sequence=sequence)


_STEPS: dict[tuple[str, str], Step] = {
    ("empty", "And"): _but_the_first,
    ("hidden", "Unsqueeze"): _axes([1, 2], "mask"),
    ("empty", "Not"): _to("there"),
    ("there", "Cast"): _cast({INT64: "number", FLOAT: "real"}),
    ("number", "Mul"): _placed,
    ("place", "ReduceMax"): _axes([1], "last", attribute=True),
    ("last", "Max"): _at_least_one("some"),
    ("some", "Cast"): _cast({INT32: "lengths"}),
    ("real", "Unsqueeze"): _axes([2], "kept"),
    ("kept", "Mul"): _product,
    ("product", "ReduceSum"): _axes([1], "total", attribute=True),
    ("kept", "ReduceSum"): _axes([1], "count", attribute=True),
    ("count", "Max"): _at_least_one("some kept"),
}
"""From a stage by an operator to the next."""
