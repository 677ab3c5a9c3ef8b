"""What bounds may cost, so that progressive answers are never much slower than full ones.

Time that bounds take without settling everything is lost: the rest is read in full after all. It is limited to a share
of what full precision is thought to take for the rows that were asked for so far, plus a constant for each model and
session. A meter runs from the opening of a model to the last answer, so that everything is paid of it: directories of
planes, layers for bounds, parameters made ready, guesses, bounds, putting differences together again. It stands only
while something is done that full precision does too: reading (planes are decoded once however they are read), and the
full pass. Before each step its estimate, at the pace of the steps before, is compared with what is left.
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

ALLOWED = 0.65
"""Of these are given out. A step may take longer than its estimate, and ends at the next layer or portion; what the
reading of planes one after the other takes more than reading them at once is not on the meter.
"""

LAYER_MADE = 2.5e-4
"""Seconds to make a layer for bounds, and its module for guesses: what many small layers cost."""

LAYER_PASSED = 2e-4
"""Seconds that intervals take in a layer, however small."""

LAYER_TRACED = 4e-5
"""Seconds that a trace takes in a layer, however small."""

ANOTHER_READ = 1.5e-4
"""Seconds to read of a stored value again, beside what its bytes take."""

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
"""Traces go over them so many times as long, because they are float64; once for each portion of their lines."""

PORTION_FLOPS = 2e9
"""Operations of a portion of lines in the dearest layer: between two layers it is noticed that time is up."""

SAMPLE = 32
"""So many rows are tried first at a depth where all of them would take a good part of what is left."""

PLAIN_LINES = 1e7
"""Outputs a second that are put in order and compared two by two."""

MERGED_NUMBERS = 5e7
"""Numbers a second of the last layer's weights that merging goes over, line by line."""

PASS_BYTES = 64 * 1024 * 1024
"""Bounds of a portion of rows take about so much memory."""

BOUND_BYTES = 48
"""What a number of a layer takes: bounds, noise, centres, and what they are made of, in float64."""

INTERVAL_PASSES = 4
"""An interval pass costs so many forward passes: products of centres, of radii, of magnitudes, and a guess."""

PROBE = 16
"""So many rows are tried first where a method would take a good part of what is left."""

CAUTION = 4
"""Fewer where even these would take more than the fourth part of it."""

THREADED = 0.5
"""Steps that are expected to take fewer seconds have one thread: where other programs keep the processors busy, threads
that wait for each other in many small operations use up many times what they save.
"""

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
    ``large_flops``: those of large matrices among them. ``layers``, and ``bent`` ones among them, whose numbers REFINED
    bounds by traces. ``outputs`` of a row, ``merged`` numbers that arrive at the last layer for a line, and
    ``row_numbers`` of all layers together.
    """

    numbers: int
    large: int
    flops: int
    large_flops: int = 0
    layers: int = 0
    bent: int = 0
    outputs: int = 0
    merged: int = 0
    row_numbers: int = 0

    @property
    def rows_at_once(self) -> int:
        """Rows of which bounds are made together."""
        return max(1, PASS_BYTES // (BOUND_BYTES * max(1, self.row_numbers)))

    def merging(self, lines: float, rows: int) -> float:
        """Seconds to merge so many lines of each row over the last layer."""
        return rows * lines * self.merged / MERGED_NUMBERS

    @property
    def preparing(self) -> float:
        """Seconds to make the parameters ready at a depth."""
        numbers = (self.numbers - self.large) / BOXED_NUMBERS + self.large / LARGE_BOXED_NUMBERS
        return numbers + self.layers * LAYER_MADE

    def passes(self, count: float, rows: int) -> float:
        """Seconds of intervals that are as much as so many forward passes of each row."""
        least = self.large / LARGE_PASSED_NUMBERS + self.layers * LAYER_PASSED
        return least + count * rows * self._each(LARGE_FLOPS) + rows * self.outputs / PLAIN_LINES

    def traces(self, count: float, rows: int, *, refined: bool = False) -> float:
        """Seconds of intervals and of traces that are as much as so many forward passes of each row. ``refined``: from
        each bent layer, half of all layers on average.
        """
        visits = self.layers * (1 + self.bent / 2 if refined else 1)
        portions = max(1.0, count * rows * self.large_flops / PORTION_FLOPS)
        sweeps = portions * TRACE_SWEEPS * self.large / LARGE_PASSED_NUMBERS
        return sweeps + self.layers * LAYER_PASSED + visits * LAYER_TRACED + count * rows * self._each(TRACED_FLOPS)

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

    allowed: float = ALLOWED
    spent: float = 0.0
    foreseen: float = 0.0
    measured: float = 0.0
    clock: Callable[[], float] = time.process_time
    _since: float | None = None
    """When the meter began to run; None where it stands."""

    @property
    def used(self) -> float:
        """Seconds that were spent, those of a step that is under way among them."""
        return self.spent + (0.0 if self._since is None else self.clock() - self._since)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.allowed - self.used

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
        """The meter runs in the block, which was estimated to take so long."""
        before, inner = self.used, self._since is not None
        if not inner:
            self._since = self.clock()
        try:
            yield
        finally:
            took = self.used - before
            if not inner:
                self._stop()
            if estimate is not None:
                self.foreseen += estimate
                self.measured += took

    @contextmanager
    def free(self) -> Iterator[None]:
        """The meter stands in the block: full precision does this too."""
        running = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if running:
                self._since = self.clock()

    def _stop(self) -> None:
        self.spent, self._since = self.used, None
