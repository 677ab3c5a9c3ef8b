"""What a program computes from constants alone, such as masks and the waves of positions, is a constant too.

Only operations of a fixed list are worked out, by torch itself, and only while the results are small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

MOST_NUMBERS = 2**24
FLOAT32 = 7
BOOL = 12

_MAKE = ("arange.default", "arange.start", "arange.start_step", "ones.default", "zeros.default", "full.default")
_WORK = (
    "zeros_like.default", "ones_like.default", "triu.default", "tril.default", "gt.Scalar", "ge.Scalar", "lt.Scalar",
    "eq.Scalar", "ne.Scalar", "logical_not.default", "bitwise_not.default", "__and__.Tensor", "add.Tensor",
    "sub.Tensor", "mul.Tensor", "div.Tensor", "neg.default", "exp.default", "log.default", "sin.default", "cos.default",
    "sqrt.default", "pow.Tensor_Scalar", "unsqueeze.default", "squeeze.dim", "view.default", "reshape.default",
    "transpose.int", "permute.default", "slice.Tensor", "select.int", "alias.default", "clone.default",
    "contiguous.default", "detach.default", "to.dtype", "to.dtype_layout", "expand.default", "cat.default",
    "stack.default", "masked_fill.Scalar",
)  # fmt: skip
LOOKS = (
    "slice.Tensor", "select.int", "transpose.int", "permute.default", "view.default", "reshape.default",
    "unsqueeze.default", "squeeze.dim", "chunk.default", "split.Tensor", "split_with_sizes.default", "t.default",
    "alias.default", "detach.default", "unflatten.int", "expand.default",
    "to.dtype", "to.dtype_layout", "lift_fresh_copy.default", "clone.default", "contiguous.default",
)  # fmt: skip
"""What looks at a tensor in another way, and takes no memory."""

_IN_PLACE = ("copy_.default", "masked_fill_.Scalar", "fill_.Scalar", "mul_.Tensor", "add_.Tensor")
_DTYPES = {FLOAT32: torch.float32, BOOL: torch.bool, 5: torch.int64, 4: torch.int32, 8: torch.float64}
_LEFT_OUT = ("device", "pin_memory", "layout", "memory_format", "non_blocking", "copy", "requires_grad")


class Constants:
    """The tensors that a program makes itself."""

    def __init__(self) -> None:
        self._made: dict[str, torch.Tensor] = {}

    def find(self, target: str, arguments: Mapping[str, Any], tensors: Mapping[str, torch.Tensor | None]) -> Any:
        """The result of an operation, or its results; None where it is not worked out. ``tensors``: those among its
        operands by name, None where one is computed by layers.
        """
        if any(tensor is None for tensor in tensors.values()):
            return None
        if target in _MAKE:
            return self._call(target, arguments, tensors) if _count(arguments) <= MOST_NUMBERS else None
        if len(tensors) == 1 and target in LOOKS:
            return self._call(target, arguments, tensors)
        made = [name for name in tensors if name in self._made]
        if not made or not (target in _WORK or (target in _IN_PLACE and arguments.get("self") in self._made)):
            return None
        return self._call(target, arguments, tensors) if _result(tensors) <= MOST_NUMBERS else None

    def note(self, value: str, tensor: torch.Tensor) -> None:
        """Notes that a tensor is the program's own, which it may also change."""
        self._made[value] = tensor

    def is_made(self, value: str) -> bool:
        """Whether a tensor is the program's own."""
        return value in self._made

    def _call(self, target: str, arguments: Mapping[str, Any], tensors: Mapping[str, torch.Tensor | None]) -> Any:
        name, _, overload = target.partition(".")
        operation = getattr(getattr(torch.ops.aten, name), overload)
        given = {key: _operand(key, value, tensors) for key, value in arguments.items() if key not in _LEFT_OUT}
        try:
            found = operation(**given)
        except (RuntimeError, TypeError, IndexError, ValueError):
            return None
        return found


def _operand(key: str, value: Any, tensors: Mapping[str, torch.Tensor | None]) -> Any:
    if key == "dtype" and isinstance(value, int):
        return _DTYPES.get(value, value)
    if isinstance(value, str) and value in tensors:
        return tensors[value]
    return [_operand("", item, tensors) for item in value] if isinstance(value, list) else value


def _count(arguments: Mapping[str, Any]) -> int:
    """How many numbers an operation makes; too many where a size is not known."""
    if "size" in arguments:
        sizes = arguments["size"]
        return math.prod(sizes) if all(isinstance(size, int) for size in sizes) else MOST_NUMBERS + 1
    bounds = [arguments.get("start", 0), arguments.get("end"), arguments.get("step", 1)]
    if not all(isinstance(bound, int | float) for bound in bounds) or not bounds[2]:
        return MOST_NUMBERS + 1
    return int(abs((bounds[1] - bounds[0]) / bounds[2])) + 1


def _result(tensors: Mapping[str, torch.Tensor | None]) -> int:
    """How many numbers the operands have when they are spread over one another."""
    shapes = [tensor.shape for tensor in tensors.values() if tensor is not None]
    try:
        return math.prod(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return sum(math.prod(shape) for shape in shapes)
