"""What evaluate is about to try: the trials, their rows, when they are stopped, and in how many processes they run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from delc.datasets.versions import DatasetVersion
from delc.dql import configs, sampling
from delc.dql.checking import Refused, check_comparable, check_datasets, check_measured, check_rows, check_values
from delc.dql.configs import LEARNING, Config
from delc.dql.estimating import Estimate, estimate
from delc.dql.halving import Rung, rungs, total_iterations
from delc.dql.making import title_of
from delc.dql.problems import TooLarge, problem, unknown_name
from delc.dql.proposals import Proposals
from delc.dql.sampling import MOST_TRIALS, Space
from delc.dql.selecting import matching
from delc.dql.settings import settings
from delc.dql.sources import range_of
from delc.dql.syntax import Evaluate, Keep
from delc.dql.trial_data import RowStore, TrialRows
from delc.dql.trials import Trial
from delc.dql.work import LOSSES, Goal
from delc.dql.workers import python_program
from delc.models import versions
from delc.models.versions import ModelVersion
from delc.server import settings as server_settings

if TYPE_CHECKING:
    from delc.dql.execution import Execution

METRIC_OF_TASK = {"classification": "accuracy", "multilabel": "f1", "regression": "r2"}

SECONDS_TO_START = 4.0
"""Less work than this is done in the caller's process: workers import torch first."""

WORKER_BYTES = 300 * 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """What is to be tried, and how."""

    config: Config
    space: Space
    trials: list[Trial]
    rungs: list[Rung]
    goal: Goal | None
    metric: str
    iterations: int
    rows: RowStore
    workers: int
    why_own: str | None
    refused: Refused | None
    models: int
    estimate: Estimate
    proposals: Proposals | None = None

    def rows_of(self, trial: Trial) -> TrialRows:
        """The rows of a trial; raises where its model cannot read them."""
        return self.rows.rows(trial.source, trial.settings.dataset)

    def dataset_of(self, trial: Trial) -> DatasetVersion:
        """The data set of a trial."""
        return self.rows.dataset_of(trial.source, trial.settings.dataset)

    @property
    def seconds_per_iteration(self) -> float:
        """What one iteration of one trial is thought to take."""
        return self.estimate.seconds

    @property
    def least_is_best(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in LOSSES


def plan(query: Evaluate, execution: Execution, chain: tuple[str, ...]) -> Plan:
    """Everything that is decided before the first trial begins."""
    config = configs.load(query.config)
    varied = sampling.space(query.vary, config)
    source = range_of(query.source, chain)
    if execution.is_plan and isinstance(source.query, Evaluate):
        ids = execution.made(source)
    else:
        ids = matching(source.variable, source, None, execution.made)
    found = [versions.resolve(title_of(each)) for each in ids]
    metric = query.keep.metric if query.keep is not None else "loss"
    iterations = (query.keep.iterations if query.keep is not None else None) or config.epochs
    wanted = sampling.count(varied, config) * len(found)
    if wanted > MOST_TRIALS:
        raise problem(
            query.place,
            f"the query has {wanted} trials; allowed are {MOST_TRIALS}",
            hint='Set "trials" in "search" of the configuration: that many points are drawn at random.',
            kind=TooLarge,
        )
    rows = RowStore(execution.watch)
    for version in found:
        _check_metric(query.keep, version)
    check_comparable(query.keep, found, varied)
    trials, proposals = _trials(found, varied, config, iterations, metric, execution.seed)
    check_datasets(query, config, rows)
    check_rows(query, config, trials, rows)
    check_measured(query.keep, rows.all)
    refused = check_values(query, varied, config, trials, rows)
    goal, steps = _stopping(query.keep, config, len(trials), iterations)
    known = estimate(trials, rows)
    workers, why = _workers(trials, rows, known.seconds * total_iterations(steps), execution)
    return Plan(
        config,
        varied,
        trials,
        steps,
        goal,
        metric,
        iterations,
        rows,
        workers,
        why,
        refused,
        len(found),
        known,
        proposals,
    )


def stand_ins(query: Evaluate, execution: Execution, chain: tuple[str, ...]) -> list[int]:
    """What stands in a plan for the models that an evaluate keeps, which only its trials can tell: those that they
    begin with, as many as are kept at most.
    """
    config = configs.load(query.config)
    source = range_of(query.source, chain)
    found = matching(source.variable, source, None, execution.made)
    trials = sampling.count(sampling.space(query.vary, config), config) * len(found)
    top = trials if query.keep is None or query.keep.top is None else min(query.keep.top, trials)
    return list(itertools.islice(itertools.cycle(found), min(top, MOST_TRIALS)))


def _trials(
    found: list[ModelVersion], varied: Space, config: Config, iterations: int, metric: str, seed: int
) -> tuple[list[Trial], Proposals | None]:
    """All trials, and what draws their values where it learns from earlier ones."""
    points = sampling.points(varied, config, seed)
    pairs = [(version, point) for version in found for point in points]
    proposals = None
    if config.search.sampler == LEARNING and varied.drawn and pairs:
        samples = config.search.samples
        pairs = [pair for first in range(samples) for pair in pairs[first::samples]]
        proposals = Proposals(varied, len(found), len(pairs) // samples, seed)
    trials = [
        Trial(number, version, settings(config, point, iterations, seed), metric=metric, point=point)
        for number, (version, point) in enumerate(pairs, start=1)
    ]
    return trials, proposals


def _workers(trials: list[Trial], rows: RowStore, seconds: float, execution: Execution) -> tuple[int, str | None]:
    """How many trials run at a time; where it is one, why they run in the caller's own process."""
    wanted = min(server_settings.trial_workers(), len(trials))
    if wanted <= 1:
        return 1, "there is one trial" if len(trials) <= 1 else "delc.trial_workers, or the processors, are 1"
    if not all(each.in_memory for each in rows.all):
        return 1, "the rows do not fit into memory, and are read anew in every epoch"
    if python_program() is None:
        return 1, "there is no Python program to start others with"
    if seconds < SECONDS_TO_START:
        return 1, f"the work is short (about {seconds:.1f} s), and starting others takes longer"
    room = execution.watch.limit_bytes // WORKER_BYTES
    if room < 2:
        return 1, "delc.memory_limit has no room for others"
    return int(min(wanted, room)), None


def _stopping(keep: Keep | None, config: Config, trials: int, iterations: int) -> tuple[Goal | None, list[Rung]]:
    if keep is not None and keep.top is None:
        assert keep.comparison is not None
        assert keep.threshold is not None
        return Goal(keep.metric, keep.comparison, keep.threshold), [Rung(trials, iterations, trials)]
    top = trials if keep is None or keep.top is None else min(keep.top, trials)
    if config.search.stopping == "none" or top == trials:
        return None, [Rung(trials, iterations, top)]
    return None, rungs(trials, top, iterations, config.search.reduction, config.search.least_iterations)


def _check_metric(keep: Keep | None, version: ModelVersion) -> None:
    if keep is None:
        return
    known = (*LOSSES, METRIC_OF_TASK[version.task])
    if keep.metric not in known:
        raise unknown_name(keep.place, f"metric of trainings for {version.task}", keep.metric, known)
