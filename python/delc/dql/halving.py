"""The rungs of successive halving: all trials train a little, the better ones go on, until as many are left as are to
be kept (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """``trials`` are trained up to ``iterations`` (counted from their beginning), of which ``kept`` go on."""

    trials: int
    iterations: int
    kept: int


def rungs(trials: int, top: int, iterations: int, reduction: int = 3, least: int = 1) -> list[Rung]:
    """The rungs of so many trials, of which ``top`` are trained for all ``iterations``.

    Each rung keeps one of ``reduction`` trials, and the next one trains ``reduction`` times as long; none trains for
    fewer than ``least`` iterations.
    """
    levels = 0 if trials <= top else math.ceil(math.log(trials / top) / math.log(reduction) - 1e-9)
    levels = min(levels, int(math.log(max(iterations / least, 1)) / math.log(reduction) + 1e-9))
    result: list[Rung] = []
    alive = trials
    for level in range(levels, -1, -1):
        length = max(least, round(iterations / reduction**level))
        kept = top if level <= 1 else max(top, math.ceil(alive / reduction))
        if result and result[-1].iterations >= length:
            continue
        result.append(Rung(alive, length, min(kept, alive)))
        alive = min(kept, alive)
    return result


def total_iterations(plan: list[Rung]) -> int:
    """How many iterations all trials of a plan take together."""
    done, total = 0, 0
    for rung in plan:
        total += rung.trials * (rung.iterations - done)
        done = rung.iterations
    return total
