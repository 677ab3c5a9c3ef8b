"""Convolutions and transposed convolutions over one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn

from delc.networks.arguments import INFERRED, Argument, Boolean, Choice, Either, Integer, PerDimension
from delc.networks.kinds import (
    FLOAT,
    Arguments,
    Cost,
    Example,
    Kind,
    Mismatch,
    Value,
    infer,
    need_dtype,
    need_rank,
    per_dimension,
    register,
    with_parameters,
)

CHAPTER = "Convolutions"
SPACE = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
EXAMPLE_SIZES = {1: (12,), 2: (8, 8), 3: (6, 6, 6)}


def image(dimensions: int, channels: int = 3) -> Value:
    """What arrives in the examples of layers over that many dimensions."""
    return Value((channels, *EXAMPLE_SIZES[dimensions]))


def need_channels(arguments: Arguments, value: Value, dimensions: int, name: str) -> None:
    """The value has channels and as many dimensions as named; the number of channels is inferred."""
    need_dtype(value, FLOAT)
    need_rank(value, ("channels", *SPACE[dimensions]))
    infer(arguments, name, value.shape[0], "a number of channels of")


def need_groups(arguments: Arguments) -> None:
    """Channels are divided into groups of equal size."""
    for name in ("in_channels", "out_channels"):
        if arguments[name] % arguments["groups"]:
            raise Mismatch(f"{name} divisible by groups, but they are {arguments[name]} and {arguments['groups']}")


def need_size(size: int, kernel: int, where: str) -> None:
    """A window must fit into what it slides over."""
    if size < 1:
        raise Mismatch(
            f"a {where} that the kernel of size {kernel} fits into",
            "Use a smaller kernel or dilation, more padding, or fewer pools before it.",
        )


def convolution_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        need_channels(arguments, inputs[0], dimensions, "in_channels")
        need_groups(arguments)
        return Value((arguments["out_channels"], *_convolved(arguments, inputs[0].shape[1:])))

    return rule


def _convolved(arguments: Arguments, sizes: Sequence[int]) -> list[int]:
    dimensions = len(sizes)
    kernel, stride, dilation = (
        per_dimension(arguments[name], dimensions) for name in ("kernel_size", "stride", "dilation")
    )
    if arguments["padding"] == "same":
        if set(stride) != {1}:
            raise Mismatch('a stride of 1, because padding is "same"', "Give the padding as a number.")
        pads = [math.ceil(dilated * (size - 1) / 2) for dilated, size in zip(dilation, kernel, strict=True)]
        _need_padding(arguments["padding_mode"], sizes, pads)
        return list(sizes)
    pads = per_dimension(0 if arguments["padding"] == "valid" else arguments["padding"], dimensions)
    _need_padding(arguments["padding_mode"], sizes, pads)
    convolved = []
    for at, size in enumerate(sizes):
        steps = size + 2 * pads[at] - dilation[at] * (kernel[at] - 1) - 1
        convolved.append(steps // stride[at] + 1)
        need_size(convolved[-1], kernel[at], SPACE[dimensions][at])
    return convolved


def _need_padding(mode: str, sizes: Sequence[int], pads: Sequence[int]) -> None:
    """Torch repeats or mirrors no more than what is there."""
    most = {"reflect": -1, "circular": 0}
    if mode in most and any(pad > size + most[mode] for pad, size in zip(pads, sizes, strict=True)):
        raise Mismatch(f'sizes larger than the padding {list(pads)}, because padding_mode is "{mode}"')


def transposed_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        need_channels(arguments, inputs[0], dimensions, "in_channels")
        need_groups(arguments)
        kernel, stride, padding, extra, dilation = (
            per_dimension(arguments[name], dimensions)
            for name in ("kernel_size", "stride", "padding", "output_padding", "dilation")
        )
        grown = []
        for at, size in enumerate(inputs[0].shape[1:]):
            if extra[at] >= max(stride[at], dilation[at]):
                raise Mismatch(f"an output_padding below the stride or the dilation, but it is {extra[at]}")
            grown.append((size - 1) * stride[at] - 2 * padding[at] + dilation[at] * (kernel[at] - 1) + extra[at] + 1)
            if grown[-1] < 1:
                raise Mismatch(f"a {SPACE[dimensions][at]} that is left after the padding of {padding[at]}")
        return Value((arguments["out_channels"], *grown))

    return rule


def convolution_cost(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
    dimensions = len(output.shape) - 1
    window = math.prod(per_dimension(arguments["kernel_size"], dimensions))
    return Cost(flops=2 * output.elements * window * (arguments["in_channels"] // arguments["groups"]))


def transposed_cost(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
    dimensions = len(output.shape) - 1
    window = math.prod(per_dimension(arguments["kernel_size"], dimensions))
    return Cost(flops=2 * inputs[0].elements * window * (arguments["out_channels"] // arguments["groups"]))


def _channels() -> tuple[Argument, ...]:
    return (
        Argument("in_channels", Integer(), "channels that arrive", INFERRED),
        Argument("out_channels", Integer(), "channels that it gives"),
    )


def _convolution(dimensions: int, module: Callable[..., nn.Module]) -> Kind:
    return Kind(
        name=f"conv{dimensions}d",
        chapter=CHAPTER,
        text=f"Convolution over (channels, {', '.join(SPACE[dimensions])}).",
        arguments=(
            *_channels(),
            Argument("kernel_size", PerDimension(dimensions), "size of the window"),
            Argument("stride", PerDimension(dimensions), "step of the window", 1),
            Argument(
                "padding",
                Either((PerDimension(dimensions, least=0), Choice(("same", "valid")))),
                'what is added on each side; "same" keeps the size',
                0,
            ),
            Argument("dilation", PerDimension(dimensions), "distance between the points of the window", 1),
            Argument("groups", Integer(), "groups of channels that are convolved separately", 1),
            Argument("bias", Boolean(), "learn an additive bias", True),
            Argument(
                "padding_mode",
                Choice(("zeros", "reflect", "replicate", "circular")),
                "what the padding is filled with",
                "zeros",
            ),
        ),
        rule=convolution_rule(dimensions),
        make=with_parameters(module),
        cost=convolution_cost,
        example=Example({"out_channels": 8, "kernel_size": 3, "padding": 1}, (image(dimensions),)),
    )


def _transposed(dimensions: int, module: Callable[..., nn.Module]) -> Kind:
    return Kind(
        name=f"conv_transpose{dimensions}d",
        chapter=CHAPTER,
        text=f"Transposed convolution over (channels, {', '.join(SPACE[dimensions])}): the way back from a stride.",
        arguments=(
            *_channels(),
            Argument("kernel_size", PerDimension(dimensions), "size of the window"),
            Argument("stride", PerDimension(dimensions), "distance between the places of the window", 1),
            Argument("padding", PerDimension(dimensions, least=0), "what is taken off on each side", 0),
            Argument("output_padding", PerDimension(dimensions, least=0), "what is added on one side", 0),
            Argument("groups", Integer(), "groups of channels that are convolved separately", 1),
            Argument("bias", Boolean(), "learn an additive bias", True),
            Argument("dilation", PerDimension(dimensions), "distance between the points of the window", 1),
        ),
        rule=transposed_rule(dimensions),
        make=with_parameters(module),
        cost=transposed_cost,
        example=Example({"out_channels": 4, "kernel_size": 2, "stride": 2}, (image(dimensions),)),
    )


register(
    _convolution(1, nn.Conv1d),
    _convolution(2, nn.Conv2d),
    _convolution(3, nn.Conv3d),
    _transposed(1, nn.ConvTranspose1d),
    _transposed(2, nn.ConvTranspose2d),
    _transposed(3, nn.ConvTranspose3d),
)
