"""What bounds may cost, so that progressive answers are never much slower than full ones.

Time that bounds take without settling everything is lost: the rest is read in full after all. It is limited to a share
of what full precision would take for the rows that were answered so far, plus a constant for each model and session.
The clock decides: estimates only say which method to try.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SHARE = 0.25
"""Of the time that full precision would take. With what surrounds it, a call takes at most 1.3 times as long."""

CONSTANT = 1.0
"""Seconds more, once for each model and session."""

QUICK_FLOPS = 5e10
"""Operations a second of a forward pass, at its best: full precision is not thought slower than it is."""

BOXED_NUMBERS = 1.5e7
"""Parameters a second that are made ready for bounds: centres, sizes and noise in float64, anew at each depth."""

LARGE_BOXED_NUMBERS = 4e8
"""The same, for those of large matrices: only their centres are made."""

BOUND_FLOPS = 3e9
"""Operations a second of bounds, which are float64 and have smaller products."""

LARGE_FLOPS = 3e10
"""The same, with large matrices."""

LARGE_PASSED_NUMBERS = 3e8
"""Numbers of large matrices a second that a pass goes over, for however few rows."""

INTERVAL_PASSES = 4
"""An interval pass costs so many forward passes: products of centres, of radii, of magnitudes, and a guess."""

PROBE = 16
"""So many rows are tried first where a method would take a good part of what is left."""

GROWTH = 8
"""Each portion has so many times the rows of the one before."""

WORTHWHILE = 0.5
"""Intervals go on to further rows while they settle this share."""

CHEAP = 0.1
"""A method that is expected to take less than this share of what is left is tried on all rows at once."""


@dataclass(frozen=True)
class Work:
    """What bounds have to do: ``numbers`` of parameters and ``flops`` of a row's forward pass, those of ``large``
    matrices among them.
    """

    numbers: int
    large: int
    flops: int

    @property
    def preparing(self) -> float:
        """Seconds to make the parameters ready at a depth."""
        return (self.numbers - self.large) / BOXED_NUMBERS + self.large / LARGE_BOXED_NUMBERS

    def passes(self, count: float, rows: int) -> float:
        """Seconds of as much as so many forward passes of each row."""
        each = max(0, self.flops - 2 * self.large) / BOUND_FLOPS + 2 * self.large / LARGE_FLOPS
        return self.large / LARGE_PASSED_NUMBERS + count * rows * each


@dataclass
class Budget:
    """Seconds of the processor that bounds may take and have taken: other programs on the machine do not count."""

    allowed: float = CONSTANT
    spent: float = 0.0

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.allowed - self.spent

    def earn(self, flops: float, reading: float = 0.0) -> None:
        """For work that full precision would have to do: operations, and seconds of reading."""
        self.allowed += SHARE * (flops / QUICK_FLOPS + reading)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time of the block."""
        started = time.process_time()
        try:
            yield
        finally:
            self.spent += time.process_time() - started


@dataclass
class Unlimited(Budget):
    """Of callers that want to know what bounds can do."""

    @property
    def left(self) -> float:
        """Always enough."""
        return float("inf")
