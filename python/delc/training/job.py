"""One training inside the server, from a network with its first weights to the version that is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from delc.features.fitted_target import Regression
from delc.log.runs import Run
from delc.models import parameters, versions
from delc.models.parents import Parent, add_parents
from delc.networks import BuiltNetwork
from delc.server import interrupts, progress
from delc.server.memory import MemoryWatch
from delc.training.loop import FitResult, fit
from delc.training.losses import class_weight_tensor
from delc.training.monitor import ServerMonitor
from delc.training.options import TrainingOptions
from delc.training.polling import polling_between_layers
from delc.training.rows import Prepared
from delc.training.state import TrainingState

OPTIMISER_STATES = 3
"""Besides the parameters: gradients, and at most two moments of the optimiser."""


@dataclass(frozen=True)
class Job:
    """What is trained: ``built`` has the weights to begin with; ``start`` is set where a training goes on."""

    model: str
    dataset_version_id: int
    prepared: Prepared
    built: BuiltNetwork
    options: TrainingOptions
    message: str | None
    keep_optimizer: bool = False
    parents: list[Parent] = field(default_factory=list)
    start: TrainingState | None = None


def carry_out(run: Run, job: Job, watch: MemoryWatch) -> dict[str, Any]:
    """Trains and stores the version; the row that ``delc.train`` returns."""
    rows_at_once = min(job.options.batch_size, job.prepared.train.rows)
    watch.require(
        job.built.activation_bytes(rows_at_once, training=True), f"a batch of {rows_at_once} rows in this network"
    )
    version_id = versions.reserve_id()
    learnable = frozenset(name for name, _ in job.built.module.named_parameters())
    monitor = ServerMonitor(run, version_id, job.options.epochs, learnable, watch, job.keep_optimizer)
    with polling_between_layers(job.built.module, job.built.flops(rows_at_once), interrupts.check):
        result = fit(
            job.built.module,
            job.prepared.train,
            job.prepared.validation,
            job.options,
            monitor,
            class_weights=class_weights_of(job.prepared, job.options),
            start=job.start,
            checkpoint_last=job.keep_optimizer,
        )
    progress.report("storing parameters")
    number = _store(run, job, version_id, learnable, result)
    return _result_row(run, f"{job.model}@{number}", job, result)


def _store(run: Run, job: Job, version_id: int, learnable: frozenset[str], result: FitResult) -> int:
    used_epoch = result.best_epoch if job.options.early_stopping is not None else result.last_epoch
    if not parameters.use_checkpoint(version_id, used_epoch):
        parameters.save(version_id, job.built.module.state_dict(), learnable, epoch=used_epoch, is_latest=True)
    number = versions.create(
        job.model,
        run.username,
        versions.NewVersion(
            id=version_id,
            run_id=run.id,
            dataset_version_id=job.dataset_version_id,
            task=job.prepared.target.task,
            network=job.built.network.to_json(),
            features=job.prepared.features.to_json(),
            target=job.prepared.target.to_json(),
            options=job.options.to_json(),
            layers=job.built.layers,
            parameters=job.built.parameters,
            message=job.message,
        ),
    )
    add_parents(version_id, job.parents)
    run.add_output(model_version_id=version_id)
    return number


def _result_row(run: Run, model: str, job: Job, result: FitResult) -> dict[str, Any]:
    best = result.best
    return {
        "run_id": run.id,
        "model": model,
        "task": job.prepared.target.task,
        "epochs": result.last_epoch,
        "best_epoch": best.epoch,
        "train_loss": best.train_loss,
        "validation_loss": best.validation_loss,
        "metric": best.metric_name if best.validation_metric is not None else None,
        "validation_metric": best.validation_metric,
        "parameters": job.built.parameters,
        "seconds": run.seconds,
    }


def class_weights_of(prepared: Prepared, options: TrainingOptions) -> Any:
    """One weight per label as a tensor, or None where none were asked for."""
    target = prepared.target
    if options.class_weights is None or isinstance(target, Regression):
        return None
    return class_weight_tensor(target.task, options.class_weights, target.labels, target.counts, prepared.train.rows)
