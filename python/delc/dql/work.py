"""A piece of training that needs nothing of the server: one trial, from where it is up to an iteration.

It runs in the caller's process or in one of its own (``workers``); the numbers are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from delc.networks import Network, restore
from delc.server.errors import DelcError
from delc.server.inputs import InputSpec
from delc.training.batches import Batches
from delc.training.loop import fit
from delc.training.options import TrainingOptions
from delc.training.state import EpochRecord, TrainingState

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}

LOSSES = ("loss", "train_loss")


@dataclass(frozen=True)
class Goal:
    """A metric that ends a trial when it is reached."""

    metric: str
    comparison: str
    threshold: float

    def reached(self, record: EpochRecord) -> bool:
        """Whether it is, after an epoch."""
        value = measured(record, self.metric)
        return value is not None and OPERATORS[self.comparison](value, self.threshold)


@dataclass(frozen=True)
class Work:
    """What is to be done. ``data`` names the rows; ``weights`` are those to begin or to go on with; ``resumed`` is what
    else a training that goes on needs; it ends after epoch ``until``, or when the goal is reached.
    """

    trial: int
    data: int
    network: Any
    inputs: Mapping[str, InputSpec]
    options: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    until: int
    resumed: TrainingState | None = None
    goal: Goal | None = None
    class_weights: Tensor | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of it. ``weights`` are those after the last epoch, ``best`` those to predict with where early
    stopping goes back to others. ``ended``: whether there is nothing left to train.
    """

    trial: int
    records: tuple[EpochRecord, ...]
    weights: Mapping[str, Tensor]
    resumed: TrainingState | None
    best: Mapping[str, Tensor] | None
    used: EpochRecord | None
    ended: bool
    cpu_seconds: float
    error: tuple[str, str] | None = None


@dataclass(frozen=True)
class RowBatches:
    """Makes the batches of training and validation rows for a batch size and a seed."""

    make: Callable[[int, int], tuple[Batches, Batches | None]]


class _Keeper:
    """The training loop's monitor: asks for a cancel, and keeps the last checkpoint."""

    def __init__(self, poll: Callable[[], None], epoch_done: Callable[[EpochRecord], None]) -> None:
        self._poll = poll
        self._epoch_done = epoch_done
        self.weights: dict[str, Tensor] = {}
        self.state: TrainingState | None = None

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float | None) -> None:
        self._poll()

    def epoch_done(self, record: EpochRecord) -> None:
        self._epoch_done(record)

    def checkpoint(self, epoch: int, module: torch.nn.Module, state: Callable[[], TrainingState]) -> None:
        self.weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in module.state_dict().items()}
        self.state = state()


def carry_out(
    work: Work, rows: RowBatches, poll: Callable[[], None], epoch_done: Callable[[EpochRecord], None]
) -> Outcome:
    """Trains; an error of the training is part of the outcome, while what ``poll`` raises goes through."""
    records: list[EpochRecord] = []
    started = time.process_time()

    def note(record: EpochRecord) -> None:
        records.append(record)
        epoch_done(record)

    try:
        return _trained(work, rows, _Keeper(poll, note), started)
    except DelcError as error:
        text = error.message
        spent = time.process_time() - started
        return Outcome(work.trial, tuple(records), {}, None, None, None, True, spent, (error.sqlstate, text))


def _trained(work: Work, rows: RowBatches, keeper: _Keeper, started: float) -> Outcome:
    options = TrainingOptions.from_json(work.options)
    train, validation = rows.make(options.batch_size, options.seed)
    built = restore(Network.parse(work.network), work.inputs, work.weights, copy=True)

    def pause(record: EpochRecord) -> bool:
        return record.epoch >= work.until or (work.goal is not None and work.goal.reached(record))

    result = fit(
        built.module,
        train,
        validation,
        options,
        keeper,
        class_weights=work.class_weights,
        start=work.resumed,
        checkpoint_last=True,
        pause=pause,
    )
    last = result.epochs[-1]
    goes_back = options.early_stopping is not None
    ended = last.epoch >= options.epochs or not pause(last) or (work.goal is not None and work.goal.reached(last))
    best = {name: tensor.detach() for name, tensor in built.module.state_dict().items()} if goes_back else None
    return Outcome(
        work.trial,
        tuple(result.epochs),
        keeper.weights,
        keeper.state,
        best,
        result.best if goes_back else last,
        ended,
        time.process_time() - started,
    )


def measured(record: EpochRecord, metric: str) -> float | None:
    """A metric after an epoch: the loss is that of the validation rows where there are any."""
    if metric == "loss":
        return record.train_loss if record.validation_loss is None else record.validation_loss
    if metric == "train_loss":
        return record.train_loss
    return record.validation_metric if metric == record.metric_name else None
