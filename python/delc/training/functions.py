"""The room's SQL functions."""

from __future__ import annotations

import json
from typing import Any

from delc.datasets.versions import resolve
from delc.features.fitted_target import Regression
from delc.log.runs import Run, running
from delc.models import names, parameters, versions
from delc.models.ownership import require_owner
from delc.networks import BuiltNetwork, build, network_from
from delc.server import progress, settings, threads
from delc.server.errors import InvalidParameter
from delc.server.memory import MemoryWatch
from delc.training.loop import FitResult, fit
from delc.training.losses import class_weight_tensor
from delc.training.monitor import ServerMonitor
from delc.training.options import TrainingOptions
from delc.training.rows import Prepared, Roles, RowsQuery, prepare

OPTIMISER_STATES = 3
"""Besides the parameters: gradients, and at most two moments of the optimiser."""

_NEVER_NULL = (
    "network",
    "task",
    "epochs",
    "batch_size",
    "learning_rate",
    "optimizer",
    "schedule",
    "weight_decay",
    "seed",
    "device",
)


def train(
    model: str,
    dataset: str,
    network: str,
    task: str,
    features: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str,
    optimizer_arguments: str,
    schedule: str,
    loss: str | None,
    weight_decay: float,
    class_weights: str | None,
    gradient_clip: float | None,
    early_stopping: int | None,
    checkpoint_every: int | None,
    seed: int,
    thread_count: int | None,
    device: str,
    message: str | None,
) -> dict[str, Any]:
    """Trains a model and stores it as a new version; the row that ``delc.train`` returns."""
    used_threads = thread_count or settings.threads()
    options: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "optimizer_arguments": _json("optimizer_arguments", optimizer_arguments),
        "schedule": _name_or_json("schedule", schedule),
        "loss": _name_or_json("loss", loss),
        "weight_decay": weight_decay,
        "class_weights": _name_or_json("class_weights", class_weights),
        "gradient_clip": gradient_clip,
        "early_stopping": early_stopping,
        "checkpoint_every": checkpoint_every,
        "seed": seed,
        "threads": used_threads,
        "device": device,
    }
    arguments = {
        "model": model,
        "dataset": dataset,
        "network": _name_or_json("network", network),
        "task": task,
        "features": _json("features", features),
        **options,
        "message": message,
    }
    with running("train", subject=str(model), arguments=arguments, seed=seed) as run:
        name = names.parse(model)
        if name.number is not None or name.alias is not None:
            raise InvalidParameter(
                f'"{model}" names a version, but training makes a new one', hint=f'Train "{name.model}".'
            )
        require_owner(name.model)
        _refuse_null(arguments)
        return _train(run, name.model, arguments, options, MemoryWatch.begin())


def _train(
    run: Run, model: str, arguments: dict[str, Any], options: dict[str, Any], watch: MemoryWatch
) -> dict[str, Any]:
    progress.report("reading rows")
    # The options that do not depend on the data are checked before any row is read.
    TrainingOptions.parse("regression" if arguments["task"] == "auto" else arguments["task"], _independent(options))
    threads.use(options["threads"])
    version = resolve(arguments["dataset"])
    run.add_input(dataset_version_id=version.id, split="train")
    counts = version.split_counts()
    validation_rows = counts.get("validation", 0)
    prepared = prepare(
        RowsQuery(version.query("train"), counts.get("train", 0)),
        RowsQuery(version.query("validation"), validation_rows) if validation_rows else None,
        Roles(version.target_columns, version.key_columns, arguments["features"], arguments["task"]),
        batch_size=options["batch_size"],
        seed=options["seed"],
        watch=watch,
    )
    checked = TrainingOptions.parse(prepared.target.task, options)
    specs = prepared.features.input_specs()
    built = build(
        network_from(arguments["network"], specs, prepared.target.outputs),
        specs,
        prepared.target.outputs,
        options["seed"],
        require=lambda size, what: watch.require(size * (1 + OPTIMISER_STATES), f"training {what}"),
    )
    rows_at_once = min(options["batch_size"], prepared.train.rows)
    watch.require(
        built.activation_bytes(rows_at_once, training=True), f"a batch of {rows_at_once} rows in this network"
    )
    version_id = versions.reserve_id()
    learnable = frozenset(name for name, _ in built.module.named_parameters())
    monitor = ServerMonitor(run, version_id, checked.epochs, learnable, watch)
    weights = _class_weights(prepared, checked)
    result = fit(built.module, prepared.train, prepared.validation, checked, monitor, class_weights=weights)

    progress.report("storing parameters")
    number = _store(
        run, model, version_id, version.id, prepared, built, checked, result, learnable, arguments["message"]
    )
    return _result_row(run, f"{model}@{number}", prepared, built, result)


def _store(
    run: Run,
    model: str,
    version_id: int,
    dataset_version_id: int,
    prepared: Prepared,
    built: BuiltNetwork,
    options: TrainingOptions,
    result: FitResult,
    learnable: frozenset[str],
    message: str | None,
) -> int:
    used_epoch = result.best_epoch if options.early_stopping is not None else len(result.epochs)
    if not parameters.use_checkpoint(version_id, used_epoch):
        parameters.save(version_id, built.module.state_dict(), learnable, epoch=used_epoch, is_latest=True)
    number = versions.create(
        model,
        run.username,
        versions.NewVersion(
            id=version_id,
            run_id=run.id,
            dataset_version_id=dataset_version_id,
            task=prepared.target.task,
            network=built.network.to_json(),
            features=prepared.features.to_json(),
            target=prepared.target.to_json(),
            options=options.to_json(),
            layers=built.layers,
            parameters=built.parameters,
            message=message,
        ),
    )
    run.add_output(model_version_id=version_id)
    return number


def _result_row(run: Run, model: str, prepared: Prepared, built: BuiltNetwork, result: FitResult) -> dict[str, Any]:
    best = result.epochs[result.best_epoch - 1]
    return {
        "run_id": run.id,
        "model": model,
        "task": prepared.target.task,
        "epochs": len(result.epochs),
        "best_epoch": result.best_epoch,
        "train_loss": best.train_loss,
        "validation_loss": best.validation_loss,
        "metric": best.metric_name if best.validation_metric is not None else None,
        "validation_metric": best.validation_metric,
        "parameters": built.parameters,
        "seconds": run.seconds,
    }


def _class_weights(prepared: Prepared, options: TrainingOptions) -> Any:
    target = prepared.target
    if options.class_weights is None or isinstance(target, Regression):
        return None
    return class_weight_tensor(target.task, options.class_weights, target.labels, target.counts, prepared.train.rows)


def _refuse_null(arguments: dict[str, Any]) -> None:
    for name in _NEVER_NULL:
        if arguments[name] is None:
            raise InvalidParameter(f"{name} is NULL", hint=f"Leave {name} away for its default.")


def _independent(options: dict[str, Any]) -> dict[str, Any]:
    """The options whose check needs no task."""
    return {name: value for name, value in options.items() if name not in ("loss", "class_weights")}


def _json(what: str, text: str | None) -> Any:
    """A jsonb argument, which PL/Python gives as text."""
    if text is None:
        return {}
    value = json.loads(text)
    if not isinstance(value, dict):
        raise InvalidParameter(f"{what} is {text:.100}", detail="Expected is a JSON object.")
    return value


def _name_or_json(what: str, text: str | None) -> Any:
    """A name as it is; a text that begins like JSON as its value."""
    if text is None or not text.lstrip().startswith(("{", "[", '"')):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"{what} is not JSON", detail=f"{error}: {text:.200}") from None
    except RecursionError:
        raise InvalidParameter(f"{what} is nested too deeply") from None
