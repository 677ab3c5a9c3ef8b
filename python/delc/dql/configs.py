"""Configurations: what the trials of a query are trained with, as a stored document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from delc.dql.problems import QueryError, problem, unknown_name
from delc.dql.reading import DEEPEST
from delc.dql.syntax import Literal
from delc.server import queries
from delc.server.errors import InvalidParameter, LimitExceeded, unknown
from delc.training.arguments import choice, decode, integer, mapping, refuse
from delc.training.losses import LOSSES, TASKS
from delc.training.optimizers import OPTIMIZERS
from delc.training.options import TrainingOptions

OPTIONS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "optimizer",
    "optimizer_arguments",
    "schedule",
    "loss",
    "weight_decay",
    "class_weights",
    "gradient_clip",
    "early_stopping",
    "seed",
    "device",
    "freeze",
)
"""Options of a training that a configuration may set."""

OTHER_NAMES = {
    "base_lr": "learning_rate",
    "lr": "learning_rate",
    "input_data": "dataset",
    "data": "dataset",
    "iterations": "epochs",
    "max_iter": "epochs",
    "solver": "optimizer",
    "solver_type": "optimizer",
    "clip_gradients": "gradient_clip",
}
"""Names that are usual elsewhere."""

STARTS = ("warm", "fresh")
OPTION, ARGUMENT, DATASET = "option", "optimizer argument", "dataset"
"""What a setting may be of: the training, its optimiser, or its rows."""

LEARNING = "tpe"
"""The sampler whose values depend on the results of trials before."""

SAMPLERS = ("sobol", "random", "grid", LEARNING)
STOPPING = ("halving", "none")
DEFAULT_EPOCHS = 10

LONGEST = 1_000_000
"""Characters of a configuration."""

OPTIMIZER_ARGUMENTS = tuple(sorted({name for known in OPTIMIZERS.values() for name in known}))


@dataclass(frozen=True)
class Search:
    """How trials are chosen and stopped.

    ``samples``: how many values "auto" draws for each point of the grid; ``trials``: at most so many points of the
    grid, drawn at random; ``stopping``: "halving", or "none" where every trial is trained to the end.
    """

    sampler: str = "sobol"
    samples: int = 4
    trials: int | None = None
    stopping: str = "halving"
    reduction: int = 3
    least_iterations: int = 1


@dataclass(frozen=True)
class Config:
    """A configuration, checked."""

    name: str
    dataset: str | None = None
    start: str = "warm"
    options: Mapping[str, Any] = field(default_factory=dict)
    search: Search = field(default_factory=Search)

    @property
    def epochs(self) -> int:
        """How many iterations a trial is trained where the query does not say."""
        return int(self.options.get("epochs", DEFAULT_EPOCHS))


def load(name: Literal) -> Config:
    """The stored configuration of a name; an error of the query where there is none."""
    with queries.as_owner():
        text = queries.value("SELECT config FROM delc.configs WHERE name = $1", str(name.value))
        if text is None:
            known = [row["name"] for row in queries.rows("SELECT name FROM delc.configs ORDER BY name")]
            error: QueryError = unknown_name(name.place, "configuration", str(name.value), known)
            error.hint = (error.hint or "") + " SELECT delc.save_config('name', '{…}') stores one."
            raise error
    try:
        return read(str(name.value), _decoded(text))
    except InvalidParameter as error:
        raise problem(name.place, error.message, hint=error.hint) from None


def setting_named(name: str) -> tuple[str, str] | None:
    """What a setting is of (``OPTION``, ``ARGUMENT``, ``DATASET``), and the one name that it has among its names; None
    for one that is not known. Configurations and ``vary`` name the same settings.
    """
    known = OTHER_NAMES.get(name, name)
    if known == DATASET:
        return DATASET, known
    if known in OPTIONS:
        return OPTION, known
    return (ARGUMENT, known) if known in OPTIMIZER_ARGUMENTS else None


def read(name: str, document: Any) -> Config:
    """The configuration that a document holds. ``InvalidParameter`` for settings that are not known or named twice, and
    for values that are not allowed, of any task; what its task does not take is said of a trial. Null is as not given.
    """
    given = {key: value for key, value in mapping("config", document).items() if value is not None}
    arguments = mapping("optimizer_arguments", given.get("optimizer_arguments", {}))
    given_arguments = {key: value for key, value in arguments.items() if value is not None}
    _refuse_repeated(given, given_arguments)
    options: dict[str, Any] = {}
    dataset, start, search = None, "warm", Search()
    for key, value in given.items():
        found = setting_named(key)
        if key == "start":
            start = _choice("start", value, STARTS)
        elif key == "search":
            search = _search(value)
        elif found is None:
            known = (*OPTIONS, DATASET, "start", "search", *OPTIMIZER_ARGUMENTS, *OTHER_NAMES)
            raise unknown("setting", key, known, kind=InvalidParameter, where="of a configuration")
        elif found[0] == DATASET:
            dataset = _text(DATASET, value)
        elif found[0] == ARGUMENT:
            given_arguments[found[1]] = value
        else:
            options[found[1]] = value
    if given_arguments or "optimizer_arguments" in options:
        options["optimizer_arguments"] = given_arguments
    _check_options(options)
    return Config(name, dataset, start, options, search)


def _check_options(options: Mapping[str, Any]) -> None:
    """Raises for options that no task takes."""
    errors: dict[str, InvalidParameter] = {}
    for task in TASKS:
        try:
            TrainingOptions.parse(task, options)
        except InvalidParameter as error:
            errors[task] = error
        else:
            return
    fitting = [task for task in TASKS if _loss_name(options) in LOSSES[task]]
    if "loss" in options and not fitting:
        losses = {name: arguments for known in LOSSES.values() for name, arguments in known.items()}
        choice("loss", options["loss"], losses)
    raise errors[(*fitting, *TASKS)[0]]


def _loss_name(options: Mapping[str, Any]) -> Any:
    loss = decode("loss", options.get("loss"))
    name = loss.get("name") if isinstance(loss, Mapping) else loss
    return name if isinstance(name, str) else None


def _refuse_repeated(given: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raises where two names set the same."""
    seen: dict[tuple[str, str], str] = dict.fromkeys(((ARGUMENT, name) for name in arguments), "optimizer_arguments")
    for key in given:
        setting = setting_named(key)
        if setting is None:
            continue
        if setting in seen:
            raise InvalidParameter(f'"{seen[setting]}" and "{key}" set the same', hint="Leave one of them out.")
        seen[setting] = key


def config_value(name: str | None, text: str | None) -> queries.Typed:
    """A configuration as it is stored; it must be one."""
    if text is None:
        raise InvalidParameter("the configuration is NULL")
    read(str(name), _decoded(text))
    return queries.typed(text, "jsonb")


def _decoded(text: str) -> Any:
    """The document of a configuration; one longer or deeper than any that a person writes is an error."""
    if len(text) > LONGEST:
        raise LimitExceeded(f"the configuration has {len(text)} characters; allowed are {LONGEST}")
    try:
        document = json.loads(text)
        is_too_deep = _is_deeper(document, DEEPEST)
    except RecursionError:
        is_too_deep = True
    if is_too_deep:
        raise LimitExceeded(f"the configuration nests more than {DEEPEST} levels deep")
    return document


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)


def _search(value: Any) -> Search:
    given = mapping("search", value)
    readers = {
        "sampler": lambda what, v: _choice(what, v, SAMPLERS),
        "samples": integer(1, 1000),
        "trials": integer(1, 100_000),
        "stopping": lambda what, v: _choice(what, v, STOPPING),
        "reduction": integer(2, 100),
        "least_iterations": integer(1, 1_000_000),
    }
    for key in given:
        if key not in readers:
            raise unknown("setting", key, readers, kind=InvalidParameter, where='of "search"')
    return Search(**{key: readers[key](key, entry) for key, entry in given.items()})


def _choice(what: str, value: Any, known: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise refuse(what, value, f"one of {', '.join(known)}")
    if value not in known:
        raise unknown(what, value, known, kind=InvalidParameter)
    return value


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refuse(what, value, "a name")
    return value.strip()
