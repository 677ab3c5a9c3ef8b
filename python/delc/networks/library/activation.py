"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from delc.networks.arguments import INFERRED, Argument, Choice, Integer, Real
from delc.networks.kinds import (
    FLOAT,
    Arguments,
    Kind,
    Mismatch,
    Value,
    axis,
    function,
    keeps_shape,
    need_dtype,
    plain,
    register,
    with_parameters,
)

CHAPTER = "Activations"

DIM = Argument("dim", Integer(least=-8, most=8), "the dimension; 0 is the rows, -1 the last", -1)


def over_dimension_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    axis(arguments["dim"], len(inputs[0].shape))
    return Value(inputs[0].shape)


def glu_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    shape = list(inputs[0].shape)
    halved = axis(arguments["dim"], len(shape))
    if shape[halved] % 2:
        raise Mismatch(f"an even size in dimension {arguments['dim']}: glu halves it")
    shape[halved] //= 2
    return Value(tuple(shape))


def prelu_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    shape = inputs[0].shape
    slopes = arguments["num_parameters"] or 1
    if slopes != 1 and slopes != (shape[0] if shape else 1):
        raise Mismatch(f"{slopes} channels, because num_parameters is {slopes}", "Give 1, or the number of channels.")
    arguments["num_parameters"] = slopes
    return Value(shape)


def hardtanh_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    if arguments["min_val"] >= arguments["max_val"]:
        raise Mismatch(f"min_val below max_val, but they are {arguments['min_val']:g} and {arguments['max_val']:g}")
    return keeps_shape(arguments, inputs)


def absolute(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.abs()


def exponential(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.exp()


def _simple(name: str, text: str, module: Callable[..., nn.Module], *arguments: Argument) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=arguments,
        rule=keeps_shape,
        make=plain(module),
        pointwise=True,
    )


def _over_dimension(name: str, text: str, module: Callable[..., nn.Module]) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=(DIM,),
        rule=over_dimension_rule,
        make=plain(module),
        pointwise=True,
    )


register(
    _simple("relu", "max(0, x).", nn.ReLU),
    _simple("relu6", "min(max(0, x), 6).", nn.ReLU6),
    _simple(
        "leaky_relu",
        "x, or a small multiple of it where it is negative.",
        nn.LeakyReLU,
        Argument("negative_slope", Real(), "the multiple", 0.01),
    ),
    Kind(
        name="prelu",
        chapter=CHAPTER,
        text="x, or a learned multiple of it where it is negative.",
        arguments=(
            Argument("num_parameters", Integer(), "slopes: 1 for all, or one for each channel", INFERRED),
            Argument("init", Real(), "the first slope", 0.25),
        ),
        rule=prelu_rule,
        make=with_parameters(nn.PReLU),
        pointwise=True,
    ),
    _simple(
        "elu",
        "x, or alpha (exp(x) - 1) where it is negative.",
        nn.ELU,
        Argument("alpha", Real(above=0), "the limit far below zero, negated", 1.0),
    ),
    _simple(
        "celu",
        "x, or alpha (exp(x / alpha) - 1) where it is negative.",
        nn.CELU,
        Argument("alpha", Real(above=0), "the limit far below zero, negated", 1.0),
    ),
    _simple("selu", "elu scaled so that activations keep mean 0 and variance 1.", nn.SELU),
    _simple(
        "gelu",
        "x Φ(x), with the normal distribution's Φ.",
        nn.GELU,
        Argument("approximate", Choice(("none", "tanh")), "how Φ is computed", "none"),
    ),
    _simple("silu", "x sigmoid(x), also called swish.", nn.SiLU),
    _simple("mish", "x tanh(softplus(x)).", nn.Mish),
    _simple("sigmoid", "1 / (1 + exp(-x)).", nn.Sigmoid),
    _simple("log_sigmoid", "log(sigmoid(x)).", nn.LogSigmoid),
    _simple("tanh", "Hyperbolic tangent.", nn.Tanh),
    _simple(
        "softplus",
        "log(1 + exp(beta x)) / beta.",
        nn.Softplus,
        Argument("beta", Real(above=0), "sharpness", 1.0),
        Argument("threshold", Real(above=0), "above it the function is x itself", 20.0),
    ),
    _simple("softsign", "x / (1 + |x|).", nn.Softsign),
    _simple("hardswish", "x relu6(x + 3) / 6.", nn.Hardswish),
    _simple("hardsigmoid", "relu6(x + 3) / 6.", nn.Hardsigmoid),
    Kind(
        name="hardtanh",
        chapter=CHAPTER,
        text="x, cut off at two bounds.",
        arguments=(
            Argument("min_val", Real(), "lower bound", -1.0),
            Argument("max_val", Real(), "upper bound", 1.0),
        ),
        rule=hardtanh_rule,
        make=plain(nn.Hardtanh),
        pointwise=True,
    ),
    _over_dimension("softmax", "exp(x), divided by its sum over a dimension.", nn.Softmax),
    _over_dimension("log_softmax", "Logarithm of the softmax over a dimension.", nn.LogSoftmax),
    Kind(
        name="glu",
        chapter=CHAPTER,
        text="The first half of a dimension times the sigmoid of the second half.",
        arguments=(DIM,),
        rule=glu_rule,
        make=plain(nn.GLU),
    ),
    _simple("abs", "|x|.", function(absolute)),
    _simple("exp", "exp(x).", function(exponential)),
)
