"""What watches a training from the server's side: cancel, memory limit, progress, the log, checkpoints."""

from __future__ import annotations

import torch

from delc.log.runs import Metric, Run
from delc.models import parameters
from delc.server import interrupts, progress
from delc.server.memory import MemoryWatch
from delc.training.loop import EpochRecord

BATCHES_BETWEEN_MEMORY_CHECKS = 16


class ServerMonitor:
    """The training loop's monitor inside the server."""

    def __init__(self, run: Run, version_id: int, epochs: int, learnable: frozenset[str], watch: MemoryWatch) -> None:
        self._run = run
        self._version_id = version_id
        self._epochs = epochs
        self._learnable = learnable
        self._watch = watch

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
        measured = [
            ("loss", "train", record.train_loss),
            ("loss", "validation", record.validation_loss),
            (record.metric_name, "validation", record.validation_metric),
            ("learning_rate", None, record.learning_rate),
            ("seconds", None, record.seconds),
        ]
        for metric, split, value in measured:
            if value is not None:
                self._run.add_metric(Metric(metric, value, split, record.epoch))
        progress.notice(_line(record, self._epochs))

    def checkpoint(self, epoch: int, module: torch.nn.Module) -> None:
        """Stores the parameters as they are."""
        parameters.save(self._version_id, module.state_dict(), self._learnable, epoch=epoch, is_latest=False)


def _line(record: EpochRecord, epochs: int) -> str:
    parts = [f"epoch {record.epoch}/{epochs}: loss {record.train_loss:.4f}"]
    if record.validation_loss is not None:
        parts.append(f"validation loss {record.validation_loss:.4f}")
    if record.validation_metric is not None:
        parts.append(f"{record.metric_name} {record.validation_metric:.4f}")
    parts.append(f"{record.seconds:.2f} s")
    return ", ".join(parts)
