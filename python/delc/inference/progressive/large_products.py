"""Bounds of products with large matrices: in float32 and block by block, so that they take the time of reading the
matrix a few times, and next to no memory beside it.

float32's own error in these products is bounded as that of the full pass is (``rounding``) and added to the noise. Sums
are of ``CHUNK`` terms in float32 and of these in float64, so it stays far below what is unknown of the matrix. Traces
still go through it in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from delc.inference.progressive import rounding
from delc.inference.progressive.boxes import Box, powers_below
from delc.inference.progressive.stages import Bounds

FROM = 2**19
"""Matrices with so many numbers are large."""

BLOCK = 2**20
"""Numbers of a block of rows; a processor's cache holds what is made of it."""

CHUNK = 512
"""Terms that are summed in float32."""

OWN = rounding.gamma(CHUNK + 8)
"""The relative error of one of these products: of its terms, of rounding the input, and of the sum of chunks."""

UPWARD = 1 + 4 * OWN
"""Makes the product of numbers >= 0 at least what it stands for."""


@dataclass(frozen=True)
class Parts:
    """The middles of bounds, their largest magnitudes and their radii, in float32."""

    centre: torch.Tensor
    magnitude: torch.Tensor
    radius: torch.Tensor

    @staticmethod
    def of(bounds: Bounds) -> Parts:
        """Rounded to nearest; ``OWN`` covers that."""
        return Parts(bounds.centre.float(), bounds.magnitude.float(), bounds.radius.float())

    def rows(self, start: int, count: int) -> Parts:
        """Those of some rows."""
        return self.map(lambda part: part[start : start + count])

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Parts:
        """With each of them moved or copied."""
        return Parts(function(self.centre), function(self.magnitude), function(self.radius))


@dataclass(frozen=True)
class LargeMatrix:
    """A matrix (outputs, inputs) of which each number is known to within ``step`` times the power of two below it; a
    convolution's inputs are those of a window.
    """

    centre: torch.Tensor
    step: float
    largest: float

    @staticmethod
    def of(box: Box) -> LargeMatrix | None:
        """The matrix of a box, or None where it is not large, or not of float32."""
        if box.given is not None or box.centre.dtype != torch.float32 or box.centre.numel() < FROM:
            return None
        step = box.step or 0.0
        low, high = box.centre.aminmax()
        return LargeMatrix(box.centre.flatten(1), step, max(-float(low), float(high)) * (1 + step))

    @property
    def terms(self) -> int:
        """How many numbers are summed for each output."""
        return self.centre.shape[1]

    @property
    def rows(self) -> int:
        """Of a block."""
        return max(1, BLOCK // self.terms)

    def _blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        for start in range(0, len(self.centre), self.rows):
            some = slice(start, start + self.rows)
            yield some, self.centre[some]

    def bounds(self, arriving: Bounds) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(middle, noise, spread) of the product, float64 (…, outputs): the product of the middles, how far the unknown
        parts of the matrix and rounding may move it, and what the widths of the inputs add.
        """
        return self.of_parts(Parts.of(arriving))

    def of_parts(self, arriving: Parts) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As ``bounds``, of inputs in float32."""
        shape = arriving.centre.shape[:-1]
        centre, magnitude, radius = (
            part.reshape(-1, self.terms) for part in (arriving.centre, arriving.magnitude, arriving.radius)
        )
        certain = not bool(radius.any())
        outputs = [torch.zeros((len(centre), len(self.centre)), dtype=torch.float64) for _ in range(3)]
        middle, noise, spread = outputs
        error = (rounding.gamma(self.terms) + 2 * OWN) * (1 + self.step)
        one, other = torch.empty((2, min(self.rows, len(self.centre)), self.terms))  # made once: new memory is slow
        for some, block in self._blocks():
            sizes = torch.abs(block, out=one[: len(block)])
            middle[:, some] = _product(centre, block)
            if not certain:
                spread[:, some] = _product(radius, sizes) * UPWARD
            sizes.mul_(error)
            if self.step:
                sizes.add_(powers_below(block, other[: len(block)]), alpha=self.step)
            noise[:, some] = _product(magnitude, sizes) * UPWARD
        middle, noise, spread = (found.reshape(*shape, -1) for found in outputs)
        return middle, noise, spread

    def product(self, values: torch.Tensor) -> torch.Tensor:
        """float64 (…, inputs) → (…, outputs), in float64."""
        return torch.cat([values @ block.double().T for _, block in self._blocks()], -1)

    def pull(self, lines: torch.Tensor) -> torch.Tensor:
        """float64 (…, outputs) → (…, inputs), in float64."""
        found = torch.zeros((*lines.shape[:-1], self.terms), dtype=torch.float64)
        for some, block in self._blocks():
            found += lines[..., some] @ block.double()
        return found


def _product(values: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """(rows, inputs) times a block of rows, transposed: chunks in float32, their sum in float64."""
    found = torch.zeros((len(values), len(block)), dtype=torch.float64)
    for start in range(0, values.shape[1], CHUNK):
        some = slice(start, start + CHUNK)
        found += values[:, some] @ block[:, some].T
    return found
