"""The training loop.

The same seed, rows, options and number of threads give the same weights, bit for bit: rows are ordered by seed and
epoch, random layers such as dropout draw from a generator seeded by the same two, and torch is told to use
deterministic algorithms. Whatever else the process does with torch's random numbers is left as it was.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Module

from delc.server.errors import InvalidData, InvalidParameter, LimitExceeded
from delc.training.batches import Batches, Inputs, epoch_seed
from delc.training.devices import resolve_device
from delc.training.losses import Loss, build_loss
from delc.training.metrics import ValidationMetric, validation_metric
from delc.training.optimizers import build_optimizer
from delc.training.options import TrainingOptions
from delc.training.schedules import Schedule, build_schedule
from delc.training.selection import select_layers
from delc.training.state import EpochRecord, TrainingState, optimizer_slots, restore_optimizer

LOSSES_HELD_ON_DEVICE = 16
"""Losses of so many batches stay on a CUDA device before they are read, because each reading waits for the device."""


@dataclass(frozen=True)
class FitResult:
    """What training gave. ``best`` has the lowest validation loss, or is the last epoch without validation rows; where
    training went on from a checkpoint it may lie before the first of ``epochs``.
    """

    epochs: list[EpochRecord]
    best: EpochRecord
    stopped_early: bool

    @property
    def best_epoch(self) -> int:
        """The number of the best epoch."""
        return self.best.epoch

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch."""
        return self.epochs[-1].epoch


class Monitor(Protocol):
    """Who watches training from outside: polls for a cancel, reports progress, stores checkpoints."""

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float | None) -> None:
        """Called after every batch, validation included; raises to stop. ``loss`` is None where it was not read."""

    def epoch_done(self, record: EpochRecord) -> None:
        """Called after every epoch."""

    def checkpoint(self, epoch: int, module: Module, state: Callable[[], TrainingState]) -> None:
        """Called every ``checkpoint_every`` epochs; the weights lie on the training device and go on changing.
        ``state()`` is what else a training that goes on from here needs, to be stored before this returns.
        """


class NonFiniteLoss(InvalidData):
    """The loss, or a weight, became infinite or not a number; ``epoch`` and ``batch`` count from 1."""

    def __init__(self, what: str, epoch: int, batch: int, learning_rate: float, clipped: bool) -> None:
        super().__init__(
            f"{what} in epoch {epoch}, batch {batch}, at learning rate {learning_rate:g}",
            detail="Training was stopped and nothing of it is kept.",
            hint="Lower learning_rate (try a tenth), "
            + ("lower" if clipped else "set")
            + " gradient_clip (1 is usual), standardize the inputs, and look for extreme values in the data.",
        )
        self.epoch = epoch
        self.batch = batch
        self.learning_rate = learning_rate


def fit(
    module: Module,
    train: Batches,
    validation: Batches | None,
    options: TrainingOptions,
    monitor: Monitor,
    *,
    class_weights: Tensor | None = None,
    start: TrainingState | None = None,
    checkpoint_last: bool = False,
    pause: Callable[[EpochRecord], bool] | None = None,
) -> FitResult:
    """Train ``module`` in place on ``train``; it ends on the processor, in evaluation mode.

    ``module(inputs)`` takes a dict of tensors (rows, …) and gives (rows, outputs); see ``losses`` for the targets. In
    validation targets, the class −1 is a label never seen in training: wrong, and left out of the loss.
    ``class_weights`` (labels,) come from ``losses.class_weight_tensor``. With early stopping the module ends with the
    weights of the best epoch. ``start`` goes on after a checkpoint, whose weights the module has: the epochs that
    follow are, bit for bit, those of a training that was not interrupted. ``checkpoint_last`` makes a checkpoint after
    the last epoch as well. ``pause`` is asked after every epoch; where it says yes training ends there, as after a last
    epoch.

    Raises InvalidData for no rows, NonFiniteLoss, InvalidParameter for options that do not fit the network, rows or
    machine, LimitExceeded when the device's memory is full, and whatever ``monitor`` raises.
    """
    if validation is not None and validation.rows == 0:
        validation = None
    _check(train, validation, options, class_weights)
    _check_start(start, options)
    device = resolve_device(options.device)
    module.to(device)
    try:
        with _reproducible(device):
            weights = None if class_weights is None else class_weights.to(device)
            return _Run(module, train, validation, options, monitor, device, weights).fit(
                start, checkpoint_last, pause
            )
    except torch.OutOfMemoryError as error:
        raise LimitExceeded(
            f"the memory of device {device} is full with batch_size {options.batch_size}",
            detail=str(error).partition("\n")[0],
            hint='Lower batch_size, or train on device "cpu".',
        ) from error
    finally:
        module.zero_grad(set_to_none=True)
        module.to("cpu").eval()


def _check(train: Batches, validation: Batches | None, options: TrainingOptions, class_weights: Tensor | None) -> None:
    if train.rows == 0:
        raise InvalidData("there are no rows to train on", hint="Check the data set and its split.")
    if options.early_stopping is not None and validation is None:
        raise InvalidParameter(
            f"early_stopping is {options.early_stopping}, but there are no validation rows to watch",
            hint="Split the data set with a validation part, or leave early_stopping out.",
        )
    if options.class_weights is not None and class_weights is None:
        raise InvalidParameter("class_weights were not resolved to one weight per label")


def _check_start(start: TrainingState | None, options: TrainingOptions) -> None:
    if start is not None and start.epoch >= options.epochs:
        raise InvalidParameter(
            f"epochs is {options.epochs}, but {start.epoch} epochs of the training are done",
            hint="epochs counts from the beginning of the training: choose a greater number.",
        )


class _Run:
    """One run of training: what its steps share."""

    def __init__(
        self,
        module: Module,
        train: Batches,
        validation: Batches | None,
        options: TrainingOptions,
        monitor: Monitor,
        device: torch.device,
        class_weights: Tensor | None,
    ) -> None:
        self.module = module
        self.train = train
        self.validation = validation
        self.options = options
        self.monitor = monitor
        self.device = device
        self.frozen = _freeze(module, options.freeze)
        self.loss: Loss = build_loss(options.task, options.loss, class_weights)
        self.optimizer = build_optimizer(
            module, options.optimizer, options.optimizer_arguments, options.learning_rate, options.weight_decay
        )
        self.schedule: Schedule = build_schedule(options.schedule, options.epochs, self.optimizer)
        self.parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def fit(
        self,
        start: TrainingState | None,
        checkpoint_last: bool,
        pause: Callable[[EpochRecord], bool] | None,
    ) -> FitResult:
        """All epochs, or fewer with early stopping."""
        records: list[EpochRecord] = []
        best = _Best(keep=self.options.early_stopping is not None)
        if start is not None:
            self._restore(start, best)
        stop = False
        for epoch in range(1 if start is None else start.epoch + 1, self.options.epochs + 1):
            record = self._epoch(epoch)
            records.append(record)
            watched = record.train_loss if record.validation_loss is None else record.validation_loss
            self.schedule.after_epoch(watched)
            best.see(record, self.module)
            self.monitor.epoch_done(record)
            stop = self._has_waited_enough(epoch, best) or (pause is not None and pause(record))
            if self._is_checkpoint(epoch, checkpoint_last and (stop or epoch == self.options.epochs)):
                self.monitor.checkpoint(epoch, self.module, partial(self._state, epoch, best))
            if stop:
                break
        best.restore(self.module)
        stopped = stop and records[-1].epoch < self.options.epochs
        return FitResult(records, best.record or records[-1], stopped)

    def _has_waited_enough(self, epoch: int, best: _Best) -> bool:
        patience = self.options.early_stopping
        return patience is not None and best.record is not None and epoch - best.record.epoch >= patience

    def _is_checkpoint(self, epoch: int, wanted: bool) -> bool:
        every = self.options.checkpoint_every
        return wanted or (every is not None and epoch % every == 0)

    def _state(self, epoch: int, best: _Best) -> TrainingState:
        slots = optimizer_slots(self.optimizer, self.module)
        return TrainingState(epoch, slots, self.schedule.state(), best.record, best.weights_unless(epoch))

    def _restore(self, start: TrainingState, best: _Best) -> None:
        restore_optimizer(self.optimizer, self.module, start.optimizer)
        self.schedule.restore(start.schedule)
        best.resume(start, self.module)

    def _epoch(self, epoch: int) -> EpochRecord:
        started = time.perf_counter()
        _seed(self.device, epoch_seed(self.options.seed, epoch))
        train_loss = self._train(epoch)
        validation_loss: float | None = None
        metric = validation_metric(self.options.task)
        if self.validation is not None:
            validation_loss = self._validate(epoch, self.validation, metric)
        return EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_metric=metric.value() if self.validation is not None else None,
            metric_name=metric.name,
            learning_rate=self._learning_rate(),
            seconds=time.perf_counter() - started,
        )

    def _train(self, epoch: int) -> float:
        """One pass over the training rows; gives the mean loss over rows."""
        self.module.train()
        for layer in self.frozen:
            layer.eval()  # running statistics are part of what does not change
        batches = self.train.batches
        losses = _Losses(self.device)
        with _closed_after(self.train.epoch(epoch)) as rows:
            for batch, (inputs, target) in enumerate(rows, start=1):
                self.schedule.before_batch(epoch - 1 + min((batch - 1) / max(batches, 1), 1.0))
                loss = self._forward(inputs, target)
                value = losses.add(loss.detach(), target.shape[0])
                self._check_losses(losses, epoch)
                self._step(loss)
                self.monitor.batch_done(epoch, batch, batches, value)
        losses.read()
        self._check_losses(losses, epoch)
        if losses.rows == 0:
            raise InvalidData(f"there were no rows to train on in epoch {epoch}")
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters):
            raise self._not_finite("a weight became infinite or not a number", epoch, losses.count)
        return losses.total / losses.rows

    def _forward(self, inputs: Inputs, target: Tensor) -> Tensor:
        inputs, target = self._moved(inputs, target)
        try:
            output = self.module(inputs)
        except ValueError as error:
            if target.shape[0] == 1 and "more than 1 value per channel" in str(error):
                raise InvalidData(
                    "batch normalisation cannot train on a batch of one row",
                    hint="Train on more rows, set batch_size to 2 or more, or use layer normalisation.",
                ) from error
            raise
        return self.loss(output, _like(output, target, self.options.task))

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.gradient_clip)
        self.optimizer.step()

    def _validate(self, epoch: int, validation: Batches, metric: ValidationMetric) -> float:
        """One pass over the validation rows without gradients; gives the mean loss over rows with a known label."""
        self.module.eval()
        total, rows, batches = torch.zeros((), dtype=torch.float64, device=self.device), 0, validation.batches
        with torch.inference_mode(), _closed_after(validation.epoch(epoch)) as drawn:
            for batch, (inputs, target) in enumerate(drawn, start=1):
                inputs, target = self._moved(inputs, target)
                output = self.module(inputs)
                target = _like(output, target, self.options.task)
                metric.add(output, target)
                if self.options.task == "classification" and bool((target < 0).any()):
                    output, target = output[target >= 0], target[target >= 0]
                if target.shape[0]:
                    total += self.loss(output, target).double() * target.shape[0]
                    rows += target.shape[0]
                self.monitor.batch_done(epoch, batch, batches, None)
        value = float(total) / rows if rows else 0.0
        if not math.isfinite(value):
            raise self._not_finite(f"the loss of the validation rows is {value}", epoch, self.train.batches)
        return value

    def _moved(self, inputs: Inputs, target: Tensor) -> tuple[Inputs, Tensor]:
        if self.device.type == "cpu":
            return inputs, target
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in inputs.items()}
        return moved, target.to(self.device, non_blocking=True)

    def _check_losses(self, losses: _Losses, epoch: int) -> None:
        if losses.first_bad is not None:
            raise self._not_finite(f"the loss is {losses.bad_value}", epoch, losses.first_bad)

    def _not_finite(self, what: str, epoch: int, batch: int) -> NonFiniteLoss:
        return NonFiniteLoss(what, epoch, batch, self._learning_rate(), self.options.gradient_clip is not None)

    def _learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


class _Losses:
    """The losses of an epoch's batches. On a CUDA device they are read in groups, since each reading waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._held: list[tuple[Tensor, int]] = []
        self._most_held = 1 if device.type == "cpu" else LOSSES_HELD_ON_DEVICE
        self.total = 0.0
        self.rows = 0
        self.count = 0
        self.first_bad: int | None = None
        self.bad_value = 0.0

    def add(self, loss: Tensor, rows: int) -> float | None:
        """One batch's mean loss; gives its value when it was read at once, else None."""
        self._held.append((loss, rows))
        if len(self._held) < self._most_held:
            return None
        return self.read()

    def read(self) -> float | None:
        """Read all losses held back; gives the last one."""
        value: float | None = None
        if len(self._held) == 1:
            values = [self._held[0][0].item()]
        else:
            values = torch.stack([loss for loss, _ in self._held]).tolist() if self._held else []
        for value, (_, rows) in zip(values, self._held, strict=True):
            self.count += 1
            self.rows += rows
            self.total += value * rows
            if self.first_bad is None and not math.isfinite(value):
                self.first_bad, self.bad_value = self.count, value
        self._held.clear()
        return value


class _Best:
    """The epoch of the lowest validation loss, and where ``keep`` is set a copy of its weights."""

    def __init__(self, keep: bool) -> None:
        self.record: EpochRecord | None = None
        self._keep = keep
        self._weights: dict[str, Tensor] = {}

    def see(self, record: EpochRecord, module: Module) -> None:
        """Remember the epoch when it is the best so far; without validation rows there is none."""
        if record.validation_loss is None or not self._is_beaten_by(record.validation_loss):
            return
        self.record = record
        if self._keep:
            self._copy(module.state_dict())

    def weights_unless(self, epoch: int) -> dict[str, Tensor]:
        """The weights of the best epoch on the processor; none when that is this epoch, or none are kept."""
        if self.record is None or self.record.epoch == epoch:
            return {}
        return {name: tensor.cpu() for name, tensor in self._weights.items()}

    def resume(self, start: TrainingState, module: Module) -> None:
        """Goes on from a checkpoint, whose weights the module has."""
        self.record = start.best
        if self._keep and start.best is not None:
            self._copy(start.best_weights or module.state_dict())

    def restore(self, module: Module) -> None:
        """Put the best weights back, where they were kept."""
        if self._weights:
            module.load_state_dict(self._weights)

    def _is_beaten_by(self, loss: float) -> bool:
        return self.record is None or self.record.validation_loss is None or loss < self.record.validation_loss

    def _copy(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in state.items():
            if name in self._weights:
                self._weights[name].copy_(tensor)
            else:
                self._weights[name] = tensor.detach().clone()


def _freeze(module: Module, patterns: Sequence[str]) -> list[Module]:
    """Takes the layers of these names or patterns out of training; gives their modules."""
    layers = dict(module.named_children())
    frozen = [layers[name] for name in select_layers(patterns, layers, 'in "freeze"')]
    for layer in frozen:
        layer.requires_grad_(False)
    if frozen and not any(parameter.requires_grad for parameter in module.parameters()):
        raise InvalidParameter(
            f"freeze is {list(patterns)}, which leaves no layer to train", detail=f"The layers are {', '.join(layers)}."
        )
    return frozen


def _like(output: Tensor, target: Tensor, task: str) -> Tensor:
    """The target in the form that goes with the output; an InvalidParameter where their shapes do not."""
    if task == "classification":
        fits = output.ndim == 2 and target.ndim == 1 and output.shape[0] == target.shape[0]
    else:
        if target.ndim == 1 and output.ndim == 2 and output.shape[1] == 1:
            target = target.unsqueeze(1)
        target = target.to(output.dtype)
        fits = output.shape == target.shape
    if not fits:
        raise InvalidParameter(
            f"the network gives shape {tuple(output.shape)} for a batch whose target has shape {tuple(target.shape)}",
            detail=f"For {task} it must give (rows, outputs), one row for each input row.",
        )
    return target


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generators that layers draw from: the processor's and that of the device, no other."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def _closed_after(batches: Iterator[tuple[Inputs, Tensor]]) -> Iterator[Iterator[tuple[Inputs, Tensor]]]:
    """The batches, closed when training leaves them early: they may hold a query open."""
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms inside, and torch's random state and settings as they were outside.

    Operations that have no deterministic form still run. Memory is not filled to make it deterministic: no layer reads
    memory that nobody wrote.
    """
    if device.type == "cuda":
        # cuBLAS is deterministic with workspaces of fixed size alone; it reads this when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    memory: Any = torch.utils.deterministic
    mode = torch.get_deterministic_debug_mode()
    fill = memory.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else []), torch.enable_grad():
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            memory.fill_uninitialized_memory = False
            torch.backends.cudnn.benchmark = False
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            memory.fill_uninitialized_memory = fill
            torch.backends.cudnn.benchmark = benchmark
