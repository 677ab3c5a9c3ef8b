"""Sizes and numbers that a file computes from the shapes of its values, such as the scale of an attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from delc.exchange.assembly import Assembly
from delc.exchange.axes import Size
from delc.exchange.onnx_constants import MOST_NUMBERS
from delc.exchange.onnx_operator import Operator

FLOAT, INT64 = 1, 7
END = 2**31


class Sizes:
    """What is known of values that are sizes (whole numbers, or so many times the rows) or one number, or all zeros."""

    def __init__(self, assembly: Assembly, extents: Callable[[str], list[Size] | None]) -> None:
        self._assembly = assembly
        self._extents = extents
        self._sizes: dict[str, list[Size]] = {}
        self._numbers: dict[str, float] = {}
        self._zeros: set[str] = set()

    def of(self, value: str) -> list[Size] | None:
        """The sizes that a value is."""
        if value in self._sizes:
            return self._sizes[value]
        tensor = self._assembly.tensor(value)
        if tensor is None or tensor.dtype is not torch.int64 or tensor.numel() > MOST_NUMBERS:
            return None
        return [Size(int(number)) for number in tensor.reshape(-1)]

    def number(self, value: str) -> float | None:
        """The one number that a value is."""
        if value in self._numbers:
            return self._numbers[value]
        tensor = self._assembly.tensor(value)
        return float(tensor.reshape(())) if tensor is not None and tensor.numel() == 1 else None

    def is_zero(self, value: str) -> bool:
        """Whether a value is nothing but zeros, whatever its shape."""
        tensor = self._assembly.tensor(value)
        return value in self._zeros or (tensor is not None and not tensor.any())

    def zeros(self, value: str) -> None:
        """Notes that a value is nothing but zeros."""
        self._zeros.add(value)

    def take(self, operator: Operator) -> bool:
        """Whether the operator's result is such a value."""
        output = operator.outputs[0]
        if operator.name in _KEEP_ZEROS and operator.inputs and self._reads_zeros(operator):
            self._zeros.add(output)
            return True
        if operator.name == "Equal" and self._all_differ(operator):
            self._zeros.add(output)
            return True
        if operator.name == "Where" and operator.inputs[0] in self._zeros and operator.inputs[2] in self._sizes:
            return self._put(output, self._sizes[operator.inputs[2]])
        if operator.name == "Shape":
            return self._put(output, self._shape(operator))
        if all(self._assembly.tensor(value) is not None for value in operator.inputs):
            return False
        if operator.inputs[0] not in self._sizes and operator.inputs[0] not in self._numbers and not any(
            value in self._sizes or value in self._numbers for value in operator.inputs
        ):  # fmt: skip
            return False
        return self._put(output, self._worked_out(operator)) or self._put_number(operator)

    def _reads_zeros(self, operator: Operator) -> bool:
        values = operator.inputs if operator.name == "Concat" else operator.inputs[:1]
        known = self._zeros if operator.name != "Expand" else None
        return all(value in known if known is not None else self.is_zero(value) for value in values)

    def _all_differ(self, operator: Operator) -> bool:
        """Whether two lists of sizes have no element in common, as where torch looks for sizes of −1."""
        one, other = (self.of(value) for value in operator.inputs[:2])
        if one is None or other is None or len(one) != len(other):
            return False
        # A multiple of the rows is 0 or more.
        return all((a.count < 0) != (b.count < 0) or not (a.rows or b.rows or a.count == b.count)
                   for a, b in zip(one, other, strict=True))  # fmt: skip

    def _put(self, output: str, sizes: list[Size] | None) -> bool:
        if sizes is None:
            return False
        self._sizes[output] = sizes
        return True

    def filled(self, value: str, shape: str, number: int) -> bool:
        """Notes that a value is a list of one whole number over and over, if its length is known."""
        sizes = self._sizes.get(shape)
        if sizes is None or len(sizes) != 1 or sizes[0].rows or not 0 <= sizes[0].count <= MOST_NUMBERS:
            return False
        return self._put(value, [Size(number)] * sizes[0].count)

    def _shape(self, operator: Operator) -> list[Size] | None:
        if len(self._sizes.get(operator.value, ())) > 1:
            return [Size(len(self._sizes[operator.value]))]
        extents = self._extents(operator.value)
        return None if extents is None else extents[operator.get("start", 0) : operator.get("end", END)]

    def _worked_out(self, operator: Operator) -> list[Size] | None:
        work = _WORK.get(operator.name)
        operands = [self.of(value) for value in operator.inputs]
        if work is None or any(operand is None for operand in operands):
            return None
        return work(operator, [operand for operand in operands if operand is not None])

    def _put_number(self, operator: Operator) -> bool:
        work = _OF_NUMBERS.get(operator.name)
        operands = [self._as_number(value) for value in operator.inputs]
        if work is None or None in operands:
            return False
        try:
            found = work(operator, [operand for operand in operands if operand is not None])
        except (ZeroDivisionError, OverflowError, ValueError):
            return False
        if isinstance(found, complex) or found is None:
            return False
        self._numbers[operator.outputs[0]] = found
        return True

    def _as_number(self, value: str) -> float | None:
        sizes = self._sizes.get(value)
        if sizes is None:
            return self.number(value)
        return None if len(sizes) != 1 or sizes[0].rows else float(sizes[0].count)


_KEEP_ZEROS = ("Slice", "Gather", "Unsqueeze", "Squeeze", "Transpose", "Concat", "Expand", "Identity")


Operands = Sequence[list[Size]]


def _plain(sizes: list[Size]) -> list[int] | None:
    return None if any(size.rows for size in sizes) else [size.count for size in sizes]


def _gathered(operator: Operator, operands: Operands) -> list[Size] | None:
    places = _plain(operands[1])
    return None if places is None else [operands[0][place] for place in places]


def _joined(operator: Operator, operands: Operands) -> list[Size]:
    return [size for operand in operands for size in operand]


def _sliced(operator: Operator, operands: Operands) -> list[Size] | None:
    bounds = [_plain(operand) for operand in operands[1:]]
    if any(bound is None or len(bound) != 1 for bound in bounds) or (len(bounds) > 3 and bounds[3] != [1]):
        return None
    first, last = ((bound or [0])[0] for bound in bounds[:2])
    return operands[0][first:last]


def _same(operator: Operator, operands: Operands) -> list[Size]:
    return operands[0]


def _cast(operator: Operator, operands: Operands) -> list[Size] | None:
    return operands[0] if operator.get("to") == INT64 else None


def _reshaped(operator: Operator, operands: Operands) -> list[Size] | None:
    return operands[0] if len(operands[0]) == 1 or _plain(operands[1]) == [-1] else None


def _times(operator: Operator, operands: Operands) -> list[Size] | None:
    one, other = operands
    if len(other) == 1:
        other = other * len(one)
    if len(one) != len(other):
        return None
    found = [a * b for a, b in zip(one, other, strict=True)]
    return [size for size in found if size is not None] if None not in found else None


def _divided(operator: Operator, operands: Operands) -> list[Size] | None:
    found = operands[0][0].divided(operands[1][0]) if len(operands[0]) == len(operands[1]) == 1 else None
    return None if found is None else [found]


_WORK: dict[str, Callable[[Operator, Operands], list[Size] | None]] = {
    "Gather": _gathered,
    "Concat": _joined,
    "Slice": _sliced,
    "Unsqueeze": _same,
    "Squeeze": _same,
    "Identity": _same,
    "Cast": _cast,
    "Reshape": _reshaped,
    "Mul": _times,
    "Div": _divided,
}

_OF_NUMBERS: dict[str, Callable[[Operator, Sequence[float]], Any]] = {
    "Cast": lambda operator, numbers: numbers[0] if operator.get("to") == FLOAT else None,
    "Sqrt": lambda operator, numbers: numbers[0] ** 0.5,
    "Reciprocal": lambda operator, numbers: 1 / numbers[0],
    "Div": lambda operator, numbers: numbers[0] / numbers[1],
    "Mul": lambda operator, numbers: numbers[0] * numbers[1],
    "Pow": lambda operator, numbers: numbers[0] ** numbers[1],
    "Identity": lambda operator, numbers: numbers[0],
}
