"""Arithmetic: inputs with each other or with a constant, and reductions over dimensions."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from delc.networks.arguments import Argument, Boolean, Either, Integer, ListOf, Real
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

CHAPTER = "Arithmetic"

DIMENSION = Integer(least=-8, most=8)
Operation = Callable[[torch.Tensor, torch.Tensor | float], torch.Tensor]


def combine_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    """One input and a constant, or several inputs whose sizes are equal or 1 in every dimension."""
    for value in inputs:
        need_dtype(value, FLOAT)
    constant = arguments["constant"]
    if len(inputs) == 1 and constant is None:
        raise Mismatch("two inputs, or one and a constant", 'Name both in its inputs, or give "constant".')
    if len(inputs) > 1 and constant is not None:
        raise Mismatch("one input, because a constant is given")
    ranks = {len(value.shape) for value in inputs}
    if len(ranks) > 1:
        raise Mismatch("inputs with as many dimensions as each other", "Unsqueeze adds dimensions of size 1.")
    sizes = [{value.shape[at] for value in inputs} - {1} for at in range(ranks.pop())]
    if any(len(different) > 1 for different in sizes):
        raise Mismatch("sizes that are equal, or 1, in every dimension")
    return Value(tuple(max(different, default=1) for different in sizes))


def divide_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    if arguments["constant"] == 0:
        raise Mismatch("a constant other than 0")
    return combine_rule(arguments, inputs)


def combining(operation: Operation, name: str) -> Callable[..., torch.Tensor]:
    """The function of one tensor and a constant, or of several tensors from left to right."""

    def combine(first: torch.Tensor, *others: torch.Tensor, constant: float | None) -> torch.Tensor:
        if constant is not None:
            return operation(first, constant)
        if len(others) == 1:
            return operation(first, others[0])
        return functools.reduce(operation, others, first)

    combine.__name__ = name
    return combine


def reduce_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    shape = inputs[0].shape
    dims = arguments["dim"] if isinstance(arguments["dim"], list) else [arguments["dim"]]
    reduced = {axis(dim, len(shape)) for dim in dims}
    if len(reduced) < len(dims):
        raise Mismatch(f"different dimensions, but dim is {dims}")
    if arguments["keepdim"]:
        return Value(tuple(1 if at in reduced else size for at, size in enumerate(shape)))
    return Value(tuple(size for at, size in enumerate(shape) if at not in reduced))


def normalize_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    axis(arguments["dim"], len(inputs[0].shape))
    return inputs[0]


def _combine(name: str, text: str, operation: Operation, most: int | None) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=(Argument("constant", Real(), "a number instead of the other inputs", None),),
        rule=divide_rule if name == "divide" else combine_rule,
        make=plain(function(combining(operation, name))),
        most=most,
        example=Example({}, (Value((16,)), Value((16,)))),
    )


def _reduce(name: str, text: str, reduction: Callable[..., torch.Tensor]) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=(
            Argument(
                "dim",
                Either((DIMENSION, ListOf(DIMENSION, most=8))),
                "the dimension, or several; 0 is the rows, -1 the last",
                -1,
            ),
            Argument("keepdim", Boolean(), "keep it with size 1", False),
        ),
        rule=reduce_rule,
        make=plain(function(reduction)),
        example=Example({"dim": [2, 3]}, (Value((3, 8, 8)),)),
    )


register(
    _combine("add", "Sum of its inputs, or of one input and a constant.", operator.add, None),
    _combine("subtract", "The first input less the second or a constant.", operator.sub, 2),
    _combine("multiply", "Product of its inputs, or of one input and a constant.", operator.mul, None),
    _combine("divide", "The first input divided by the second or by a constant.", operator.truediv, 2),
    _reduce("mean", "Mean over dimensions.", torch.mean),
    _reduce("sum", "Sum over dimensions.", torch.sum),
    _reduce("max", "Largest value over dimensions.", torch.amax),
    _reduce("min", "Smallest value over dimensions.", torch.amin),
    Kind(
        name="normalize",
        chapter=CHAPTER,
        text="Divides by the norm over a dimension, so that it becomes 1.",
        arguments=(
            Argument("p", Real(above=0), "the norm's exponent", 2.0),
            Argument("dim", DIMENSION, "the dimension; 0 is the rows, -1 the last", -1),
            Argument("eps", Real(above=0), "the least norm divided by", 1e-12),
        ),
        rule=normalize_rule,
        make=plain(function(functional.normalize)),
    ),
)
