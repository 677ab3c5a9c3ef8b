"""What bounds may cost, so that progressive answers are never much slower than full ones.

Time that bounds take without settling everything is lost: the rest is read in full after all. It is limited to a share
of what full precision is thought to take for the rows that were asked for so far, plus a constant for each model and
session. Everything that full precision does not do is paid of it: making parameters ready, guesses, bounds, and putting
differences together again; planes are decoded once however they are read. Before each step its estimate, at the pace of
the steps before, is compared with what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SHARE = 0.25
"""Of the time that full precision would take. With what surrounds it, a call takes at most 1.3 times as long."""

CONSTANT = 1.0
"""Seconds more, once for each model and session."""

QUICK_FLOPS = 8e10
"""Operations a second of a forward pass, at its best: full precision is not thought slower than it is."""

BOXED_NUMBERS = 1.5e7
"""Parameters a second that are made ready for bounds: centres, sizes and noise in float64, anew at each depth."""

LARGE_BOXED_NUMBERS = 4e8
"""The same, for those of large matrices: only their centres are made."""

BOUND_FLOPS = 3e9
"""Operations a second of bounds, which are float64 and have smaller products."""

LARGE_FLOPS = 6e10
"""The same, with large matrices."""

TRACED_FLOPS = 1.5e10
"""The same for traces, which are float64; a number that they bound counts as half a pass, and takes up to one."""

LARGE_PASSED_NUMBERS = 4e8
"""Numbers of large matrices a second that intervals go over, for however few rows."""

TRACE_SWEEPS = 4
"""Traces go over them so many times as long, because they are float64."""

SAMPLE = 32
"""So many rows are tried first at a depth where all of them would take a good part of what is left."""

INTERVAL_PASSES = 4
"""An interval pass costs so many forward passes: products of centres, of radii, of magnitudes, and a guess."""

PROBE = 16
"""So many rows are tried first where a method would take a good part of what is left."""

STEADY = 0.1
"""Seconds that steps must have taken before their pace counts as much as the estimates."""

GROWTH = 8
"""Each portion has so many times the rows of the one before."""

WORTHWHILE = 0.5
"""Further rows are tried while this share is settled."""

CHEAP = 0.1
"""A method that is expected to take less than this share of what is left is tried on all rows at once."""


@dataclass(frozen=True)
class Work:
    """What bounds have to do: ``numbers`` of parameters and ``flops`` of a row's forward pass; ``large`` and
    ``large_flops``: those of large matrices among them.
    """

    numbers: int
    large: int
    flops: int
    large_flops: int = 0

    @property
    def preparing(self) -> float:
        """Seconds to make the parameters ready at a depth."""
        return (self.numbers - self.large) / BOXED_NUMBERS + self.large / LARGE_BOXED_NUMBERS

    def passes(self, count: float, rows: int) -> float:
        """Seconds of intervals that are as much as so many forward passes of each row."""
        return self.large / LARGE_PASSED_NUMBERS + count * rows * self._each(LARGE_FLOPS)

    def traces(self, count: float, rows: int) -> float:
        """Seconds of traces that are as much as so many forward passes of each row."""
        return TRACE_SWEEPS * self.large / LARGE_PASSED_NUMBERS + count * rows * self._each(TRACED_FLOPS)

    def _each(self, large_rate: float) -> float:
        return max(0, self.flops - self.large_flops) / BOUND_FLOPS + self.large_flops / large_rate

    def guess(self, rows: int) -> float:
        """Seconds of a forward pass."""
        return rows * self.flops / QUICK_FLOPS

    def step(self, rows: int, *, prepared: bool) -> float:
        """Seconds of the least that is tried at a depth: a guess and intervals, and making ready for them."""
        return (0.0 if prepared else self.preparing) + self.guess(rows) + self.passes(INTERVAL_PASSES, rows)


class OutOfTime(Exception):
    """A step has taken more than there was left."""


@dataclass
class Budget:
    """Seconds of the processor that bounds may take and have taken: other programs on the machine do not count.

    ``foreseen``: what the steps that were estimated should have taken, and ``measured`` what they took.
    """

    allowed: float = CONSTANT
    spent: float = 0.0
    foreseen: float = 0.0
    measured: float = 0.0
    clock: Callable[[], float] = time.process_time
    _since: float | None = None

    @property
    def left(self) -> float:
        """Seconds that are left, those of a step that is under way taken off."""
        under_way = 0.0 if self._since is None else self.clock() - self._since
        return self.allowed - self.spent - under_way

    def require(self) -> None:
        """Raises ``OutOfTime`` where the step that is under way has used up what was left."""
        if self.left < 0:
            raise OutOfTime

    @property
    def pace(self) -> float:
        """As how many times as long as estimated steps take, from those so far."""
        return (self.measured + STEADY) / (self.foreseen + STEADY)

    def affords(self, estimate: float) -> bool:
        """Whether a step that is estimated to take so long may begin."""
        return estimate * self.pace <= self.left

    def cheap(self, estimate: float) -> bool:
        """Whether it takes next to nothing of what is left."""
        return estimate * self.pace <= CHEAP * self.left

    def earn(self, flops: float, reading: float = 0.0) -> None:
        """For work that full precision would have to do: operations, and seconds of reading."""
        self.allowed += SHARE * (flops / QUICK_FLOPS + reading)

    @contextmanager
    def spending(self, estimate: float | None = None) -> Iterator[None]:
        """Counts the time of the block, which was estimated to take so long."""
        self._since = started = self.clock()
        try:
            yield
        finally:
            took = self.clock() - started
            self._since = None
            self.spent += took
            if estimate is not None:
                self.foreseen += estimate
                self.measured += took
