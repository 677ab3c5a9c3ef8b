"""Operators of ONNX that move values around: what they do to views, so that whole layers are found behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from delc.exchange import moved_response
from delc.exchange.assembly import Assembly
from delc.exchange.axes import Look, cut, permuted, reshaped, selected, squeezed, unsqueezed, wanted_sizes, whole
from delc.exchange.moved import Moved, View
from delc.exchange.moved_recurrent import stacked
from delc.exchange.onnx_operator import Operator
from delc.exchange.onnx_sizes import Sizes

MOST_OF_A_MASK = 2**24
"""So many numbers at most are worked out of constants: a file says how large a mask is before it has any numbers."""


class MovedOperators:
    """Takes operators whose results may be views; what it does not take is left to the operators' own conversion."""

    def __init__(self, assembly: Assembly, sizes: Sizes) -> None:
        self.assembly = assembly
        self.moved = Moved(assembly)
        self.sizes = sizes

    def take(self, operator: Operator, otherwise: Callable[[], None]) -> bool:
        """Whether the operator was taken. ``otherwise`` converts it in its own way, when its value is needed so."""
        if self._of_tensors(operator) or (operator.name == "Div" and self._divide(operator)):
            return True
        work = _WORK.get(operator.name)
        if work is None:
            return False
        found = work(self, operator)
        if found is None:
            return False
        if operator.name == "Reshape":
            otherwise = self.moved.reshaping(operator.output, operator.value, found[0]) or otherwise
        for name, view in zip(operator.outputs, found, strict=False):
            if name:
                self.moved.put(name, view, otherwise if len(operator.outputs) == 1 else None)
        return True

    def view(self, operator: Operator, place: int = 0) -> View | None:
        """How an input lies in a base."""
        return self.moved.view(operator.inputs[place]) if place < len(operator.inputs) else None

    def integers(self, operator: Operator, place: int, attribute: str) -> list[int] | None:
        """Whole numbers that are an attribute, or an input that is known."""
        if operator.get(attribute) is not None:
            return [int(number) for number in operator.get(attribute)]
        sizes = self.sizes.of(operator.inputs[place]) if place < len(operator.inputs) else None
        return None if sizes is None or any(size.rows for size in sizes) else [size.count for size in sizes]

    def _divide(self, operator: Operator) -> bool:
        """Whether a value divided by something that was made of it is a layer."""
        by = self.view(operator, 1)
        if by is None or not self.assembly.is_computed(operator.value):
            return False
        return moved_response.divided(self.assembly, operator.output, operator.value, by)

    def _of_tensors(self, operator: Operator) -> bool:
        """What the file does to a tensor that it holds."""
        tensor = self.assembly.tensor(operator.inputs[0]) if operator.inputs else None
        work = _OF_TENSORS.get(operator.name)
        if tensor is None or work is None or tensor.dim() == 0:
            return False
        found = work(self, operator, tensor)
        for name, part in zip(operator.outputs, found or (), strict=False):
            self.assembly.constant(name, part, operator.inputs[0])
        return found is not None


Views = Sequence[View] | None


def _looked(view: View | None, look: Look | None) -> Views:
    return None if view is None or look is None else [View(view.base, look, view.scale)]


def _transpose(moves: MovedOperators, operator: Operator) -> Views:
    view = moves.view(operator)
    if view is None:
        return None
    order = operator.get("perm") or list(range(len(view.look.dims)))[::-1]
    right = sorted(order) == list(range(len(view.look.dims)))
    return _looked(view, permuted(view.look, order)) if right else None


def _reshape(moves: MovedOperators, operator: Operator) -> Views:
    view, told = moves.view(operator), moves.sizes.of(operator.inputs[1]) if len(operator.inputs) > 1 else None
    if view is None or told is None or operator.get("allowzero"):
        return None
    sizes = wanted_sizes(view.look, told)
    return None if sizes is None else _looked(view, reshaped(view.look, sizes))


def _unsqueeze(moves: MovedOperators, operator: Operator) -> Views:
    view, axes = moves.view(operator), moves.integers(operator, 1, "axes")
    if view is None or axes is None:
        return None
    return _looked(view, unsqueezed(view.look, _counted(axes, len(view.look.dims) + len(axes))))


def _squeeze(moves: MovedOperators, operator: Operator) -> Views:
    view, axes = moves.view(operator), moves.integers(operator, 1, "axes")
    if view is None or axes is None:
        return None
    return _looked(view, squeezed(view.look, _counted(axes, len(view.look.dims))))


def _counted(axes: Sequence[int], rank: int) -> list[int]:
    return [axis % rank for axis in axes]


def _gather(moves: MovedOperators, operator: Operator) -> Views:
    index = moves.assembly.tensor(operator.inputs[1])
    view = moves.view(operator) if index is not None and index.numel() == 1 else None
    if view is None or index is None:
        return None
    axis = operator.get("axis", 0) % len(view.look.dims)
    look = selected(view.look, axis, int(index))
    return _looked(view, look if look is None or index.dim() == 0 else unsqueezed(look, [axis]))


def _slice(moves: MovedOperators, operator: Operator) -> Views:
    view, steps = moves.view(operator), moves.integers(operator, 4, "steps")
    starts, ends = moves.integers(operator, 1, "starts"), moves.integers(operator, 2, "ends")
    if view is None or starts is None or ends is None or any(step != 1 for step in steps or []):
        return None
    axes = moves.integers(operator, 3, "axes") or list(range(len(starts)))
    look: Look | None = view.look
    for axis, start, end in zip(axes, starts, ends, strict=True):
        size = None if look is None else look.size(axis)
        if look is None or size is None or size.rows:
            return None
        first, last = (max(0, place + size.count) if place < 0 else min(place, size.count) for place in (start, end))
        look = cut(look, axis % len(look.dims), first, last)
    return _looked(view, look)


def _split(moves: MovedOperators, operator: Operator) -> Views:
    view = moves.view(operator)
    if view is None:
        return None
    axis = operator.get("axis", 0) % len(view.look.dims)
    size = view.look.size(axis)
    parts = _parts(moves, operator, size.count)
    if size.rows or parts is None:
        return None
    found: list[View] = []
    place = 0
    for part in parts:
        looked = _looked(view, cut(view.look, axis, place, place + part))
        if looked is None:
            return None
        found += looked
        place += part
    return found


def _parts(moves: MovedOperators, operator: Operator, size: int) -> list[int] | None:
    count = len(operator.outputs)
    parts = moves.integers(operator, 1, "split")
    if parts is None and len(operator.inputs) < 2 and size % count == 0:
        parts = [size // count] * count
    return parts if parts is not None and len(parts) == count and sum(parts) == size else None


def _matmul(moves: MovedOperators, operator: Operator) -> Views:
    first, second = moves.view(operator), moves.view(operator, 1)
    weight = moves.assembly.tensor(operator.inputs[1])
    if first is not None and second is not None:
        return _one(moves.moved.product(first, second))
    if first is None or weight is None or weight.dim() != 2:
        return None
    return _one(_product(moves, operator, first, weight.t().contiguous(), None))


def _gemm(moves: MovedOperators, operator: Operator) -> Views:
    view, weight = moves.view(operator), moves.assembly.tensor(operator.inputs[1])
    bias = moves.assembly.tensor(operator.inputs[2]) if operator.optional(2) else None
    plain = not operator.get("transA") and operator.get("alpha", 1.0) == operator.get("beta", 1.0) == 1
    if view is None or weight is None or weight.dim() != 2 or not plain or (operator.optional(2) and bias is None):
        return None
    weight = weight if operator.get("transB") else weight.t().contiguous()
    bias = bias.reshape(-1).expand(weight.shape[0]).contiguous() if bias is not None else None
    return _one(_product(moves, operator, view, weight, bias))


def _product(
    moves: MovedOperators, operator: Operator, view: View, weight: torch.Tensor, bias: torch.Tensor | None
) -> View | None:
    return moves.moved.linear(operator.output, view, weight, bias, operator.inputs[1])


def _one(view: View | None) -> Views:
    return None if view is None else [view]


def _joined(moves: MovedOperators, operator: Operator) -> Views:
    if operator.get("axis") != 0:
        return None
    views = [moves.view(operator, place) for place in range(len(operator.inputs))]
    return _one(stacked([view for view in views if view is not None])) if None not in views else None


def _pad(moves: MovedOperators, operator: Operator) -> Views:
    view, pads = moves.view(operator), moves.integers(operator, 1, "pads")
    value = operator.optional(2)
    number = operator.get("value", 0.0) if value is None else moves.sizes.number(value)
    if view is None or pads is None or operator.get("mode", "constant") != "constant" or number or operator.optional(3):
        return None
    half = len(pads) // 2
    return _one(moved_response.padded(view, pads[:half], pads[half:])) if half == len(view.look.dims) else None


def _average(moves: MovedOperators, operator: Operator) -> Views:
    view, kernel = moves.view(operator), operator.get("kernel_shape") or []
    if view is None or operator.get("auto_pad", "NOTSET") != "NOTSET" or operator.get("ceil_mode"):
        return None
    if any(step != 1 for step in operator.get("dilations") or []):
        return None
    count = len(kernel)
    pads = operator.get("pads") or [0] * 2 * count
    strides, counts = operator.get("strides") or [1] * count, bool(operator.get("count_include_pad"))
    return _one(moved_response.averaged(view, kernel, strides, (pads[:count], pads[count:]), counts))


def _power(moves: MovedOperators, operator: Operator) -> Views:
    view, exponent = moves.view(operator), moves.sizes.number(operator.inputs[1])
    if exponent == 2 and view is not None and not isinstance(view.base, moved_response.Energy):
        return _one(moved_response.squared(moves.moved.settled(operator.value)))
    return None if view is None or exponent is None else _one(moved_response.power(view, exponent))


def _norm(moves: MovedOperators, operator: Operator) -> Views:
    axes = moves.integers(operator, 1, "axes")
    if not axes or not operator.get("keepdims", 1) or not moves.assembly.is_computed(operator.value):
        return None
    return _one(
        moved_response.norm(
            moves.moved.settled(operator.value), {"ReduceL1": 1.0, "ReduceL2": 2.0}[operator.name], axes
        )
    )


def _at_least(moves: MovedOperators, operator: Operator) -> Views:
    for place in (0, 1) if operator.name == "Max" and len(operator.inputs) == 2 else (0,):
        view = moves.view(operator, place)
        other = operator.optional(1 - place if operator.name == "Max" else 1)
        number = moves.sizes.number(other) if other is not None else operator.get("min")
        if view is not None and number is not None and not operator.optional(2) and operator.get("max") is None:
            return _one(moved_response.at_least(view, number))
    return None


def _spread(moves: MovedOperators, operator: Operator) -> Views:
    """A norm that is spread over the value that it is of: dividing does that by itself."""
    view = moves.view(operator)
    if view is None or not isinstance(view.base, moved_response.Norm):
        return None
    shape = whole(view.base.source.shape)
    sizes = moves.sizes.of(operator.inputs[1])
    return [view] if sizes == [shape.size(dim) for dim in range(len(shape.dims))] else None


def _add(moves: MovedOperators, operator: Operator) -> Views:
    for place in (0, 1):
        view, tensor = moves.view(operator, place), moves.assembly.tensor(operator.inputs[1 - place])
        number = moves.sizes.number(operator.inputs[1 - place])
        if view is not None and number is not None:
            added = moved_response.plus(view, number)
            if added is not None:
                return [added]
        if view is not None and tensor is not None:
            masked = moves.moved.masked(view, tensor)
            return _one(moves.moved.with_bias(operator.output, view, tensor) if masked is None else masked)
    return None


def _scale(moves: MovedOperators, operator: Operator) -> Views:
    for place in (0, 1) if operator.name == "Mul" else (0,):
        view, number = moves.view(operator, place), moves.sizes.number(operator.inputs[1 - place])
        if view is not None and number:
            factor = number if operator.name == "Mul" else 1 / number
            found = moves.moved.scaled(view, factor)
            return _one(moved_response.times(view, factor) if found is None else found)
    view = moves.view(operator)
    if operator.name == "Mul" and operator.inputs[0] == operator.inputs[1] and view is not None:
        return _one(moved_response.squared(moves.moved.settled(operator.value)))
    return None


def _softmax(moves: MovedOperators, operator: Operator) -> Views:
    view = moves.view(operator)
    if view is None or operator.get("axis", -1) not in (-1, len(view.look.dims) - 1):
        return None
    return _one(moves.moved.weighed(view))


def _same(moves: MovedOperators, operator: Operator) -> Views:
    view = moves.view(operator)
    return [view] if view is not None and moves.moved.is_moved(operator.value) else None


_WORK: dict[str, Callable[[MovedOperators, Operator], Views]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Add": _add,
    "Mul": _scale,
    "Div": _scale,
    "Softmax": _softmax,
    "Identity": _same,
    "Dropout": _same,
    "Concat": _joined,
    "Pad": _pad,
    "AveragePool": _average,
    "Pow": _power,
    "ReduceL1": _norm,
    "ReduceL2": _norm,
    "Max": _at_least,
    "Clip": _at_least,
    "Expand": _spread,
}


def _turned(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    return [tensor.permute(operator.get("perm") or list(range(tensor.dim()))[::-1])]


def _divided(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    axis = operator.get("axis", 0)
    parts = _parts(moves, operator, tensor.shape[axis])
    return None if parts is None else torch.split(tensor, parts, axis)


def _other_shape(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    sizes = moves.integers(operator, 1, "shape")
    if sizes is None:
        return None
    return [tensor.reshape([size or tensor.shape[at] for at, size in enumerate(sizes)])]


def _dims_gone(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    axes = moves.integers(operator, 1, "axes")
    return None if axes is None else [tensor.squeeze(axes)]


def _dims_more(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    axes = moves.integers(operator, 1, "axes")
    if axes is None:
        return None
    for axis in sorted(_counted(axes, tensor.dim() + len(axes))):
        tensor = tensor.unsqueeze(axis)
    return [tensor]


def _repeated(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    """The tensor for all places of a shape, such as the ones that a mask of later positions is made of."""
    told = moves.integers(operator, 1, "shape")
    sizes = None if told is None else _common_shape(tensor.shape, told)
    return None if sizes is None else [tensor.expand(sizes)]


def _triangle(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    """Trilu: the numbers above or below a diagonal, zeros elsewhere."""
    place = operator.optional(1)
    diagonal = 0 if place is None else moves.sizes.number(place)
    if diagonal is None or tensor.dim() < 2 or tensor.numel() > MOST_OF_A_MASK:
        return None
    cut_off = torch.triu if operator.get("upper", 1) else torch.tril
    return [cut_off(tensor, int(diagonal))]


def _compared(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    other = moves.assembly.tensor(operator.inputs[1])
    shape = None if other is None else _common_shape(tensor.shape, other.shape)
    return None if other is None or shape is None else [tensor == other]


def _chosen(moves: MovedOperators, operator: Operator, tensor: torch.Tensor) -> Sequence[torch.Tensor] | None:
    """Where: one of two numbers, as the tensor says."""
    first, second = (moves.assembly.tensor(operator.inputs[place]) for place in (1, 2))
    if first is None or second is None or tensor.dtype is not torch.bool or first.dtype is not second.dtype:
        return None
    between = _common_shape(first.shape, second.shape)
    shape = None if between is None else _common_shape(tensor.shape, between)
    return None if shape is None else [torch.where(tensor, first, second)]


def _common_shape(first: Sequence[int], second: Sequence[int]) -> Sequence[int] | None:
    """The shape that both spread to; None where there is none, or where it has more numbers than a mask."""
    try:
        shape = np.broadcast_shapes(tuple(first), tuple(second))
    except ValueError:
        return None
    return shape if math.prod(shape) <= MOST_OF_A_MASK else None


_OF_TENSORS: dict[str, Callable[[MovedOperators, Operator, torch.Tensor], Sequence[torch.Tensor] | None]] = {
    "Expand": _repeated,
    "Trilu": _triangle,
    "Equal": _compared,
    "Where": _chosen,
    "Transpose": _turned,
    "Split": _divided,
    "Reshape": _other_shape,
    "Squeeze": _dims_gone,
    "Unsqueeze": _dims_more,
    "Identity": lambda moves, operator, tensor: [tensor],
}
