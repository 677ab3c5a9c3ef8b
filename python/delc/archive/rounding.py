"""The lossy float schemes: numbers rounded so that they take less space. What is rounded is then stored exactly.

Miao, Li, Davis, Deshpande, "Towards Unified Data and Lifecycle Management for Deep Learning", ICDE 2017, section IV-B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from delc.server.errors import InvalidData, InvalidParameter, unknown


@dataclass(frozen=True)
class Scheme:
    """A way to round, and the bits for each number where the way leaves them open."""

    name: str
    bits: int | None = None

    def __str__(self) -> str:
        return self.name if self.bits is None else f"{self.name}({self.bits})"

    def round(self, numbers: torch.Tensor) -> torch.Tensor:
        """The numbers, rounded, in the dtype that they have. ``InvalidData`` for those that the scheme cannot hold."""
        if not numbers.is_floating_point() or numbers.numel() == 0:
            return numbers
        if not bool(torch.isfinite(numbers).all()):
            raise InvalidData(f"{self} cannot hold numbers that are not finite")
        rounded = _WAYS[self.name].round(numbers, self.bits or 0)
        if not bool(torch.isfinite(rounded).all()):
            raise InvalidData(
                f"{self} cannot hold {numbers.abs().max().item():g}", hint="bfloat16 has the range of float32."
            )
        return rounded


def parse(name: str | None, bits: int | None) -> Scheme:
    """The scheme of that name; ``InvalidParameter`` for bits that it does not have, with those it has."""
    if name is None or name not in _WAYS:
        raise unknown("scheme", str(name), _WAYS, kind=InvalidParameter)
    least, most = _WAYS[name].bits
    if least == most == 0:
        if bits is not None:
            raise InvalidParameter(f"{name} takes no bits", detail=f"Those that do: {', '.join(_with_bits())}.")
        return Scheme(name)
    if bits is None or not least <= bits <= most:
        raise InvalidParameter(f"{name} with {bits} bits", detail=f"It takes {least} to {most} bits for each number.")
    return Scheme(name, bits)


def usual() -> list[Scheme]:
    """Those that a report compares."""
    return [
        Scheme("float16"),
        Scheme("bfloat16"),
        *(Scheme("fixed", bits) for bits in (16, 8)),
        *(Scheme(name, bits) for name in ("uniform", "distribution") for bits in (8, 4)),
    ]


def _as_dtype(dtype: torch.dtype) -> Callable[[torch.Tensor, int], torch.Tensor]:
    def rounded(numbers: torch.Tensor, bits: int) -> torch.Tensor:
        return numbers.to(dtype).to(numbers.dtype)

    return rounded


def _fixed(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Multiples of one power of two for the whole tensor, as many as a signed integer of so many bits counts."""
    wide = numbers.double()
    largest = float(wide.abs().max())
    if largest == 0:
        return numbers
    step = 2.0 ** (math.ceil(math.log2(largest)) - (bits - 1))
    counts = torch.round(wide / step).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (counts * step).to(numbers.dtype)


def _uniform(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """2 ** bits values, evenly spread from the least number to the greatest."""
    wide = numbers.double()
    least, most = wide.min(), wide.max()
    if least == most:
        return numbers
    step = (most - least) / (2**bits - 1)
    rounded: torch.Tensor = least + torch.round((wide - least) / step) * step
    return rounded.to(numbers.dtype)


def _distribution(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """2 ** bits values, each the mean of an equal share of the numbers, in their order."""
    flat = numbers.reshape(-1)
    ordered, places = flat.double().sort(stable=True)
    share = torch.arange(len(flat)) * 2**bits // len(flat)
    sums = torch.zeros(2**bits, dtype=torch.float64).scatter_add_(0, share, ordered)
    means = sums / torch.bincount(share, minlength=2**bits).clamp(min=1)
    rounded = torch.empty_like(flat)
    rounded[places] = means[share].to(flat.dtype)
    return rounded.reshape(numbers.shape)


@dataclass(frozen=True)
class _Way:
    round: Callable[[torch.Tensor, int], torch.Tensor]
    bits: tuple[int, int] = (0, 0)


_WAYS: Mapping[str, _Way] = {
    "float16": _Way(_as_dtype(torch.float16)),
    "bfloat16": _Way(_as_dtype(torch.bfloat16)),
    "fixed": _Way(_fixed, (2, 24)),
    "uniform": _Way(_uniform, (1, 8)),
    "distribution": _Way(_distribution, (1, 8)),
}


def _with_bits() -> list[str]:
    return [name for name, way in _WAYS.items() if way.bits != (0, 0)]
