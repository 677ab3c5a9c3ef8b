"""Layers that move numbers without changing them: flatten, reshape, permute, select, concat, pad, upsample, …"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from delc.networks.arguments import Argument, Choice, Integer, ListOf, Real
from delc.networks.kinds import (
    FLOAT,
    Arguments,
    Example,
    Kind,
    Mismatch,
    Value,
    axis,
    function,
    need_dtype,
    plain,
    register,
)

CHAPTER = "Shapes"

DIMENSION = Integer(least=-8, most=8)
IMAGE = Value((3, 8, 8))
MODES = {2: ("nearest", "linear"), 3: ("nearest", "bilinear", "bicubic"), 4: ("nearest", "trilinear")}
"""What interpolates values with so many dimensions (channels included)."""


def with_shape(value: Value, shape: Sequence[int]) -> Value:
    """The same numbers or tokens in another shape."""
    return Value(tuple(shape), value.dtype, value.categories)


def identity_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    return inputs[0]


def flatten_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    if not shape:
        return with_shape(inputs[0], (1,))
    first, last = (axis(arguments[name], len(shape)) for name in ("start_dim", "end_dim"))
    if first > last:
        raise Mismatch(f"a start_dim not behind end_dim, but they are {arguments['start_dim']}, {arguments['end_dim']}")
    return with_shape(inputs[0], (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def unflatten_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    at = axis(arguments["dim"], len(shape))
    sizes = fill_unknown(arguments["sizes"], shape[at])
    arguments["sizes"] = sizes
    return with_shape(inputs[0], (*shape[:at], *sizes, *shape[at + 1 :]))


def reshape_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    arguments["shape"] = fill_unknown(arguments["shape"], inputs[0].elements)
    return with_shape(inputs[0], arguments["shape"])


def fill_unknown(sizes: Sequence[int], elements: int) -> list[int]:
    """The sizes with a -1 among them worked out; ``Mismatch`` when they do not hold exactly that many elements."""
    known = math.prod(size for size in sizes if size != -1)
    if 0 in sizes or list(sizes).count(-1) > 1:
        raise Mismatch(f"sizes of at least 1, one of them may be -1, but they are {list(sizes)}")
    filled = [elements // known if size == -1 else size for size in sizes]
    if math.prod(filled) != elements:
        raise Mismatch(f"{known} numbers in a row (or a multiple where a size is -1), to make {list(sizes)} of them")
    return filled


def permute_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    order = [axis(dim, len(shape)) for dim in arguments["dims"]]
    if sorted(order) != list(range(len(shape))):
        raise Mismatch(
            f"dims that name each of the dimensions 1 to {len(shape)} once, but they are {arguments['dims']}"
        )
    return with_shape(inputs[0], [shape[at] for at in order])


def transpose_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = list(inputs[0].shape)
    first, second = (axis(arguments[name], len(shape)) for name in ("dim0", "dim1"))
    shape[first], shape[second] = shape[second], shape[first]
    return with_shape(inputs[0], shape)


def squeeze_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    at = axis(arguments["dim"], len(shape))
    if shape[at] != 1:
        raise Mismatch(f"a size of 1 in dimension {arguments['dim']}")
    return with_shape(inputs[0], shape[:at] + shape[at + 1 :])


def unsqueeze_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    at = axis(arguments["dim"], len(shape) + 1)
    return with_shape(inputs[0], (*shape[:at], 1, *shape[at:]))


def select_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape, index = inputs[0].shape, arguments["index"]
    at = axis(arguments["dim"], len(shape))
    if not -shape[at] <= index < shape[at]:
        raise Mismatch(f"a size in dimension {arguments['dim']} that has a position {index}", "Positions count from 0.")
    return with_shape(inputs[0], shape[:at] + shape[at + 1 :])


def slice_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    at = axis(arguments["dim"], len(shape))
    size = len(range(shape[at])[arguments["start"] : arguments["end"] : arguments["step"]])
    if size == 0:
        raise Mismatch(f"something between positions {arguments['start']} and {arguments['end']}")
    return with_shape(inputs[0], (*shape[:at], size, *shape[at + 1 :]))


def concat_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    first = inputs[0].shape
    at = axis(arguments["dim"], len(first))
    for value in inputs:
        need_dtype(value, inputs[0].dtype)
        others_equal = value.shape[:at] == first[:at] and value.shape[at + 1 :] == first[at + 1 :]
        if len(value.shape) != len(first) or not others_equal:
            raise Mismatch(f"shapes that differ only in dimension {arguments['dim']}")
    total = sum(value.shape[at] for value in inputs)
    return Value((*first[:at], total, *first[at + 1 :]), inputs[0].dtype)


def stack_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    first = inputs[0]
    for value in inputs:
        need_dtype(value, first.dtype)
        if value.shape != first.shape:
            raise Mismatch("inputs of one shape")
    at = axis(arguments["dim"], len(first.shape) + 1)
    return Value((*first.shape[:at], len(inputs), *first.shape[at:]), first.dtype)


def pad_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    """Pairs of numbers for the last dimension, the one before it, … as in torch."""
    need_dtype(inputs[0], FLOAT)
    pads, shape = arguments["pad"], list(inputs[0].shape)
    if len(pads) % 2 or len(pads) // 2 > len(shape):
        raise Mismatch(f"two numbers in pad for each of the last dimensions, but there are {len(pads)}")
    if arguments["mode"] != "constant":
        _need_room(arguments["mode"], pads, shape)
    for pair in range(len(pads) // 2):
        shape[-1 - pair] += pads[2 * pair] + pads[2 * pair + 1]
    return Value(tuple(shape))


def _need_room(mode: str, pads: Sequence[int], shape: Sequence[int]) -> None:
    """Torch mirrors and repeats over all dimensions behind the channels, and no more than what is there."""
    behind = len(shape) - 1
    if len(pads) != 2 * behind or behind > 3:
        raise Mismatch(
            f"(rows, channels, ...) with up to three dimensions more, each with two numbers in pad, because mode is"
            f' "{mode}"'
        )
    most = {"reflect": -1, "circular": 0}
    if mode in most and any(pad > shape[-1 - place // 2] + most[mode] for place, pad in enumerate(pads)):
        raise Mismatch(f'sizes larger than the padding {list(pads)}, because mode is "{mode}"')


def upsample_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    shape = inputs[0].shape
    if len(shape) not in MODES:
        raise Mismatch("(rows, channels, length), (rows, channels, height, width) or one dimension more")
    if arguments["mode"] not in MODES[len(shape)]:
        raise Mismatch(f"mode {' or '.join(MODES[len(shape)])} for this shape, but it is {arguments['mode']}")
    return Value((shape[0], *(size * arguments["scale_factor"] for size in shape[1:])))


def make_upsample(arguments: Arguments, device: str) -> nn.Module:
    return nn.Upsample(scale_factor=float(arguments["scale_factor"]), mode=arguments["mode"])


def reshape(value: torch.Tensor, *, shape: tuple[int, ...]) -> torch.Tensor:
    return value.reshape(value.shape[0], *shape)


def flatten(value: torch.Tensor, *, start_dim: int, end_dim: int) -> torch.Tensor:
    return value.flatten(start_dim, end_dim) if value.dim() > 1 else value.unsqueeze(1)


def slice_dimension(value: torch.Tensor, *, dim: int, start: int, end: int | None, step: int) -> torch.Tensor:
    positions: list[Any] = [slice(None)] * value.dim()
    positions[dim] = slice(start, end, step)
    return value[tuple(positions)]


def concat(*values: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.cat(values, dim)


def stack(*values: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.stack(values, dim)


def permute(value: torch.Tensor, *, dims: tuple[int, ...]) -> torch.Tensor:
    return value.permute(0, *dims)


def pad(value: torch.Tensor, *, pad: tuple[int, ...], value_: float, mode: str) -> torch.Tensor:
    if mode == "constant":
        return functional.pad(value, pad, value=value_)
    return functional.pad(value, pad, mode=mode)


def make_pad(arguments: Arguments, device: str) -> nn.Module:
    return function(pad)(pad=tuple(arguments["pad"]), value_=arguments["value"], mode=arguments["mode"])


def _dim(text: str, default: int | None = None) -> Argument:
    where = f"{text}; 0 is the rows, -1 the last"
    return Argument("dim", DIMENSION, where) if default is None else Argument("dim", DIMENSION, where, default)


def _moving(
    name: str,
    text: str,
    rule: Callable[[Arguments, Sequence[Value]], Value],
    module: Callable[..., nn.Module],
    arguments: tuple[Argument, ...],
    example: Example,
) -> Kind:
    return Kind(
        name=name, chapter=CHAPTER, text=text, rule=rule, make=plain(module), arguments=arguments, example=example
    )


register(
    Kind(
        name="identity",
        chapter=CHAPTER,
        text="Gives what arrives.",
        rule=identity_rule,
        make=plain(nn.Identity),
        pointwise=True,
    ),
    _moving(
        "flatten",
        "Makes one dimension of several: by default all of a row's.",
        flatten_rule,
        function(flatten),
        (
            Argument("start_dim", DIMENSION, "the first dimension; 0 is the rows", 1),
            Argument("end_dim", DIMENSION, "the last dimension", -1),
        ),
        Example({}, (IMAGE,)),
    ),
    _moving(
        "unflatten",
        "Makes several dimensions of one.",
        unflatten_rule,
        lambda **given: nn.Unflatten(given["dim"], given["sizes"]),
        (
            _dim("the dimension", 1),
            Argument("sizes", ListOf(Integer(least=-1), most=8), "what it becomes; one size may be -1"),
        ),
        Example({"sizes": [4, -1]}),
    ),
    _moving(
        "reshape",
        "Gives each row another shape with as many numbers.",
        reshape_rule,
        function(reshape),
        (Argument("shape", ListOf(Integer(least=-1), most=8), "the shape without the rows; one size may be -1"),),
        Example({"shape": [1, 4, 4]}),
    ),
    _moving(
        "permute",
        "Puts the dimensions of a row in another order.",
        permute_rule,
        function(permute),
        (Argument("dims", ListOf(DIMENSION, most=8), "the dimensions 1, 2, … in their new order"),),
        Example({"dims": [3, 1, 2]}, (IMAGE,)),
    ),
    _moving(
        "transpose",
        "Exchanges two dimensions.",
        transpose_rule,
        function(torch.transpose),
        (
            Argument("dim0", DIMENSION, "one dimension; 0 is the rows", 1),
            Argument("dim1", DIMENSION, "the other dimension", 2),
        ),
        Example({}, (Value((12, 4)),)),
    ),
    _moving(
        "squeeze",
        "Removes a dimension of size 1.",
        squeeze_rule,
        function(torch.squeeze),
        (_dim("the dimension"),),
        Example({"dim": 1}, (Value((1, 16)),)),
    ),
    _moving(
        "unsqueeze",
        "Adds a dimension of size 1.",
        unsqueeze_rule,
        function(torch.unsqueeze),
        (_dim("where it is put"),),
        Example({"dim": 1}),
    ),
    _moving(
        "select",
        "Takes one position of a dimension, for example the first token's features.",
        select_rule,
        function(torch.select),
        (
            _dim("the dimension", 1),
            Argument("index", Integer(least=-(2**31)), "the position, from 0; negative from the end", 0),
        ),
        Example({"index": -1}, (Value((12, 4)),)),
    ),
    _moving(
        "slice",
        "Takes a range of positions of a dimension.",
        slice_rule,
        function(slice_dimension),
        (
            _dim("the dimension", 1),
            Argument("start", Integer(least=-(2**31)), "first position, from 0; negative from the end", 0),
            Argument("end", Integer(least=-(2**31)), "the position before which it ends", None),
            Argument("step", Integer(), "distance of the positions", 1),
        ),
        Example({"start": 2, "end": 10}, (Value((12, 4)),)),
    ),
    Kind(
        name="concat",
        chapter=CHAPTER,
        text="Puts its inputs side by side along a dimension.",
        arguments=(_dim("the dimension", 1),),
        rule=concat_rule,
        make=plain(function(concat)),
        most=None,
        example=Example({}, (Value((16,)), Value((4,)))),
    ),
    Kind(
        name="stack",
        chapter=CHAPTER,
        text="Puts inputs of one shape behind each other along a new dimension.",
        arguments=(_dim("where it is put", 1),),
        rule=stack_rule,
        make=plain(function(stack)),
        most=None,
        example=Example({}, (Value((16,)), Value((16,)))),
    ),
    Kind(
        name="pad",
        chapter=CHAPTER,
        text="Adds a constant, or what is there mirrored or repeated, around the last dimensions.",
        arguments=(
            Argument(
                "pad",
                ListOf(Integer(least=0), least=2, most=16),
                "before and after the last dimension, before and after the one before it, …",
            ),
            Argument("value", Real(), "the constant", 0.0),
            Argument(
                "mode",
                Choice(("constant", "reflect", "replicate", "circular")),
                "what is added",
                "constant",
            ),
        ),
        rule=pad_rule,
        make=make_pad,
        example=Example({"pad": [1, 1, 0, 2]}, (IMAGE,)),
    ),
    Kind(
        name="upsample",
        chapter=CHAPTER,
        text="Enlarges (channels, ...) by a factor.",
        arguments=(
            Argument("scale_factor", Integer(most=64), "the factor", 2),
            Argument(
                "mode",
                Choice(("nearest", "linear", "bilinear", "bicubic", "trilinear")),
                "how numbers in between are found",
                "nearest",
            ),
        ),
        rule=upsample_rule,
        make=make_upsample,
        example=Example({}, (IMAGE,)),
    ),
)
