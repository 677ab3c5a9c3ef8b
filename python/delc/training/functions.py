"""The room's SQL functions."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from delc.datasets.versions import resolve, title_of
from delc.log.runs import Run, running
from delc.models import names, versions
from delc.models.ownership import require_owner
from delc.models.parents import RESUMED, WARM_START, parent
from delc.server import progress, settings, threads
from delc.server.errors import InvalidParameter, WrongState
from delc.server.memory import MemoryWatch
from delc.training import starting
from delc.training.job import Job, carry_out
from delc.training.options import TrainingOptions
from delc.training.rows import Roles
from delc.training.starting import Rows

DEFAULT_NETWORK = "mlp"
"""What the SQL function trains where nothing is said; a warm start takes it for nothing said."""

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
    "keep_optimizer",
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
    from_model: str | None,
    freeze: list[str] | None,
    replace: list[str] | None,
    keep_optimizer: bool,
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
        "freeze": freeze or [],
    }
    arguments = {
        "model": model,
        "dataset": dataset,
        "network": _name_or_json("network", network),
        "task": task,
        "features": _json("features", features),
        **options,
        "message": message,
        "from_model": from_model,
        "replace": replace or [],
        "keep_optimizer": keep_optimizer,
    }
    with running("train", subject=str(model), arguments=arguments, seed=seed) as run:
        name = names.parse(model)
        if not name.is_whole:
            raise InvalidParameter(
                f'"{model}" names a version, but training makes a new one', hint=f'Train "{name.model}".'
            )
        require_owner(name.model)
        _refuse_null(arguments)
        return _train(run, name.model, arguments, options, MemoryWatch.begin())


def resume_training(model: str, epochs: int | None, keep_optimizer: bool, message: str | None) -> dict[str, Any]:
    """Goes on with a training after a checkpoint; the row that ``delc.resume_training`` returns."""
    arguments = {"model": model, "epochs": epochs, "keep_optimizer": keep_optimizer, "message": message}
    with running("resume_training", subject=str(model), arguments=arguments) as run:
        version = versions.resolve(model)
        require_owner(version.name)
        return _resume(run, version, arguments, MemoryWatch.begin())


def _train(
    run: Run, model: str, arguments: dict[str, Any], options: dict[str, Any], watch: MemoryWatch
) -> dict[str, Any]:
    progress.report("reading rows")
    # The options that do not depend on the data are checked before any row is read.
    TrainingOptions.parse("regression" if arguments["task"] == "auto" else arguments["task"], _independent(options))
    threads.use(options["threads"])
    version = resolve(arguments["dataset"])
    run.add_input(dataset_version_id=version.id, split="train")
    rows = Rows.of(version, options["batch_size"], options["seed"])
    roles = Roles(version.target_columns, version.key_columns, arguments["features"], arguments["task"])
    parents = []
    if arguments["from_model"] is None:
        _refuse_layers_without_model(arguments)
        beginning = starting.fresh(rows, roles, arguments["network"], watch)
    else:
        found = _warm_parent(run, arguments)
        parents = [parent(found, WARM_START, arguments["message"])]
        beginning = starting.warm(rows, roles, found, arguments["replace"], watch)
    job = Job(
        model,
        version.id,
        beginning.prepared,
        beginning.built,
        TrainingOptions.parse(beginning.prepared.target.task, options),
        arguments["message"],
        arguments["keep_optimizer"],
        parents,
    )
    return carry_out(run, job, watch)


def _warm_parent(run: Run, arguments: dict[str, Any]) -> versions.ModelVersion:
    """The version that a warm start takes its weights from; what would change its network or features is refused."""
    found = versions.resolve(arguments["from_model"])
    run.add_input(model_version_id=found.id, epoch=found.epoch if found.snapshot else None)
    if arguments["network"] != DEFAULT_NETWORK:
        raise InvalidParameter(
            f'network is given, but training goes on with the network of "{found}"',
            hint="Leave network out; delc.copy_model() makes a version with a changed network.",
        )
    if arguments["features"]:
        raise InvalidParameter(
            f'features are given, but training goes on with those of "{found}", so that its weights keep their meaning',
            hint="Leave features out.",
        )
    return found


def _refuse_layers_without_model(arguments: dict[str, Any]) -> None:
    if arguments["replace"]:
        raise InvalidParameter(
            f"replace is {arguments['replace']}, but there are no weights to be replaced",
            hint="Name the version to begin with: from_model => 'name@7'.",
        )


def _resume(run: Run, version: versions.ModelVersion, arguments: dict[str, Any], watch: MemoryWatch) -> dict[str, Any]:
    if version.dataset_version_id is None or "batch_size" not in version.options:
        raise WrongState(
            f'"{version}" was not made by training, so there is no training to go on with',
            hint=f"Begin a new training with its weights: train(…, from_model => '{version}').",
        )
    progress.report("reading rows")
    planned = TrainingOptions.from_json(version.options)
    options = dataclasses.replace(
        planned, epochs=planned.epochs if arguments["epochs"] is None else arguments["epochs"]
    )
    run.seed = options.seed
    threads.use(options.threads or settings.threads())
    data = resolve(title_of(version.dataset_version_id))
    run.add_input(dataset_version_id=data.id, split="train")
    run.add_input(model_version_id=version.id, epoch=version.epoch)
    beginning, state = starting.again(Rows.of(data, options.batch_size, options.seed), version, watch)
    job = Job(
        version.name,
        data.id,
        beginning.prepared,
        beginning.built,
        TrainingOptions.from_json(options.to_json()),
        arguments["message"],
        arguments["keep_optimizer"],
        [parent(version, RESUMED, arguments["message"])],
        state,
    )
    return carry_out(run, job, watch)


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
