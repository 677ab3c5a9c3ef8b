"""Learning-rate schedules.

All but one are functions of how far training is, counted in epochs with fractions (2.5: half of the third epoch is
done), so that any moment of a run can be computed again from its number alone. "reduce_on_plateau" looks at the loss
of each epoch. Every schedule scales each parameter group's own learning rate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import torch

from delc.server.errors import InvalidParameter
from delc.training.arguments import Argument, choice, integer, listing, number

_EPOCHS = integer(1, 1_000_000)
_GAMMA = Argument(number(above=0, high=1), 0.1)
_MINIMUM = Argument(number(low=0), 0.0)
_WARMUP = {
    "warmup_epochs": Argument(number(low=0), 0.0),
    "warmup_start": Argument(number(low=0, high=1), 0.01),
}

SCHEDULES: dict[str, dict[str, Argument]] = {
    "constant": {**_WARMUP},
    "step": {"step_size": Argument(_EPOCHS, 30), "gamma": _GAMMA, **_WARMUP},
    "multistep": {"milestones": Argument(listing(_EPOCHS), None), "gamma": _GAMMA, **_WARMUP},
    "exponential": {"gamma": Argument(number(above=0, high=1), 0.95), **_WARMUP},
    "linear": {"minimum_learning_rate": _MINIMUM, **_WARMUP},
    "cosine": {"minimum_learning_rate": _MINIMUM, **_WARMUP},
    "cosine_warm_restarts": {
        "first_cycle": Argument(_EPOCHS, 10),
        "cycle_factor": Argument(integer(1, 100), 1),
        "minimum_learning_rate": _MINIMUM,
        **_WARMUP,
    },
    "one_cycle": {
        "warmup_fraction": Argument(number(above=0, below=1), 0.3),
        "start_divisor": Argument(number(above=1), 25.0),
        "final_divisor": Argument(number(above=1), 1e4),
    },
    "reduce_on_plateau": {
        "factor": Argument(number(above=0, below=1), 0.1),
        "patience": Argument(integer(0, 1_000_000), 5),
        "threshold": Argument(number(low=0), 1e-4),
        "minimum_learning_rate": _MINIMUM,
        **_WARMUP,
    },
}
"""Schedule → its arguments. Lengths are epochs; "warmup_start" is the share of the learning rate to start from."""

Rate: TypeAlias = Callable[[float, float, float], float]
"""(the group's learning rate, epochs done since the warm-up, epochs there are after it) → the learning rate now."""


def read_schedule(value: Any, epochs: int) -> dict[str, Any]:
    """The schedule that a user chose as {"name": …, every argument}; None is "constant"."""
    schedule = choice("schedule", "constant" if value is None else value, SCHEDULES)
    if schedule["name"] == "multistep":
        milestones = schedule["milestones"]
        if milestones is None:
            raise InvalidParameter('schedule "multistep" needs "milestones", the epochs after which gamma applies')
        if milestones != sorted(set(milestones)):
            raise InvalidParameter(f'milestones of schedule "multistep" are {milestones}; they must increase')
    if schedule.get("warmup_epochs", 0) > epochs:
        raise InvalidParameter(
            f"warmup_epochs is {schedule['warmup_epochs']:g}, but there are only {epochs} epochs of training"
        )
    return schedule


class Schedule(Protocol):
    """Sets the learning rates of an optimiser as training goes on."""

    def before_batch(self, done: float) -> None:
        """``done``: epochs of training done, with the fraction of the running one."""

    def after_epoch(self, loss: float) -> None:
        """``loss``: of the validation rows, or of the training rows where there are none."""

    def state(self) -> dict[str, Any]:
        """What the schedule remembers of the epochs so far, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``state`` gave."""


def build_schedule(schedule: Mapping[str, Any], epochs: int, optimizer: torch.optim.Optimizer) -> Schedule:
    """The schedule over ``epochs`` of training for the optimiser; ``schedule`` is what ``read_schedule`` gave."""
    if schedule["name"] == "reduce_on_plateau":
        return Plateau(schedule, optimizer)
    return Timed(schedule, epochs, optimizer)


class Timed:
    """A schedule that depends on time alone, after a linear warm-up where one was asked for."""

    def __init__(self, schedule: Mapping[str, Any], epochs: int, optimizer: torch.optim.Optimizer) -> None:
        self._schedule = schedule
        self._rate = _RATES[schedule["name"]](schedule)
        self._warmup = float(schedule.get("warmup_epochs", 0.0))
        self._length = max(epochs - self._warmup, 1e-9)
        self._still = schedule["name"] == "constant" and self._warmup == 0
        self._optimizer = optimizer

    def before_batch(self, done: float) -> None:
        """Set the rates for a batch that begins after ``done`` epochs."""
        if self._still:
            return
        for group in self._optimizer.param_groups:
            base = group["base_learning_rate"]
            if done < self._warmup:
                group["lr"] = base * _warmup_share(self._schedule, done)
            else:
                group["lr"] = self._rate(base, done - self._warmup, self._length)

    def after_epoch(self, loss: float) -> None:
        """Time alone counts here."""

    def state(self) -> dict[str, Any]:
        """Nothing: time alone counts here."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Time alone counts here."""


class Plateau:
    """Multiplies the rates by "factor" when the loss has not fallen, by a share "threshold", for "patience" epochs."""

    def __init__(self, schedule: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        self._schedule = schedule
        self._optimizer = optimizer
        self._best = math.inf
        self._epochs_since_best = 0
        self._scale = 1.0

    def before_batch(self, done: float) -> None:
        """Set the rates for a batch that begins after ``done`` epochs."""
        warm = _warmup_share(self._schedule, done) if done < self._schedule["warmup_epochs"] else 1.0
        for group in self._optimizer.param_groups:
            base = group["base_learning_rate"]
            floor = min(base, self._schedule["minimum_learning_rate"])
            group["lr"] = max(base * self._scale, floor) * warm

    def after_epoch(self, loss: float) -> None:
        """Count the epochs without a better loss."""
        if loss < self._best - abs(self._best) * self._schedule["threshold"] or math.isinf(self._best):
            self._best, self._epochs_since_best = loss, 0
            return
        self._epochs_since_best += 1
        if self._epochs_since_best > self._schedule["patience"]:
            self._scale *= self._schedule["factor"]
            self._epochs_since_best = 0

    def state(self) -> dict[str, Any]:
        """The lowest loss (None before the first epoch), the epochs since, and what the rates are multiplied by."""
        best = None if math.isinf(self._best) else self._best
        return {"best": best, "epochs_since_best": self._epochs_since_best, "scale": self._scale}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``state`` gave."""
        self._best = math.inf if state["best"] is None else float(state["best"])
        self._epochs_since_best, self._scale = int(state["epochs_since_best"]), float(state["scale"])


def _warmup_share(schedule: Mapping[str, Any], done: float) -> float:
    start: float = schedule["warmup_start"]
    share: float = done / schedule["warmup_epochs"]
    return start + (1 - start) * share


def _constant(_: Mapping[str, Any]) -> Rate:
    return lambda base, done, length: base


def _step(schedule: Mapping[str, Any]) -> Rate:
    return lambda base, done, length: float(base * schedule["gamma"] ** (math.floor(done) // schedule["step_size"]))


def _multistep(schedule: Mapping[str, Any]) -> Rate:
    return lambda base, done, length: float(
        base * schedule["gamma"] ** bisect_right(schedule["milestones"], math.floor(done))
    )


def _exponential(schedule: Mapping[str, Any]) -> Rate:
    return lambda base, done, length: float(base * schedule["gamma"] ** math.floor(done))


def _linear(schedule: Mapping[str, Any]) -> Rate:
    return lambda base, done, length: _between(base, schedule, 1 - done / length)


def _cosine(schedule: Mapping[str, Any]) -> Rate:
    """Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), without the restarts."""
    return lambda base, done, length: _between(base, schedule, _half_cosine(done / length))


def _cosine_warm_restarts(schedule: Mapping[str, Any]) -> Rate:
    """Loshchilov and Hutter (2017): each cycle starts at the full rate and is "cycle_factor" times as long."""

    def rate(base: float, done: float, length: float) -> float:
        cycle = float(schedule["first_cycle"])
        while done >= cycle:
            done -= cycle
            cycle *= schedule["cycle_factor"]
        return _between(base, schedule, _half_cosine(done / cycle))

    return rate


def _one_cycle(schedule: Mapping[str, Any]) -> Rate:
    """Smith and Topin, "Super-Convergence" (2017), with cosine arms; the learning rate given is the highest one."""

    def rate(base: float, done: float, length: float) -> float:
        peak = schedule["warmup_fraction"] * length
        start = base / schedule["start_divisor"]
        if done < peak:
            return float(base + (start - base) * _half_cosine(done / peak))
        end = start / schedule["final_divisor"]
        return float(end + (base - end) * _half_cosine((done - peak) / (length - peak)))

    return rate


_RATES: dict[str, Callable[[Mapping[str, Any]], Rate]] = {
    "constant": _constant,
    "step": _step,
    "multistep": _multistep,
    "exponential": _exponential,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_warm_restarts": _cosine_warm_restarts,
    "one_cycle": _one_cycle,
}


def _half_cosine(share: float) -> float:
    """From 1 at the start (0) to 0 at the end (1)."""
    return (1 + math.cos(math.pi * min(share, 1.0))) / 2


def _between(base: float, schedule: Mapping[str, Any], share: float) -> float:
    """``share`` of the way from the minimum up to ``base``; a minimum above a group's own rate keeps that rate."""
    floor = min(base, schedule["minimum_learning_rate"])
    return float(floor + (base - floor) * max(share, 0.0))
