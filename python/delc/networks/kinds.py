"""The registry of layer kinds: what each takes, what it gives, and how it becomes a torch module.

A kind is one ``Kind`` entry in a file of ``delc.networks.library``; nothing else needs to know of it. Shapes are worked
out by the kind's own rule in plain Python: running layers on torch's "meta" device instead would import 800 modules
(over a second) in every new database connection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from delc.networks.arguments import Argument, shorten_name
from delc.server.errors import InvalidParameter, unknown

Arguments = dict[str, Any]
Shape = tuple[int, ...]

FLOAT = "float32"
TOKENS = "int64"


@dataclass(frozen=True)
class Value:
    """What flows along an edge of the graph: the shape of one row's tensor (without the rows) and its dtype.

    ``categories`` is the number of different codes of an int64 value that comes straight from an input, if known.
    """

    shape: Shape
    dtype: str = FLOAT
    categories: int | None = None

    @property
    def elements(self) -> int:
        """How many numbers one row has."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """How many bytes one row takes."""
        return self.elements * (8 if self.dtype == TOKENS else 4)

    def __str__(self) -> str:
        return show_shape(self.shape)


class Mismatch(Exception):
    """A layer cannot take what arrives at it. ``expected`` completes "expected is …".

    It never reaches the user: resolution knows the layer's name and what arrived, and makes the error.
    """

    def __init__(self, expected: str, hint: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


@dataclass(frozen=True)
class Cost:
    """What one row costs in a layer: floating-point operations (a multiply-add counts as two) and the numbers that it
    holds in between, besides its inputs and its output.
    """

    flops: int = 0
    working: int = 0


@dataclass(frozen=True)
class Example:
    """A use of the kind for the manual and the tests: arguments as a user gives them and what arrives."""

    arguments: Arguments = field(default_factory=dict)
    inputs: tuple[Value, ...] = (Value((16,)),)


def free(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
    """The cost of layers without multiply-adds."""
    return Cost()


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    ``rule`` takes the arguments and what arrives and returns what the layer gives; it fills in the arguments that are
    inferred, checks those that depend on each other or on the shapes, and raises ``Mismatch``. ``make`` makes the
    module on a device from complete arguments, with PyTorch's default initialisation. ``least`` and ``most`` bound
    the number of inputs (None: any number). ``pointwise`` kinds keep shape and meaning of the last dimension: a layer
    before them may still be the one that gives the network's outputs.
    """

    name: str
    chapter: str
    text: str
    rule: Callable[[Arguments, Sequence[Value]], Value]
    make: Callable[[Arguments, str], nn.Module]
    arguments: tuple[Argument, ...] = ()
    example: Example = field(default_factory=Example)
    least: int = 1
    most: int | None = 1
    pointwise: bool = False
    cost: Callable[[Arguments, Sequence[Value], Value], Cost] = free


KINDS: dict[str, Kind] = {}
"""All kinds by name, in the order of the manual."""


def register(*kinds: Kind) -> None:
    """Add kinds to the registry."""
    for kind in kinds:
        assert kind.name not in KINDS, kind.name
        KINDS[kind.name] = kind


def find_kind(name: str, where: str = "") -> Kind:
    """The kind of that name. Torch's class names (``Conv2d``) are found too. Unknown: ``InvalidParameter``."""
    if name in KINDS:
        return KINDS[name]
    folded = _folded(name)
    for known, kind in KINDS.items():
        if _folded(known) == folded:
            return kind
    error = unknown("layer kind", shorten_name(name), KINDS, kind=InvalidParameter, where=where)
    error.detail = f"Known are: {', '.join(KINDS)}."
    raise error


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


def show_shape(shape: Shape) -> str:
    """A shape as errors and the manual show it, with the rows in front: (rows, 1, 8, 8)."""
    return f"({', '.join(['rows', *map(str, shape)])})"


# What rules are made of


def infer(arguments: Arguments, name: str, actual: int | list[int], what: str) -> None:
    """Fill in an inferred argument, or check the one given against what arrives."""
    given = arguments[name]
    if given is None:
        arguments[name] = actual
    elif given != actual:
        raise Mismatch(f"{what} {given}, because {name} is {given}", f"Leave {name} out: it is inferred.")


def need_dtype(value: Value, dtype: str) -> None:
    """Numbers and tokens are not interchangeable."""
    if value.dtype == dtype:
        return
    if dtype == TOKENS:
        raise Mismatch("tokens or codes (int64)", "Embedding layers read int64 inputs directly.")
    raise Mismatch("numbers (float32)", 'Tokens and codes go through a layer of kind "embedding" first.')


def need_rank(value: Value, dimensions: Sequence[str], hint: str | None = None) -> None:
    """The value must have the dimensions named (the rows not counted)."""
    if len(value.shape) != len(dimensions):
        raise Mismatch(f"(rows, {', '.join(dimensions)})", hint or _rank_hint(value.shape, len(dimensions)))


def _rank_hint(shape: Shape, wanted: int) -> str | None:
    if len(shape) == wanted - 1:
        return 'Add {"kind": "unsqueeze", "dim": 1} before it.'
    side = math.isqrt(shape[0]) if len(shape) == 1 else 0
    if wanted == 3 and side * side == math.prod(shape) and side > 1:
        return f'Add {{"kind": "reshape", "shape": [1, {side}, {side}]}} before it.'
    if wanted == 1:
        return "Add a flatten layer before it."
    return None


def axis(dim: int, rank: int) -> int:
    """The position in a row's shape of a dimension counted as torch counts it: 0 is the rows, negative from the end.

    ``Mismatch`` for the rows and for dimensions that are not there.
    """
    position = dim + rank if dim < 0 else dim - 1
    if dim == 0 or dim + rank == -1:
        raise Mismatch(
            f"a dimension other than the rows, but dim is {dim}",
            f"Dimension 0 counts the rows; those of one row's value are 1 to {rank}, or -1 to -{rank}.",
        )
    if not 0 <= position < rank:
        raise Mismatch(
            f"a value with the dimension {dim}", "Dimension 0 is the rows; negative ones count from the end."
        )
    return position


def per_dimension(size: int | list[int], dimensions: int) -> list[int]:
    """One number per dimension from the canonical form of a ``PerDimension`` argument."""
    return [size] * dimensions if isinstance(size, int) else size


def as_given(arguments: Arguments) -> Arguments:
    """The arguments in the types that torch's modules want: tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def with_parameters(module: Callable[..., nn.Module]) -> Callable[[Arguments, str], nn.Module]:
    """How to make a module that has parameters: on the device, all arguments by name."""
    return lambda arguments, device: module(**as_given(arguments), device=device)


def plain(module: Callable[..., nn.Module]) -> Callable[[Arguments, str], nn.Module]:
    """How to make a module without parameters: all arguments by name."""
    return lambda arguments, device: module(**as_given(arguments))


def keeps_shape(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    """The rule of layers that change numbers one by one."""
    need_dtype(inputs[0], FLOAT)
    return Value(inputs[0].shape)


def function(call: Callable[..., torch.Tensor]) -> type[nn.Module]:
    """A module class for a function of tensors; its keyword arguments become the module's arguments."""

    class Function(nn.Module):
        def __init__(self, **arguments: Any) -> None:
            super().__init__()
            self.arguments = arguments

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return call(*tensors, **self.arguments)

        def extra_repr(self) -> str:
            return ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())

    Function.__name__ = Function.__qualname__ = call.__name__
    return Function
