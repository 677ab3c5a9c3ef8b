"""Configurations: what the trials of a query are trained with, as a stored document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from delc.dql.problems import QueryError, problem, unknown_name
from delc.dql.syntax import Literal
from delc.server import queries
from delc.server.errors import InvalidParameter, unknown
from delc.training.arguments import integer, mapping, refuse
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
LEARNING = "tpe"
"""The sampler whose values depend on the results of trials before."""

SAMPLERS = ("sobol", "random", "grid", LEARNING)
STOPPING = ("halving", "none")
DEFAULT_EPOCHS = 10

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
        return read(str(name.value), json.loads(text))
    except InvalidParameter as error:
        raise problem(name.place, error.message, hint=error.hint) from None


def read(name: str, document: Any) -> Config:
    """The configuration that a document holds. ``InvalidParameter`` for settings that are not known, or values that are
    not allowed; options that depend on the task are checked when a trial begins.
    """
    given = mapping("config", document)
    known = (*OPTIONS, "dataset", "start", "search", *OPTIMIZER_ARGUMENTS, *OTHER_NAMES)
    options: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    dataset, start, search = None, "warm", Search()
    _refuse_repeated(given)
    for key, value in given.items():
        setting = OTHER_NAMES.get(key, key)
        if setting == "dataset":
            dataset = _text("dataset", value)
        elif setting == "start":
            start = _choice("start", value, STARTS)
        elif setting == "search":
            search = _search(value)
        elif setting in OPTIONS:
            options[setting] = value
        elif setting in OPTIMIZER_ARGUMENTS:
            arguments[setting] = value
        else:
            raise unknown("setting", key, known, kind=InvalidParameter, where="of a configuration")
    if arguments:
        options["optimizer_arguments"] = {**options.get("optimizer_arguments", {}), **arguments}
    independent = {key: value for key, value in options.items() if key not in ("loss", "class_weights")}
    TrainingOptions.parse("regression", independent)
    return Config(name, dataset, start, options, search)


def _refuse_repeated(given: Mapping[str, Any]) -> None:
    """Raises where two names set the same."""
    named = mapping("optimizer_arguments", given.get("optimizer_arguments") or {})
    seen = dict.fromkeys(named, "optimizer_arguments")
    for key in given:
        setting = OTHER_NAMES.get(key, key)
        if setting in seen:
            raise InvalidParameter(f'"{seen[setting]}" and "{key}" set the same', hint="Leave one of them out.")
        seen[setting] = key


def config_value(name: str | None, text: str | None) -> queries.Typed:
    """A configuration as it is stored; it must be one."""
    if text is None:
        raise InvalidParameter("the configuration is NULL")
    read(str(name), json.loads(text))
    return queries.typed(text, "jsonb")


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
    if value not in known:
        raise unknown(what, str(value), known, kind=InvalidParameter)
    return str(value)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refuse(what, value, "a name")
    return value.strip()
