"""Trials: what is tried, what became of it, and its row in the result and in the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from delc.dql.carrying import carry
from delc.dql.rows import Row, row
from delc.dql.settings import Knob, Settings, network_changes, training_options
from delc.dql.syntax import Value
from delc.dql.trial_data import TrialRows
from delc.dql.work import Goal, Outcome, Work, measured
from delc.features.fitted_target import target_from_json
from delc.features.target_continuing import has_same_outputs
from delc.models.changes import change_network
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, InputSpec, Network, build
from delc.server.errors import DelcError
from delc.server.memory import MemoryWatch
from delc.training.job import OPTIMISER_STATES, class_weights_of
from delc.training.options import TrainingOptions
from delc.training.starting import without_head
from delc.training.state import EpochRecord, TrainingState

KEPT, FINISHED = "kept", "finished"


@dataclass
class Trial:
    """One trial. What it has learned so far is in ``weights`` and ``resumed``, and given up when it is thrown away."""

    number: int
    source: ModelVersion
    settings: Settings
    state: str = ""
    records: list[EpochRecord] = field(default_factory=list)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    best: Mapping[str, Tensor] | None = None
    resumed: TrainingState | None = None
    used: EpochRecord | None = None
    marks: dict[int, EpochRecord] = field(default_factory=dict)
    ended: bool = False
    error: tuple[str, str] | None = None
    started_at: str = ""
    cpu_seconds: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    network: Network | None = None
    specs: dict[str, InputSpec] = field(default_factory=dict)
    run_id: int | None = None
    model: str | None = None
    version_id: int | None = None
    metric: str = "loss"
    point: Mapping[Knob, Value] = field(default_factory=dict)
    before: int = 0
    began_with: str | None = None

    @property
    def logged_number(self) -> int:
        """Which of all trials of the query it is: ``before`` of them are those of other evaluates in it."""
        return self.before + self.number

    @property
    def iterations(self) -> int:
        """How many epochs it was trained."""
        return self.records[-1].epoch if self.records else 0

    @property
    def failed(self) -> bool:
        """Whether an error ended it."""
        return self.error is not None

    def value(self) -> float | None:
        """The metric of the query, as it is now."""
        return None if self.used is None else measured(self.used, self.metric)

    def mark(self) -> None:
        """Notes what the metric is of, after the iterations so far."""
        if self.used is not None:
            self.marks[self.iterations] = self.used

    def value_at(self, iterations: int) -> float:
        """The metric after so many iterations, at which work ended; where training ended before, the last one."""
        mark = self.marks.get(iterations, self.used)
        value = None if mark is None else measured(mark, self.metric)
        return math.nan if value is None else value

    def return_to(self, iterations: int) -> None:
        """Takes back what was trained beyond, on the guess that the trial would go on."""
        self.error = None
        if self.iterations > iterations:
            self.records = [record for record in self.records if record.epoch <= iterations]
            self.used, self.ended = self.marks[iterations], False

    def fail(self, error: DelcError) -> None:
        """Ends it with an error."""
        self.take(
            Outcome(self.number, (), {}, None, None, None, True, 0.0, (error.sqlstate, error.message)),
        )

    def take(self, outcome: Outcome) -> None:
        """Takes in what became of a piece of work."""
        self.records += outcome.records
        self.cpu_seconds += outcome.cpu_seconds
        self.ended = outcome.ended
        if outcome.error is not None:
            self.error = outcome.error
            self.forget()
            return
        self.weights, self.resumed = outcome.weights, outcome.resumed
        self.best, self.used = outcome.best, outcome.used

    def forget(self) -> None:
        """Gives up the weights."""
        self.weights, self.best, self.resumed = {}, None, None

    def summary(self) -> dict[str, Any]:
        """What is logged of it where the query does not come to its end."""
        value = self.value()
        return {
            "trial": self.logged_number,
            "from_model": str(self.source),
            "hyperparameters": dict(self.settings.drawn),
            "state": self.state or f"at iteration {self.iterations}",
            "metric": self.metric,
            "value": value if value is not None and math.isfinite(value) else None,
            "iterations": self.iterations,
        }

    def row(self, variable: str) -> Row:
        """Its row in the result of the query."""
        return row(
            number=self.logged_number,
            variable=variable,
            model=self.model,
            state=self.state,
            source=self.began_with or str(self.source),
            detail=self.settings.in_words(),
            metric=self.metric,
            value=self.value(),
            iterations=self.iterations,
            run_id=self.run_id,
            version_id=self.version_id,
        )


@dataclass(frozen=True)
class Beginning:
    """How trials begin: seed, threads, and what memory they may take."""

    seed: int
    threads: int
    watch: MemoryWatch


def network_of(source: ModelVersion, chosen: Settings, rows: TrialRows) -> tuple[Network, set[str]]:
    """The network that a trial trains, sizes that follow left open, and the layers of it that take no weights."""
    network = Network.parse(source.network)
    changes = network_changes(chosen, network)
    renewed: set[str] = set()
    if not has_same_outputs(target_from_json(source.target), rows.target):
        network, head = without_head(network, source)
        renewed.add(head)
    return (change_network(network, changes) if changes else network), renewed


def begin(trial: Trial, rows: TrialRows, weights: Mapping[str, Tensor], beginning: Beginning) -> BuiltNetwork:
    """The network of a trial with the weights to begin with; sets its options. Errors are those of the trial."""
    source = trial.source
    network, renewed = network_of(source, trial.settings, rows)
    seed = int(trial.settings.options.get("seed", beginning.seed))
    features, outputs, watch = rows.prepared.features, rows.target.outputs, beginning.watch
    if trial.settings.start == "fresh":
        built = build(network, features.input_specs(), outputs, seed, require=watch.require)
    else:
        built = carry(network, source, features, outputs, seed, watch, weights=weights, renewed=renewed).built
    watch.require(built.parameter_bytes * (1 + OPTIMISER_STATES), "training the network's parameters")
    with_parameters = frozenset(name.partition(".")[0] for name, _ in built.module.named_parameters())
    options = training_options(trial.settings, built.network, with_parameters)
    parsed = TrainingOptions.parse(rows.target.task, {"device": "auto", **options, "threads": beginning.threads})
    at_once = min(parsed.batch_size, rows.prepared.train.rows)
    watch.require(built.activation_bytes(at_once, training=True), f"a batch of {at_once} rows in this network")
    trial.options, trial.network, trial.specs = parsed.to_json(), built.network, features.input_specs()
    return built


def work_of(trial: Trial, rows: TrialRows, until: int, goal: Goal | None) -> Work:
    """The next piece of work of a trial that has begun."""
    assert trial.network is not None
    options = TrainingOptions.from_json(trial.options)
    return Work(
        trial=trial.number,
        data=rows.number,
        network=trial.network.to_json(),
        inputs=trial.specs,
        options=trial.options,
        weights=trial.weights,
        until=until,
        resumed=trial.resumed,
        goal=goal,
        class_weights=class_weights_of(rows.prepared, options),
    )
