"""From the dimensions of ``vary`` to the points that are tried.

Lists, ranges and log ranges make a grid. "auto" draws values for each point of it: by default a scrambled Sobol
sequence (Sobol 1967, Owen 1995), whose points lie more evenly than random ones, on a logarithmic scale where sizes
matter by their order.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from delc.dql.configs import ARGUMENT, DATASET, LEARNING, OPTION, Config
from delc.dql.problems import TooLarge, WrongValue, problem
from delc.dql.settings import LEARNING_RATE, Knob, knob
from delc.dql.syntax import Dimension, Value

MOST_TRIALS = 10_000

GENTLE = ("sgd",)
"""Optimisers whose learning rates are about ten times those of the others."""


@dataclass(frozen=True)
class Scale:
    """Where "auto" draws from: between ``low`` and ``high``, evenly or by order of size; or one of ``choices``.

    ``relative``: the bounds are multiples of the trial's learning rate.
    """

    low: float = 0.0
    high: float = 1.0
    logarithmic: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()
    relative: bool = False

    def at(self, share: float, learning_rate: float) -> Value:
        """The value at a share of the way, 0 to 1."""
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        if self.logarithmic:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        if self.relative:
            value *= learning_rate
        return round(value) if self.whole else float(f"{value:.4g}")

    def in_words(self) -> str:
        """The range as a plan shows it."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        scale = ", logarithmic" if self.logarithmic else ""
        times = " times the learning rate" if self.relative else ""
        return f"{self.low:g} to {self.high:g}{times}{scale}"


@dataclass(frozen=True)
class Space:
    """What varies: knobs with given values, and knobs that are drawn."""

    given: tuple[tuple[Knob, tuple[Value, ...]], ...]
    drawn: tuple[tuple[Knob, Scale], ...]


def space(dimensions: Sequence[Dimension], config: Config) -> Space:
    """The dimensions with their knobs; errors of the query where a setting is unknown or varies twice."""
    given: list[tuple[Knob, tuple[Value, ...]]] = []
    drawn: list[tuple[Knob, Scale]] = []
    seen: dict[tuple[str, str, str | None], str] = {}
    for dimension in dimensions:
        found = knob(dimension.setting)
        if found.key in seen:
            earlier = seen[found.key]
            same = "varies twice" if earlier == found.title else f"sets the same as config.{earlier}, which varies too"
            raise problem(found.place, f"config.{found.title} {same}", hint="Leave one of them out.")
        seen[found.key] = found.title
        if dimension.values is None:
            drawn.append((found, _scale(found, dimension.bounds, config)))
        else:
            given.append((found, tuple(literal.value for literal in dimension.values)))
    return Space(tuple(given), tuple(drawn))


def points(varied: Space, config: Config, seed: int) -> list[dict[Knob, Value]]:
    """The points that are tried, in an order that the seed decides alone; those of a sampler that learns are without
    what it draws, the ones of each point of the grid side by side.
    """
    grid = [dict(zip([each for each, _ in varied.given], values, strict=True)) for values in _product(varied)]
    most = config.search.trials
    if most is not None and len(grid) > most:
        grid = [grid[place] for place in sorted(random.Random(seed).sample(range(len(grid)), most))]
    if not varied.drawn:
        return grid
    if config.search.sampler == LEARNING:
        return [point for point in grid for _ in range(config.search.samples)]
    shares = _shares(config, len(varied.drawn), len(grid), seed)
    return [
        with_drawn(point, dict(zip([each for each, _ in varied.drawn], shares[place], strict=True)), varied, config)
        for place, (point, _) in enumerate(itertools.product(grid, range(len(shares) // len(grid))))
    ]


def with_drawn(
    point: Mapping[Knob, Value], shares: Mapping[Knob, float], varied: Space, config: Config
) -> dict[Knob, Value]:
    """A point of the grid with the knobs that are drawn, each at its share of its range."""
    rate = _learning_rate(point, config)
    values = dict(point)
    for each, scale in varied.drawn:
        values[each] = scale.at(shares[each], rate)
        if each.sort == OPTION and each.name == LEARNING_RATE:
            rate = float(values[each])
    return values


def count(varied: Space, config: Config) -> int:
    """How many points are tried of each model."""
    grid = math.prod(len(values) for _, values in varied.given)
    if config.search.trials is not None:
        grid = min(grid, config.search.trials)
    per_point = config.search.samples
    if config.search.sampler == "grid":
        per_point = config.search.samples ** len(varied.drawn)
    return grid * (per_point if varied.drawn else 1)


def _product(varied: Space) -> list[tuple[Value, ...]]:
    if math.prod(len(values) for _, values in varied.given) > 100 * MOST_TRIALS:
        raise problem(varied.given[0][0].place, f"vary has more than {100 * MOST_TRIALS} combinations", kind=TooLarge)
    return list(itertools.product(*(values for _, values in varied.given)))


def _shares(config: Config, dimensions: int, grid: int, seed: int) -> list[list[float]]:
    """For every trial and drawn knob a share of its range."""
    search = config.search
    if search.sampler == "grid":
        steps = [(step + 0.5) / search.samples for step in range(search.samples)]
        return [list(each) for _ in range(grid) for each in itertools.product(steps, repeat=dimensions)]
    wanted = grid * search.samples
    if search.sampler == "random":
        generator = random.Random(seed)
        return [[generator.random() for _ in range(dimensions)] for _ in range(wanted)]
    sobol: Any = torch.quasirandom.SobolEngine
    engine = sobol(dimensions, scramble=True, seed=seed % 2**31)
    drawn: list[list[float]] = engine.draw(wanted, dtype=torch.float64).tolist()
    return drawn


def _learning_rate(point: Mapping[Knob, Value], config: Config) -> float:
    for each, value in point.items():
        if each.sort == OPTION and each.name == LEARNING_RATE and isinstance(value, int | float):
            return float(value)
    return float(config.options.get(LEARNING_RATE, 0.001))


def _scale(found: Knob, bounds: tuple[float, float] | None, config: Config) -> Scale:
    usual = _usual(found, config)
    if bounds is None:
        if usual is None:
            raise problem(
                found.place,
                f"auto knows no range for config.{found.title}",
                hint=f"Give one: config.{found.title} auto(0.1, 0.9), or a list: config.{found.title} in [0.1, 0.5].",
            )
        return usual
    if found.sort == DATASET:
        raise problem(found.place, "a data set has a name, and is not drawn from a range", kind=WrongValue)
    low, high = bounds
    logarithmic = low > 0 and high / low >= 10
    whole = usual is not None and bool(usual.choices) and low == int(low) and high == int(high)
    return Scale(low, high, logarithmic, whole)


def _usual(found: Knob, config: Config) -> Scale | None:
    optimizer = config.options.get("optimizer", "adam")
    if found.sort == OPTION:
        rates = Scale(0.003, 0.3, True) if optimizer in GENTLE else Scale(0.0001, 0.01, True)
        return {
            "learning_rate": rates,
            "weight_decay": Scale(1e-6, 1e-2, True),
            "batch_size": Scale(choices=(16, 32, 64, 128, 256)),
            "gradient_clip": Scale(0.1, 10, True),
            "optimizer": Scale(choices=("sgd", "adam", "adamw", "rmsprop")),
            "schedule": Scale(choices=("constant", "linear", "cosine")),
        }.get(found.name)
    if found.sort == ARGUMENT:
        return {"momentum": Scale(0.8, 0.99), "alpha": Scale(0.9, 0.999), "nesterov": Scale(choices=(False, True))}.get(
            found.name
        )
    if found.sort == "layers":
        return {
            "learning_rate": Scale(0.03, 3, True, relative=True),
            "weight_decay": Scale(1e-6, 1e-2, True),
            "freeze": Scale(choices=(False, True)),
        }[found.name]
    return {"p": Scale(0.1, 0.6), "negative_slope": Scale(0.001, 0.3, True)}.get(found.name)
