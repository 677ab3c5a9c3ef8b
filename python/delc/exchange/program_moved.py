"""Operations of a program that move values around: what they do to views, behind which whole layers are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from delc.exchange import moved_means, moved_response
from delc.exchange.assembly import Assembly
from delc.exchange.axes import Look, Size, cut, permuted, reshaped, selected, squeezed, unsqueezed, wanted_sizes
from delc.exchange.moved import Moved, View
from delc.exchange.moved_masks import Mask, advanced, begun, hidden_by, spread, summed
from delc.exchange.program_constants import LOOKS, Constants
from delc.exchange.program_operations import END, Operation

FLOAT32 = 7


class MovedOperations:
    """Takes operations whose results may be views; the others are left to their own conversion."""

    def __init__(self, assembly: Assembly, read: set[str]) -> None:
        self.assembly = assembly
        self.moved = Moved(assembly)
        self.read = read
        self._sizes: dict[str, Size] = {}
        self._zeros: set[str] = set()
        self._constants = Constants()

    def take(self, operation: Operation, otherwise: Callable[[], None]) -> bool:
        """Whether the operation was taken. ``otherwise`` converts it in its own way, when its value is needed so."""
        if self._size(operation) or self._constant(operation):
            return True
        if operation.target == "div.Tensor" and self._divide(operation):
            return True
        work = _WORK.get(operation.target)
        found = work(self, operation) if work is not None else None
        if found is None:
            return False
        if operation.target in ("view.default", "reshape.default"):
            otherwise = self.moved.reshaping(operation.output, operation.value, found[0]) or otherwise
        for name, view in zip(operation.outputs, found, strict=False):
            if name:
                self.moved.put(name, view, otherwise if len(operation.outputs) == 1 else None)
        return True

    def view(self, operation: Operation, name: str = "self") -> View | None:
        """How an operand lies in a base."""
        value = operation.get(name) if name != "self" else operation.get("self", operation.get("input"))
        return self.moved.view(value) if isinstance(value, str) else None

    def tensor(self, operation: Operation, name: str) -> torch.Tensor | None:
        """An operand that is a tensor of the file."""
        value = operation.get(name)
        return self.assembly.tensor(value) if isinstance(value, str) else None

    def sizes(self, operation: Operation, name: str) -> list[Size | None]:
        """Sizes; None where one is not known."""
        return [self._sizes.get(size) if isinstance(size, str) else Size(size) for size in operation.sizes(name)]

    def are_zeros(self, value: str) -> bool:
        """Whether a value is nothing but zeros, for any number of rows."""
        tensor = self.assembly.tensor(value)
        return value in self._zeros or (tensor is not None and not tensor.any())

    def _size(self, operation: Operation) -> bool:
        """Whether the operation is on sizes, or makes zeros for all rows."""
        if operation.target == "sym_size.int":
            view = self.view(operation)
            if view is not None:
                self._sizes[operation.output] = view.look.size(operation.get("dim", 0))
            return True
        if operation.target in ("_operator.mul", "_operator.floordiv"):
            first, second = (self.sizes(operation, name)[0] for name in ("a", "b"))
            if first is not None and second is not None:
                found = first * second if operation.target == "_operator.mul" else first.divided(second)
                if found is not None:
                    self._sizes[operation.output] = found
            return True
        rows = operation.target == "zeros.default" and any(isinstance(size, str) for size in operation.sizes("size"))
        if rows:
            self._zeros.add(operation.output)
        return rows or operation.target == "_assert_tensor_metadata.default"

    def _constant(self, operation: Operation) -> bool:
        values = operation.tensors()
        found = self._constants.find(
            operation.target, operation.arguments, {value: self.assembly.tensor(value) for value in values}
        )
        if found is None:
            return False
        like = values[0] if len(values) == 1 else ""
        for name, tensor in zip(operation.outputs, [found] if isinstance(found, torch.Tensor) else found, strict=False):
            self.assembly.constant(name, tensor, like)
            if self._constants.is_made(like) or not values or len(values) > 1:
                self._constants.note(name, tensor)
        return True

    def _divide(self, operation: Operation) -> bool:
        value, by = operation.value, self.view(operation, "other")
        if by is None or not self.assembly.is_computed(value):
            return False
        if moved_response.divided(self.assembly, operation.output, value, by):
            return True
        total = self.moved.view(value)
        return total is not None and moved_means.divided(self.assembly, operation.output, total, by)


Views = Sequence[View] | None


def _looked(view: View | None, look: Look | None) -> Views:
    return None if view is None or look is None else [View(view.base, look, view.scale)]


def _one(view: View | None) -> Views:
    return None if view is None else [view]


def _transpose(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if view is None:
        return None
    order = list(range(len(view.look.dims)))
    first, second = operation.get("dim0"), operation.get("dim1")
    order[first], order[second] = order[second], order[first]
    return _looked(view, permuted(view.look, order))


def _permute(moves: MovedOperations, operation: Operation) -> Views:
    view, dims = moves.view(operation), operation.get("dims", [])
    return None if view is None else _looked(view, permuted(view.look, dims))


def _reshape(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    told = moves.sizes(operation, "size" if operation.target.startswith("view") else "shape")
    sizes = None if view is None else wanted_sizes(view.look, told)
    return None if view is None or sizes is None else _looked(view, reshaped(view.look, sizes))


def _unflatten(moves: MovedOperations, operation: Operation) -> Views:
    view, parts = moves.view(operation), moves.sizes(operation, "sizes")
    if view is None:
        return None
    sizes: list[Size | None] = [view.look.size(dim) for dim in range(len(view.look.dims))]
    at = operation.get("dim") % len(sizes)
    wanted = wanted_sizes(view.look, [*sizes[:at], *parts, *sizes[at + 1 :]])
    return None if wanted is None else _looked(view, reshaped(view.look, wanted))


def _unsqueeze(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    return _looked(
        view, None if view is None else unsqueezed(view.look, [operation.get("dim") % (len(view.look.dims) + 1)])
    )


def _squeeze(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    return _looked(view, None if view is None else squeezed(view.look, [operation.get("dim") % len(view.look.dims)]))


def _select(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if view is None:
        return None
    return _looked(view, selected(view.look, operation.get("dim") % len(view.look.dims), operation.get("index")))


def _slice(moves: MovedOperations, operation: Operation) -> Views:
    view, start, end = moves.view(operation), operation.get("start", 0), operation.get("end", END)
    if view is None or operation.get("step", 1) != 1:
        return None
    dim = operation.get("dim", 0) % len(view.look.dims)
    size = view.look.size(dim)
    if size.rows:
        return [view] if start == 0 and end >= END else None
    first, last = (max(0, place + size.count) if place < 0 else min(place, size.count) for place in (start, end))
    return _looked(view, cut(view.look, dim, first, last))


def _split(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if view is None:
        return None
    dim = operation.get("dim", 0) % len(view.look.dims)
    whole = view.look.size(dim).count
    if operation.target == "chunk.default":
        step = -(-whole // operation.get("chunks", 1))
    elif isinstance(operation.get("split_size"), int):
        step = operation.get("split_size")
    else:
        step = 0
    sizes = operation.get("split_sizes") if not step else [min(step, whole - at) for at in range(0, whole, step)]
    found: list[View] = []
    place = 0
    for size in sizes or []:
        part = _looked(view, cut(view.look, dim, place, place + size))
        if part is None:
            return None
        found += part
        place += size
    return found


def _linear(moves: MovedOperations, operation: Operation) -> Views:
    view, weight = moves.view(operation), moves.tensor(operation, "weight")
    bias = moves.tensor(operation, "bias")
    if view is None or weight is None or (operation.get("bias") is not None and bias is None):
        return None
    return _one(moves.moved.linear(operation.output, view, weight, bias, operation.get("weight")))


def _product(moves: MovedOperations, operation: Operation) -> Views:
    first = moves.view(operation)
    second = moves.view(operation, "mat2" if operation.target == "bmm.default" else "other")
    return None if first is None or second is None else _one(moves.moved.product(first, second))


def _added_product(moves: MovedOperations, operation: Operation) -> Views:
    """A mask and the product of queries and keys."""
    first, second = moves.view(operation, "batch1"), moves.view(operation, "batch2")
    scores = None if first is None or second is None else moves.moved.product(first, second)
    if scores is None or operation.get("alpha", 1) != 1 or operation.get("beta", 1) != 1:
        return None
    return _one(_masked(moves, operation.get("self"), scores))


def _masked(moves: MovedOperations, mask: str, scores: View) -> View | None:
    tensor = moves.assembly.tensor(mask)
    if tensor is not None:
        return moves.moved.masked(scores, tensor)
    view = moves.moved.view(mask)
    return None if view is None else hidden_by(scores, view)


def _attention(moves: MovedOperations, operation: Operation) -> Views:
    """scaled_dot_product_attention."""
    query, key, value = (moves.view(operation, name) for name in ("query", "key", "value"))
    if query is None or key is None or value is None or operation.get("dropout_p", 0.0) or operation.get("enable_gqa"):
        return None
    order = list(range(len(key.look.dims)))
    turned = View(key.base, permuted(key.look, [*order[:-2], order[-1], order[-2]]), key.scale)
    width = query.look.size(-1).count
    scores = moves.moved.product(query, turned)
    scores = None if scores is None else moves.moved.scaled(scores, operation.get("scale", width**-0.5))
    if scores is not None and operation.get("is_causal"):
        queries, keys = scores.look.size(-2).count, scores.look.size(-1).count
        scores = moves.moved.masked(scores, torch.full((queries, keys), float("-inf")).triu(1))
    if scores is not None and operation.get("attn_mask") is not None:
        scores = _masked(moves, operation.get("attn_mask"), scores)
    weights = None if scores is None else moves.moved.weighed(scores)
    return None if weights is None else _one(moves.moved.product(weights, value))


def _number(operation: Operation, name: str) -> float | None:
    value = operation.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _times(moves: MovedOperations, operation: Operation) -> Views:
    view, number = moves.view(operation), _number(operation, "other")
    if view is None:
        return None
    if number:
        factor = number if operation.target.startswith("mul") else 1 / number
        found = moves.moved.scaled(view, factor)
        return _one(moves_or(found, lambda: moved_response.times(view, factor)))
    if not operation.target.startswith("mul") or not isinstance(operation.get("other"), str):
        return None
    if operation.get("other") == operation.value:
        return _one(moved_response.squared(moves.moved.settled(operation.value)))
    for sequence, mask in (("self", "other"), ("other", "self")):
        kept = moves.view(operation, mask)
        if kept is not None and isinstance(kept.base, Mask):
            return _one(moved_means.kept(moves.moved.settled(operation.get(sequence)), kept))
    return None


def moves_or(found: View | None, other: Callable[[], View | None]) -> View | None:
    """The first that is one."""
    return other() if found is None else found


def _add(moves: MovedOperations, operation: Operation) -> Views:
    if operation.get("alpha", 1) != 1:
        return None
    number, view = _number(operation, "other"), moves.view(operation)
    if number is not None:
        return None if view is None else _one(moved_response.plus(view, number))
    for first, second in (("self", "other"), ("other", "self")):
        view, mask = moves.view(operation, first), operation.get(second)
        if view is None or not isinstance(mask, str):
            continue
        tensor = moves.assembly.tensor(mask)
        if isinstance(view.base, Mask) and tensor is not None:
            return _one(summed(view, tensor))
        found = _masked(moves, mask, view)
        if found is not None:
            return [found]
    return None


def _softmax(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if view is None or operation.get("dim") not in (-1, len(view.look.dims) - 1) or operation.get("dtype") is not None:
        return None
    return _one(moves.moved.weighed(view))


def _same(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    training = operation.target == "dropout.default" and operation.get("train")
    return [view] if view is not None and moves.moved.is_moved(operation.value) and not training else None


def _cast(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if operation.get("dtype") != FLOAT32 or view is None:
        return None
    return _one(advanced(view, "there", "kept")) if isinstance(view.base, Mask) else _same(moves, operation)


def _expand(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if view is not None and isinstance(view.base, Mask):
        return _one(spread(view, moves.sizes(operation, "size")))
    return None


def _expand_as(moves: MovedOperations, operation: Operation) -> Views:
    """A norm that is spread over the value that it is of: dividing does that by itself."""
    view = moves.view(operation)
    right = view is not None and isinstance(view.base, moved_response.Norm)
    return [view] if right and view is not None and view.base.source.value == operation.get("other") else None  # type: ignore[attr-defined]


def _pad(moves: MovedOperations, operation: Operation) -> Views:
    view, pads = moves.view(operation), operation.get("pad", [])
    if view is None or operation.get("mode", "constant") != "constant" or operation.get("value", 0):
        return None
    rank = len(view.look.dims)
    sides = [*pads, *[0] * (2 * rank - len(pads))]
    return _one(moved_response.padded(view, sides[0::2][::-1], sides[1::2][::-1]))


def _average(moves: MovedOperations, operation: Operation) -> Views:
    view, kernel = moves.view(operation), operation.get("kernel_size", [])
    count = len(kernel)
    pads = operation.get("padding", 0)
    pads = [pads] * count if isinstance(pads, int) else list(pads) * (count if len(pads) == 1 else 1)
    if view is None or operation.get("ceil_mode") or operation.get("divisor_override"):
        return None
    strides, counts = operation.get("stride") or kernel, operation.get("count_include_pad", True)
    return _one(moved_response.averaged(view, kernel, strides, (pads, pads), counts))


def _power(moves: MovedOperations, operation: Operation) -> Views:
    view, exponent = moves.view(operation), _number(operation, "exponent")
    if exponent == 2 and view is not None and not isinstance(view.base, moved_response.Energy):
        return _one(moved_response.squared(moves.moved.settled(operation.value)))
    return None if view is None or exponent is None else _one(moved_response.power(view, exponent))


def _norm(moves: MovedOperations, operation: Operation) -> Views:
    view, p = moves.moved.settled(operation.value), operation.get("ord", 2.0)
    if not operation.get("keepdim") or not operation.get("dim") or operation.get("dtype") is not None:
        return None
    return _one(moved_response.norm(view, float(p), operation.get("dim")))


def _at_least(moves: MovedOperations, operation: Operation) -> Views:
    view, number = moves.view(operation), _number(operation, "min")
    if view is None or number is None or operation.get("max") is not None:
        return None
    found = moved_response.at_least(view, number)
    return _one(moved_means.at_least(view, number) if found is None else found)


def _sum(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    if view is None or operation.get("keepdim") or operation.get("dtype") not in (None, FLOAT32):
        return None
    return _one(moved_means.summed(view, operation.get("dim", [])))


def _is_token(moves: MovedOperations, operation: Operation) -> Views:
    tokens, token, view = operation.value, operation.get("other"), moves.view(operation)
    if view is None or not isinstance(token, int) or token < 0 or len(view.base.shape) != 1 or not view.shows_all:
        return None
    return [begun(tokens, token, view.base.shape[0], "empty" if operation.target == "eq.Scalar" else "there")]


def _and(moves: MovedOperations, operation: Operation) -> Views:
    view, tensor = moves.view(operation), moves.tensor(operation, "other")
    if view is None or tensor is None or tensor.dtype is not torch.bool or tensor.dim() != 1:
        return None
    later = tensor.tolist() == [place > 0 for place in range(tensor.numel())]
    return _one(advanced(view, "empty", "hidden")) if later else None


def _zeros_like(moves: MovedOperations, operation: Operation) -> Views:
    view = moves.view(operation)
    return None if view is None else _one(advanced(view, "hidden", "zeros"))


def _filled(moves: MovedOperations, operation: Operation) -> Views:
    view, mask = moves.view(operation), moves.view(operation, "mask")
    if view is None or mask is None or operation.get("value") != float("-inf") or not isinstance(mask.base, Mask):
        return None
    if not isinstance(view.base, Mask) or mask.base.stage != "hidden" or mask.look != view.look:
        return None
    return _one(advanced(view, "zeros", "added")) if mask.base.padding == view.base.padding else None


_WORK: Mapping[str, Callable[[MovedOperations, Operation], Views]] = {
    "transpose.int": _transpose,
    "permute.default": _permute,
    "view.default": _reshape,
    "reshape.default": _reshape,
    "unflatten.int": _unflatten,
    "unsqueeze.default": _unsqueeze,
    "squeeze.dim": _squeeze,
    "select.int": _select,
    "slice.Tensor": _slice,
    "split.Tensor": _split,
    "split_with_sizes.default": _split,
    "chunk.default": _split,
    "linear.default": _linear,
    "matmul.default": _product,
    "bmm.default": _product,
    "baddbmm.default": _added_product,
    "scaled_dot_product_attention.default": _attention,
    "mul.Tensor": _times,
    "div.Tensor": _times,
    "add.Tensor": _add,
    "softmax.int": _softmax,
    "contiguous.default": _same,
    "clone.default": _same,
    "alias.default": _same,
    "dropout.default": _same,
    "to.dtype": _cast,
    "expand.default": _expand,
    "expand_as.default": _expand_as,
    "pad.default": _pad,
    "avg_pool2d.default": _average,
    "avg_pool3d.default": _average,
    "pow.Tensor_Scalar": _power,
    "linalg_vector_norm.default": _norm,
    "clamp_min.default": _at_least,
    "clamp.default": _at_least,
    "sum.dim_IntList": _sum,
    "eq.Scalar": _is_token,
    "ne.Scalar": _is_token,
    "__and__.Tensor": _and,
    "zeros_like.default": _zeros_like,
    "masked_fill_.Scalar": _filled,
    "masked_fill.Scalar": _filled,
}


def read_by(nodes: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> tuple[set[str], list[Mapping[str, Any]]]:
    """The values that lead to the outputs, and the nodes that give them or change what they look at."""
    operations = [Operation(str(node["target"]).removeprefix("torch.ops.aten."), node, {}) for node in nodes]
    looked_at: dict[str, str] = {}
    for operation in operations:
        values = operation.tensors()
        if values and (operation.target in LOOKS or is_in_place(operation.target)):
            looked_at.update((name, looked_at.get(values[0], values[0])) for name in operation.names())
    read, kept = set(outputs), []
    roots = {looked_at.get(name, name) for name in outputs}
    for node, operation in zip(reversed(nodes), reversed(operations), strict=True):
        values = operation.values()
        changes = is_in_place(operation.target) and bool(values) and looked_at.get(values[0], values[0]) in roots
        if changes or not read.isdisjoint(operation.names()):
            read.update(values)
            roots.update(looked_at.get(name, name) for name in values)
            kept.append(node)
    return read, kept[::-1]


def is_in_place(target: str) -> bool:
    """Whether an operation writes into its first operand."""
    name = target.partition(".")[0]
    return name.endswith("_") and not name.startswith("__")
