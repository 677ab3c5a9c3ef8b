"""Parameters of which only the leading bits are known: each lies in a box around a centre.

A floating-point number with its low bits unknown lies between the number that has zeros there and the one that has
ones. The number with a one followed by zeros is the centre; the distance to the end with zeros is the radius, a power
of two. Both are float32 without rounding (unknown bits of a float64 are rounded outwards).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from delc.server.errors import InvalidData

EXPONENT_BITS = {torch.float16: 5, torch.bfloat16: 8, torch.float32: 8, torch.float64: 11}
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Box:
    """centre - radius <= parameter <= centre + radius, element by element; neither ``given`` nor ``step``: known
    exactly.

    ``step``: the radius of float32 numbers is so many times the power of two below the centre, which takes no memory.
    """

    centre: torch.Tensor
    given: torch.Tensor | None = None
    step: float | None = None

    @property
    def exact(self) -> bool:
        """Whether every bit is known."""
        return self.given is None and self.step is None

    @property
    def radius(self) -> torch.Tensor | None:
        """The radius, None where every bit is known."""
        return self.given if self.step is None else powers_below(self.centre) * self.step

    def wide(self) -> torch.Tensor:
        """The centre as float64."""
        return self.centre.double()

    def spread(self) -> torch.Tensor:
        """The radius as float64; zeros where the parameter is known exactly."""
        radius = self.radius
        return torch.zeros_like(self.centre, dtype=torch.float64) if radius is None else radius.double()

    def largest(self) -> torch.Tensor:
        """The largest magnitude that each element may have, float64."""
        size = self.wide().abs()
        return size if self.exact else size + self.spread()

    def rows(self, start: int, count: int) -> Box:
        """The box of some of the first dimension."""
        some = slice(start, start + count)
        return Box(self.centre[some], None if self.given is None else self.given[some], self.step)


LARGEST_FLOAT = torch.finfo(torch.float32).max


def powers_below(numbers: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """The largest power of two that is no larger than each float32's magnitude; the smallest normal one at least."""
    found = torch.empty(numbers.shape) if out is None else out
    pattern, place = numbers.contiguous().view(torch.int32), found.view(torch.int32)
    np.bitwise_and(pattern.numpy(), _EXPONENT, out=place.numpy())  # several times as fast as torch's
    return found.clamp_(min=_SMALLEST_NORMAL)


_EXPONENT = np.int32(0x7F800000)
_SMALLEST_NORMAL = 2.0**-126

Boxes = Mapping[str, Box]


def box_of_prefix(prefix: torch.Tensor, known_bits: int) -> Box:
    """The box of a tensor whose bits below the ``known_bits`` leading ones are unknown, and zero in ``prefix``.

    Integers are kept only where they are known in full. Infinite or NaN parameters: the box is not finite, see
    ``require_finite``.
    """
    bits = prefix.element_size() * 8
    unknown = bits - known_bits
    if unknown <= 0:
        return Box(prefix)
    if not prefix.is_floating_point():
        raise ValueError(f"{known_bits} bits of {prefix.dtype} say nothing of its value")
    pattern = prefix.contiguous().view(_INTEGERS[prefix.element_size()])
    integers = pattern.numpy()
    if known_bits <= EXPONENT_BITS.get(prefix.dtype, 8):
        high = torch.from_numpy(np.bitwise_or(integers, integers.dtype.type((1 << unknown) - 1))).view(prefix.dtype)
        return _over_exponents(prefix, high)
    centre = torch.from_numpy(np.bitwise_or(integers, integers.dtype.type(1 << (unknown - 1)))).view(prefix.dtype)
    if prefix.dtype == torch.float64:
        return _rounded_outwards(prefix, centre)
    if prefix.dtype == torch.float32:
        return Box(centre, step=2.0 ** (EXPONENT_BITS[torch.float32] - known_bits))
    centre = centre.float()
    return Box(centre, (centre - prefix.float()).abs())


def _over_exponents(low: torch.Tensor, high: torch.Tensor) -> Box:
    """The box of numbers between two ends, of which not even the exponent is known; infinite where the outer end is."""
    near, far = low.double(), high.double()
    bounded = far.abs() <= LARGEST_FLOAT
    middle = torch.where(bounded, (near + far) / 2, near).clamp(-LARGEST_FLOAT, LARGEST_FLOAT).float()
    radius = torch.maximum((middle.double() - near).abs(), (far - middle.double()).abs()) * (1 + 2.0**-20) + 2.0**-149
    return Box(middle, torch.where(bounded, radius, torch.inf).float())


def _rounded_outwards(prefix: torch.Tensor, centre: torch.Tensor) -> Box:
    """A float64's box for the float32 that it becomes: rounding moves it by half a unit at most."""
    rounded = centre.float()
    radius = (centre - prefix).abs() + (rounded.double() - centre).abs()
    wider = radius * (1 + 2.0**-20) + centre.abs() * 2.0**-23 + 2.0**-149
    return Box(rounded, wider.float())


def require_finite(name: str, box: Box, known_bits: int) -> None:
    """Raises ``InvalidData`` for a parameter with numbers that are infinite or NaN: nothing can be bounded then."""
    if not box.centre.is_floating_point() or known_bits <= EXPONENT_BITS.get(box.centre.dtype, 8):
        return  # bits that are still unknown decide whether a number is infinite
    if not box.centre.numel() or all(math.isfinite(end) for end in map(float, box.centre.aminmax())):
        return  # in one pass; NaN is the least and the greatest
    count = int((~torch.isfinite(box.centre)).sum())
    raise InvalidData(
        f'parameter "{name}" has {count} numbers that are infinite or NaN',
        detail="Progressive answers are certified with bounds, and these numbers have none.",
        hint="Predict with reading => 'full'.",
    )
