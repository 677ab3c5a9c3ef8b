"""How far a float32 forward pass may be from exact arithmetic.

The bounds of this package are of real numbers, computed in float64. What they have to hold for is what torch computes
in float32: in any order of summation, with or without fused multiply-adds, with or without denormals. The terms here
are added to each layer's uncertainty; they are 2^28 times what float64 itself loses, so they cover that too.

The bound of dot products is the classical one: |fl(x·w) - x·w| <= gamma(n) |x|·|w|, gamma(n) = n u / (1 - n u), for
every order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

UNIT = 2.0**-24
"""Half the distance from 1 to the next float32."""

TINY = 2.0**-126
"""The smallest normal float32. Below it, numbers may be flushed to zero."""

LARGEST = 2.0**127
"""Sums that could pass this may overflow on the way, whatever they end with."""

GROWTH = 1.01
"""Covers the terms of second order, and the rounding of float64."""

MOST_TERMS = 2**20
"""From so many terms on, the error of a sum is not worth bounding."""

FLOAT64_SLACK = 2.0**-45
"""Relative to the numbers that go in: more than float64 loses in a handful of operations."""


def gamma(terms: int) -> float:
    """The relative error of a sum of products with that many terms, a bias and a few roundings more."""
    if terms > MOST_TERMS:
        return float("inf")
    count = terms + 4
    return GROWTH * count * UNIT / (1 - count * UNIT)


def underflow(terms: int, largest_input: torch.Tensor, largest_weight: float) -> torch.Tensor:
    """What flushing to zero may cost a sum of products, for each row's largest input (rows,). Four times over, because
    bounds of large matrices are themselves computed in float32.
    """
    return 4 * (terms + 4) * TINY * (1.0 + largest_weight + largest_input)


LEAST_CONSTANT, LARGEST_CONSTANT = 2.0**-100, 2.0**100
"""Magnitudes of a layer's constants with bounds. Near the ends of float32's range torch may round a constant, or what
it makes of it, to zero or infinity; between these two it is rounded and no more, which the rules allow for.
"""


def extreme_constant(arguments: Mapping[str, Any]) -> str | None:
    """None, or which of a layer's arguments is a number that is beyond what bounds are made for."""
    for name, value in arguments.items():
        if isinstance(value, float) and value != 0 and not LEAST_CONSTANT <= abs(value) <= LARGEST_CONSTANT:
            return f"{name} is {value:g}, and bounds are for magnitudes from 2^-100 to 2^100"
    return None


def single(constant: float) -> float:
    """The float32 that torch makes of a constant before it computes with it."""
    return float(np.float32(constant))


def plain_float32() -> str | None:
    """None where torch computes float32 as float32; otherwise what makes it less exact."""
    if torch.get_float32_matmul_precision() != "highest":
        return f'torch multiplies matrices with float32 precision "{torch.get_float32_matmul_precision()}"'
    mode = os.environ.get("ONEDNN_DEFAULT_FPMATH_MODE", os.environ.get("DNNL_DEFAULT_FPMATH_MODE", "STRICT"))
    if mode.upper() != "STRICT":
        return f"oneDNN's floating-point mode is {mode}"
    return None


def direct_convolutions() -> str | None:
    """None where torch sums convolutions term by term; otherwise the reason why it may not.

    Without oneDNN it may take NNPACK's Winograd and Fourier transforms, and on other processors than x86 a Winograd
    transform of its own; their error has other bounds.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this torch computes convolutions without oneDNN"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"convolutions on {platform.machine()} may go through a Winograd transform"
    return None
