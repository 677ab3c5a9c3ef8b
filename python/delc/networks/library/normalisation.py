"""Normalisation and dropout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from delc.networks.arguments import INFERRED, Argument, Boolean, Integer, ListOf, Real
from delc.networks.kinds import (
    FLOAT,
    Arguments,
    Example,
    Kind,
    Mismatch,
    Value,
    infer,
    keeps_shape,
    need_dtype,
    need_rank,
    plain,
    register,
    with_parameters,
)
from delc.networks.library.convolution import SPACE, image, need_channels

CHAPTER = "Normalisation and dropout"

EPS = Argument("eps", Real(above=0), "added to the variance, so that nothing is divided by zero", 1e-5)


def batch_norm_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        if dimensions == 1 and len(inputs[0].shape) == 1:
            need_dtype(inputs[0], FLOAT)
            infer(arguments, "num_features", inputs[0].shape[0], "a number of features of")
        elif dimensions == 1 and len(inputs[0].shape) != 2:
            raise Mismatch("(rows, features) or (rows, channels, length)", "Images take batch_norm2d.")
        else:
            need_channels(arguments, inputs[0], dimensions, "num_features")
        return Value(inputs[0].shape)

    return rule


def instance_norm_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        need_channels(arguments, inputs[0], dimensions, "num_features")
        if math.prod(inputs[0].shape[1:]) == 1:
            raise Mismatch("more than one value in each channel", "Use layer_norm, or fewer pools before it.")
        return Value(inputs[0].shape)

    return rule


def group_norm_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    if not inputs[0].shape:
        raise Mismatch("(rows, channels, ...)")
    infer(arguments, "num_channels", inputs[0].shape[0], "a number of channels of")
    if arguments["num_channels"] % arguments["num_groups"]:
        raise Mismatch(f"a number of channels that the {arguments['num_groups']} groups divide")
    return Value(inputs[0].shape)


def layer_norm_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    """Over the last dimension unless told otherwise."""
    need_dtype(inputs[0], FLOAT)
    shape = inputs[0].shape
    if not shape:
        raise Mismatch("(rows, ..., features)")
    over = arguments["normalized_shape"] or [shape[-1]]
    if list(shape[-len(over) :]) != over:
        raise Mismatch(
            f"last dimensions of {over}, because normalized_shape is {over}", "Leave it out: it is inferred."
        )
    arguments["normalized_shape"] = over
    return Value(shape)


def rms_norm_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    """As torch does, by default with the epsilon of the numbers that arrive, which are float32 here."""
    if arguments["eps"] is None:
        arguments["eps"] = torch.finfo(torch.float32).eps
    return layer_norm_rule(arguments, inputs)


def local_response_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    if len(inputs[0].shape) < 2:
        raise Mismatch("(rows, channels, ...) with at least one more dimension")
    return Value(inputs[0].shape)


def channel_dropout_rule(dimensions: int) -> Callable[[Arguments, Sequence[Value]], Value]:
    def rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
        need_dtype(inputs[0], FLOAT)
        need_rank(inputs[0], ("channels", *SPACE[dimensions]))
        return Value(inputs[0].shape)

    return rule


def _running_norm(name: str, dimensions: int, module: Callable[..., nn.Module]) -> Kind:
    batch = name == "batch_norm"
    shape = f"(channels, {', '.join(SPACE[dimensions])})"
    over = "each channel over the rows of a batch" if batch else "each channel of each row"
    return Kind(
        name=f"{name}{dimensions}d",
        chapter=CHAPTER,
        text=f"Standardises {over}, for {shape}{' or (features)' if batch and dimensions == 1 else ''}.",
        arguments=(
            Argument("num_features", Integer(), "channels (or features) that arrive", INFERRED),
            EPS,
            Argument(
                "momentum",
                Real(least=0, most=1),
                "weight of the newest batch in the running statistics; null: all batches weigh the same",
                0.1,
                nullable=True,
            ),
            Argument("affine", Boolean(), "learn a scale and a shift for each channel", batch),
            Argument("track_running_stats", Boolean(), "keep the statistics for prediction", batch),
        ),
        rule=(batch_norm_rule if batch else instance_norm_rule)(dimensions),
        make=with_parameters(module),
        pointwise=True,
        example=Example({}, (image(dimensions),)),
    )


def _over_last(
    name: str,
    text: str,
    module: Callable[..., nn.Module],
    rule: Callable[[Arguments, Sequence[Value]], Value],
    eps: Argument,
    *others: Argument,
) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=(
            Argument("normalized_shape", ListOf(Integer()), "sizes of the last dimensions that it covers", INFERRED),
            eps,
            Argument("elementwise_affine", Boolean(), "learn a scale for each element", True),
            *others,
        ),
        rule=rule,
        make=with_parameters(module),
        pointwise=True,
        example=Example({}, (Value((6, 16)),)),
    )


def _dropout(name: str, text: str, module: Callable[..., nn.Module], dimensions: int | None = None) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=(Argument("p", Real(least=0, below=1), "the share that is dropped while training", 0.5),),
        rule=keeps_shape if dimensions is None else channel_dropout_rule(dimensions),
        make=plain(module),
        pointwise=True,
        example=Example({"p": 0.2}) if dimensions is None else Example({"p": 0.2}, (image(dimensions),)),
    )


register(
    _running_norm("batch_norm", 1, nn.BatchNorm1d),
    _running_norm("batch_norm", 2, nn.BatchNorm2d),
    _running_norm("batch_norm", 3, nn.BatchNorm3d),
    _running_norm("instance_norm", 1, nn.InstanceNorm1d),
    _running_norm("instance_norm", 2, nn.InstanceNorm2d),
    _running_norm("instance_norm", 3, nn.InstanceNorm3d),
    _over_last(
        "layer_norm",
        "Standardises each row over its last dimensions.",
        nn.LayerNorm,
        layer_norm_rule,
        EPS,
        Argument("bias", Boolean(), "learn a shift for each element too", True),
    ),
    _over_last(
        "rms_norm",
        "Divides by the root mean square over the last dimensions.",
        nn.RMSNorm,
        rms_norm_rule,
        Argument("eps", Real(above=0), "added to the mean square; by default what float32 can tell from 1", INFERRED),
    ),
    Kind(
        name="group_norm",
        chapter=CHAPTER,
        text="Standardises groups of channels of each row.",
        arguments=(
            Argument("num_groups", Integer(), "how many groups the channels form"),
            Argument("num_channels", Integer(), "channels that arrive", INFERRED),
            EPS,
            Argument("affine", Boolean(), "learn a scale and a shift for each channel", True),
        ),
        rule=group_norm_rule,
        make=with_parameters(nn.GroupNorm),
        pointwise=True,
        example=Example({"num_groups": 2}, (image(2, channels=4),)),
    ),
    Kind(
        name="local_response_norm",
        chapter=CHAPTER,
        text="Divides each channel by the energy of its neighbours (AlexNet).",
        arguments=(
            Argument("size", Integer(), "channels in the neighbourhood"),
            Argument("alpha", Real(least=0), "factor of the energy", 1e-4),
            Argument("beta", Real(least=0), "exponent", 0.75),
            Argument("k", Real(above=0), "added to the energy", 1.0),
        ),
        rule=local_response_rule,
        make=plain(nn.LocalResponseNorm),
        example=Example({"size": 3}, (image(2),)),
    ),
    _dropout("dropout", "Drops single numbers while training.", nn.Dropout),
    _dropout("dropout1d", "Drops whole channels of (channels, length) while training.", nn.Dropout1d, 1),
    _dropout("dropout2d", "Drops whole channels of (channels, height, width) while training.", nn.Dropout2d, 2),
    _dropout("dropout3d", "Drops whole channels of (channels, depth, height, width) while training.", nn.Dropout3d, 3),
    _dropout("alpha_dropout", "Dropout that keeps mean and variance, for selu.", nn.AlphaDropout),
)
