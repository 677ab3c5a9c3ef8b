"""What watches a training from the server's side: cancel, memory limit, progress, the log, checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import torch

from delc.log.runs import Metric, Run
from delc.models import parameters, training_states
from delc.server import interrupts, progress
from delc.server.memory import MemoryWatch
from delc.training.state import EpochRecord, TrainingState, to_store

BATCHES_BETWEEN_MEMORY_CHECKS = 16


class ServerMonitor:
    """The training loop's monitor inside the server."""

    def __init__(
        self,
        run: Run,
        version_id: int,
        epochs: int,
        learnable: frozenset[str],
        watch: MemoryWatch,
        keep_optimizer: bool = False,
    ) -> None:
        self._run = run
        self._version_id = version_id
        self._epochs = epochs
        self._learnable = learnable
        self._watch = watch
        self._keep_optimizer = keep_optimizer

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float | None) -> None:
        """Polls for a cancel, reports, and now and then looks at the memory."""
        interrupts.check()
        progress.report(
            "training",
            epoch=epoch,
            epochs=self._epochs,
            batch=batch,
            batches=batches,
            loss=float("nan") if loss is None else loss,
        )
        if batch % BATCHES_BETWEEN_MEMORY_CHECKS == 0:
            self._watch.check()

    def epoch_done(self, record: EpochRecord) -> None:
        """Logs the epoch and tells the client."""
        for metric in epoch_metrics(record):
            self._run.add_metric(metric)
        progress.notice(_line(record, self._epochs))

    def checkpoint(self, epoch: int, module: torch.nn.Module, state: Callable[[], TrainingState]) -> None:
        """Stores the parameters as they are, and where asked what a training that goes on from here needs."""
        snapshot_id = parameters.save(
            self._version_id, module.state_dict(), self._learnable, epoch=epoch, is_latest=False
        )
        if self._keep_optimizer:
            training_states.save(snapshot_id, *to_store(state()))


def epoch_metrics(record: EpochRecord) -> list[Metric]:
    """What is logged of an epoch."""
    measured = [
        ("loss", "train", record.train_loss),
        ("loss", "validation", record.validation_loss),
        (record.metric_name, "validation", record.validation_metric),
        ("learning_rate", None, record.learning_rate),
        ("seconds", None, record.seconds),
    ]
    return [Metric(name, value, split, record.epoch) for name, split, value in measured if value is not None]


def _line(record: EpochRecord, epochs: int) -> str:
    parts = [f"epoch {record.epoch}/{epochs}: loss {record.train_loss:.4f}"]
    if record.validation_loss is not None:
        parts.append(f"validation loss {record.validation_loss:.4f}")
    if record.validation_metric is not None:
        parts.append(f"{record.metric_name} {record.validation_metric:.4f}")
    parts.append(f"{record.seconds:.2f} s")
    return ", ".join(parts)
