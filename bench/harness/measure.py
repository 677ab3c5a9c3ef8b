"""Timing ways of doing the same thing side by side."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds of each way, one per round; rounds of different ways alternate."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, above: str, below: str, scale: float = 1.0) -> float:
        """The median over rounds of one way's seconds divided by another's in the same round."""
        pairs = zip(self.seconds[above], self.seconds[below], strict=True)
        return scale * statistics.median(first / second for first, second in pairs)

    def print(self, name: str, note: str = "") -> None:
        values = self.seconds[name]
        spread = f"{min(values):.3f} to {max(values):.3f}" if len(values) > 1 else "one round"
        print(f"  {name:<44} {self.median(name):8.3f} s  ({spread}){'  ' + note if note else ''}", flush=True)


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> Timings:
    """Runs all ways in turn, `rounds` times, after `warm_up` rounds that do not count.

    A way may return its own seconds (a float) where only part of what it does is to count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + warm_up):
        for name, run in ways.items():
            started = time.perf_counter()
            own = run()
            taken = own if isinstance(own, float) else time.perf_counter() - started
            if round_number >= warm_up:
                seconds[name].append(taken)
    return Timings(seconds)


@dataclass
class Goals:
    """The claims of a program; `all_met` at the end says whether each holds."""

    all_met: bool = True

    def at_least(self, what: str, ratio: float, goal: float) -> None:
        self._check(what, ratio, f"at least {goal:g}", ratio >= goal)

    def at_most(self, what: str, ratio: float, goal: float) -> None:
        self._check(what, ratio, f"at most {goal:g}", ratio <= goal)

    def _check(self, what: str, ratio: float, goal: str, met: bool) -> None:
        self.all_met = self.all_met and met
        print(f"  {'met   ' if met else 'MISSED'} {what}: {ratio:.2f} (goal: {goal})", flush=True)


@contextmanager
def goals() -> Iterator[Goals]:
    """Collects the program's claims; ends the program with status 1 where one does not hold."""
    found = Goals()
    yield found
    if not found.all_met:
        sys.exit(1)
