"""Pools: the largest or the mean value of windows, of a fixed number of cells, or of everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from delc.networks.arguments import Argument, Boolean, PerDimension
from delc.networks.kinds import (
    FLOAT,
    Arguments,
    Example,
    Kind,
    Mismatch,
    Value,
    function,
    need_dtype,
    need_rank,
    per_dimension,
    plain,
    register,
)
from delc.networks.library.convolution import SPACE, image, need_size

CHAPTER = "Pools"


def pool_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    """The rule of sliding windows; the stride, when not given, is the size of the window."""

    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        need_dtype(inputs[0], FLOAT)
        need_rank(inputs[0], ("channels", *SPACE[dimensions]))
        if arguments["stride"] is None:
            arguments["stride"] = arguments["kernel_size"]
        kernel, stride, padding, dilation = (
            per_dimension(arguments.get(name, 1), dimensions)
            for name in ("kernel_size", "stride", "padding", "dilation")
        )
        sizes = []
        for at, size in enumerate(inputs[0].shape[1:]):
            if 2 * padding[at] > kernel[at]:
                raise Mismatch(f"a padding of at most half the kernel of size {kernel[at]}, but it is {padding[at]}")
            span = dilation[at] * (kernel[at] - 1) + 1
            sizes.append(_windows(size, span, stride[at], padding[at], arguments["ceil_mode"]))
            need_size(sizes[-1], kernel[at], SPACE[dimensions][at])
        return Value((inputs[0].shape[0], *sizes))

    return rule


def _windows(size: int, span: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """How many windows there are; with ceil_mode one more may reach over the end, but must start before it."""
    steps = size + 2 * padding - span
    count = (steps + (stride - 1 if ceil_mode else 0)) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count


def adaptive_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        need_dtype(inputs[0], FLOAT)
        need_rank(inputs[0], ("channels", *SPACE[dimensions]))
        return Value((inputs[0].shape[0], *per_dimension(arguments["output_size"], dimensions)))

    return rule


def global_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    if len(inputs[0].shape) < 2:
        raise Mismatch("(rows, channels, ...) with at least one dimension to pool over")
    return Value(inputs[0].shape[:1])


def global_average_pool(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(2).mean(2)


def global_max_pool(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(2).amax(2)


def _pool(name: str, dimensions: int, module: Callable[..., nn.Module], *others: Argument) -> Kind:
    what = "Largest value" if name == "max" else "Mean"
    return Kind(
        name=f"{name}_pool{dimensions}d",
        chapter=CHAPTER,
        text=f"{what} of each window of (channels, {', '.join(SPACE[dimensions])}).",
        arguments=(
            Argument("kernel_size", PerDimension(dimensions), "size of the window"),
            Argument("stride", PerDimension(dimensions), "step of the window; by default its size", None),
            Argument("padding", PerDimension(dimensions, least=0), "what is added on each side", 0),
            *others,
            Argument("ceil_mode", Boolean(), "let the last window reach over the end", False),
        ),
        rule=pool_rule(dimensions),
        make=plain(module),
        example=Example({"kernel_size": 2}, (image(dimensions),)),
    )


def _max_pool(dimensions: int, module: Callable[..., nn.Module]) -> Kind:
    dilation = Argument("dilation", PerDimension(dimensions), "distance between the points of the window", 1)
    return _pool("max", dimensions, module, dilation)


def _average_pool(dimensions: int, module: Callable[..., nn.Module]) -> Kind:
    return _pool(
        "avg", dimensions, module, Argument("count_include_pad", Boolean(), "count the padding in the mean", True)
    )


def _adaptive(name: str, dimensions: int, module: Callable[..., nn.Module]) -> Kind:
    what = "Largest value" if name == "max" else "Mean"
    return Kind(
        name=f"adaptive_{name}_pool{dimensions}d",
        chapter=CHAPTER,
        text=f"{what} of each cell of a grid of fixed size over ({', '.join(SPACE[dimensions])}).",
        arguments=(Argument("output_size", PerDimension(dimensions), "size of the grid"),),
        rule=adaptive_rule(dimensions),
        make=plain(module),
        example=Example({"output_size": 2}, (image(dimensions),)),
    )


register(
    _max_pool(1, nn.MaxPool1d),
    _max_pool(2, nn.MaxPool2d),
    _max_pool(3, nn.MaxPool3d),
    _average_pool(1, nn.AvgPool1d),
    _average_pool(2, nn.AvgPool2d),
    _average_pool(3, nn.AvgPool3d),
    _adaptive("avg", 1, nn.AdaptiveAvgPool1d),
    _adaptive("avg", 2, nn.AdaptiveAvgPool2d),
    _adaptive("avg", 3, nn.AdaptiveAvgPool3d),
    _adaptive("max", 1, nn.AdaptiveMaxPool1d),
    _adaptive("max", 2, nn.AdaptiveMaxPool2d),
    _adaptive("max", 3, nn.AdaptiveMaxPool3d),
    Kind(
        name="global_average_pool",
        chapter=CHAPTER,
        text="Mean of each channel over all other dimensions: (channels, ...) becomes (channels).",
        rule=global_rule,
        make=plain(function(global_average_pool)),
        example=Example({}, (image(2),)),
    ),
    Kind(
        name="global_max_pool",
        chapter=CHAPTER,
        text="Largest value of each channel over all other dimensions: (channels, ...) becomes (channels).",
        rule=global_rule,
        make=plain(function(global_max_pool)),
        example=Example({}, (image(2),)),
    ),
)
