"""Evaluate: trains models with what varies, stops those that fall behind, and keeps the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from delc.dql import configs, sampling
from delc.dql.configs import Config
from delc.dql.halving import Rung, rungs, total_iterations
from delc.dql.keeping import log_trial, store_kept
from delc.dql.making import title_of
from delc.dql.problems import TooLarge, problem, unknown_name
from delc.dql.sampling import MOST_TRIALS, Space
from delc.dql.selecting import matching
from delc.dql.settings import settings
from delc.dql.sources import range_of
from delc.dql.syntax import Evaluate, Keep
from delc.dql.trial_data import RowStore, TrialRows
from delc.dql.trials import FINISHED, KEPT, Beginning, Trial, begin, work_of
from delc.dql.work import LOSSES, Goal, Outcome, RowBatches, Work
from delc.dql.workers import InProcess, Runner, pool, python_program
from delc.log import runs
from delc.models import parameters, versions
from delc.models.versions import ModelVersion
from delc.server import interrupts, progress, threads
from delc.server import settings as server_settings

if TYPE_CHECKING:
    from delc.dql.execution import Execution

METRIC_OF_TASK = {"classification": "accuracy", "multilabel": "f1", "regression": "r2"}

SECONDS_TO_START = 4.0
"""Less work than this is done in the caller's process: workers import torch first."""

FLOPS_PER_SECOND = 4e9
SECONDS_PER_BATCH = 0.0012
"""What a batch of a small network takes on one processor, whatever it computes."""

SECONDS_PER_EPOCH = 0.001

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

    def rows_of(self, trial: Trial) -> TrialRows:
        """The rows of a trial."""
        return self.rows.rows(trial.source, trial.settings.dataset)

    @property
    def least_is_best(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in LOSSES


def plan(query: Evaluate, execution: Execution, chain: tuple[str, ...]) -> Plan:
    """Everything that is decided before the first trial begins."""
    config = configs.load(query.config)
    varied = sampling.space(query.vary, config)
    source = range_of(query.source, chain)
    found = [versions.resolve(title_of(each)) for each in matching(source.variable, source, None, execution.made)]
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
    trials: list[Trial] = []
    rows = RowStore(execution.watch)
    for version in found:
        _check_metric(query.keep, version)
        for point in sampling.points(varied, config, execution.seed):
            chosen = settings(config, point, iterations, execution.seed)
            trials.append(Trial(len(trials) + 1, version, chosen, metric=metric))
    for trial in trials:
        interrupts.check()
        rows.rows(trial.source, trial.settings.dataset)
    goal, steps = _stopping(query.keep, config, len(trials), iterations)
    workers, why = _workers(trials, rows, steps, execution)
    return Plan(config, varied, trials, steps, goal, metric, iterations, rows, workers, why)


def evaluate(query: Evaluate, execution: Execution, chain: tuple[str, ...]) -> list[Trial]:
    """Tries all, stores what is kept, and logs every trial; best first."""
    planned = plan(query, execution, chain)
    if not planned.trials:
        progress.notice(f"no model matches, so nothing is tried for {query.variable}")
        return []
    board = Board(planned)
    with ExitStack() as stack:
        runner = _runner(planned, execution, stack)
        if planned.goal is not None:
            _until_goal(planned, runner, board, execution)
        else:
            _halve(planned, runner, board, execution)
    progress.report("storing parameters")
    for trial in planned.trials:
        interrupts.check()
        if trial.state == KEPT:
            store_kept(query, execution, trial, planned.rows_of(trial))
        log_trial(execution, trial, planned.rows_of(trial))
    execution.drop_unused({trial.source.id for trial in planned.trials if trial.state == KEPT})
    return sorted(planned.trials, key=lambda trial: _rank(trial, planned))


class Board:
    """What is known of the trials so far, for ``delc.progress`` and the client."""

    def __init__(self, planned: Plan) -> None:
        self._planned = planned
        self._epochs = sum(rung.trials for rung in planned.rungs[:1]) * planned.iterations
        self.running: set[int] = set()
        self.best: tuple[float, int] | None = None

    def told(self, trial: int, epoch: int, loss: float) -> None:
        """After an epoch of a trial."""
        self.running.add(trial)
        self.show(loss)

    def ended(self, trial: Trial) -> None:
        """After a piece of work."""
        self.running.discard(trial.number)
        value = trial.value()
        if value is not None:
            sign = 1 if self._planned.least_is_best else -1
            if self.best is None or sign * value < sign * self.best[0]:
                self.best = (value, trial.number)
        self.show(math.nan)

    def show(self, loss: float) -> None:
        """What ``delc.progress`` says."""
        done = sum(trial.ended or trial.state != "" for trial in self._planned.trials)
        best = ""
        if self.best is not None:
            best = f", best {self._planned.metric} {self.best[0]:.4g} (trial {self.best[1]})"
        phase = f"{done} of {len(self._planned.trials)} trials done, {len(self.running)} running{best}"
        deepest = max((trial.iterations for trial in self._planned.trials), default=0)
        progress.report(phase, epoch=deepest, epochs=self._planned.iterations, loss=loss)


def _halve(planned: Plan, runner: Runner, board: Board, execution: Execution) -> None:
    """Rung by rung."""
    alive = list(planned.trials)
    for rung in planned.rungs:
        _train(planned, runner, board, execution, alive, rung.iterations)
        ranked = sorted((trial for trial in alive if not trial.failed), key=lambda trial: _rank(trial, planned))
        is_last = rung is planned.rungs[-1]
        alive = ranked[: rung.kept]
        for trial in ranked[rung.kept :]:
            trial.state = FINISHED if is_last or trial.ended else f"stopped at iteration {trial.iterations}"
            trial.forget()
        best = f", best {planned.metric} {alive[0].value():.4g} (trial {alive[0].number})" if alive else ""
        progress.notice(
            f"after {rung.iterations} iterations {len(alive)} of {rung.trials} trials "
            f"{'are kept' if is_last else 'go on'}{best}"
        )
    for trial in alive:
        trial.state = KEPT


def _until_goal(planned: Plan, runner: Runner, board: Board, execution: Execution) -> None:
    """Every trial until it reaches the goal, or its iterations are over."""
    assert planned.goal is not None
    _train(planned, runner, board, execution, planned.trials, planned.iterations)
    for trial in planned.trials:
        if not trial.failed:
            reached = trial.used is not None and planned.goal.reached(trial.used)
            trial.state = KEPT if reached else FINISHED
            if not reached:
                trial.forget()
    kept = sum(trial.state == KEPT for trial in planned.trials)
    progress.notice(f"{kept} of {len(planned.trials)} trials reached the goal and are kept")


def _train(
    planned: Plan, runner: Runner, board: Board, execution: Execution, trials: Sequence[Trial], until: int
) -> None:
    """Trains trials up to an iteration, those whose training has ended excepted."""
    by_number = {trial.number: trial for trial in trials}
    weights: dict[int, dict[str, Tensor]] = {}

    def preparing(trial: Trial) -> Callable[[], Work]:
        return lambda: _prepared(planned, trial, until, execution, weights)

    going = [(trial.number, preparing(trial)) for trial in trials if not trial.ended and not trial.failed]
    for result in runner.run(going, board.told):
        if isinstance(result, Outcome):
            by_number[result.trial].take(result)
            board.ended(by_number[result.trial])
        else:
            number, error = result
            by_number[number].fail(error)
        execution.watch.check()


def _prepared(
    planned: Plan, trial: Trial, until: int, execution: Execution, weights: dict[int, dict[str, Tensor]]
) -> Work:
    rows = planned.rows_of(trial)
    if trial.network is None:
        trial.started_at = runs.now()
        snapshot = trial.source.snapshot_id
        if snapshot not in weights:
            weights.clear()
            weights[snapshot] = parameters.load(snapshot)
        built = begin(trial, rows, weights[snapshot], _beginning(planned, execution))
        trial.weights = built.module.state_dict()
    return work_of(trial, rows, until, planned.goal)


def _beginning(planned: Plan, execution: Execution) -> Beginning:
    return Beginning(execution.seed, _threads(planned), execution.watch)


def _threads(planned: Plan) -> int:
    """One thread for each trial; where trials never run side by side, those of ``delc.threads``."""
    return server_settings.threads() if server_settings.trial_workers() == 1 else 1


def _runner(planned: Plan, execution: Execution, stack: ExitStack) -> Runner:
    stores = planned.rows.all
    threads.use(_threads(planned))
    batches = [rows.batches(execution.watch) for rows in stores]

    def rows_of(number: int) -> RowBatches:
        return batches[number]

    if planned.workers <= 1:
        return InProcess(rows_of)
    shared = [rows.share() for rows in stores]
    for each in shared:
        stack.callback(each.close)
    path = server_settings.python_path()
    return stack.enter_context(pool(planned.workers, shared, rows_of, _threads(planned), path))


def _workers(trials: list[Trial], rows: RowStore, steps: list[Rung], execution: Execution) -> tuple[int, str | None]:
    """How many trials run at a time; where it is one, why they run in the caller's own process."""
    wanted = min(server_settings.trial_workers(), len(trials))
    if wanted <= 1:
        return 1, "there is one trial" if len(trials) <= 1 else "delc.trial_workers, or the processors, are 1"
    if not all(each.in_memory for each in rows.all):
        return 1, "the rows do not fit into memory, and are read anew in every epoch"
    if python_program() is None:
        return 1, "there is no Python program to start others with"
    seconds = estimated_seconds(trials, rows, steps)
    if seconds < SECONDS_TO_START:
        return 1, f"the work is short (about {seconds:.1f} s), and starting others takes longer"
    room = execution.watch.limit_bytes // WORKER_BYTES
    if room < 2:
        return 1, "delc.memory_limit has no room for others"
    return int(min(wanted, room)), None


def estimated_seconds(trials: list[Trial], rows: RowStore, steps: list[Rung]) -> float:
    """A guess, from sizes alone, at the seconds that all trials take on one processor."""
    if not trials:
        return 0.0
    total = 0.0
    for trial in trials:
        train = rows.rows(trial.source, trial.settings.dataset).prepared.train
        batch = int(trial.settings.options.get("batch_size", 128) or 128)
        operations = 6.0 * trial.source.parameters * train.rows
        batches = math.ceil(train.rows / max(batch, 1))
        total += operations / FLOPS_PER_SECOND + batches * SECONDS_PER_BATCH + SECONDS_PER_EPOCH
    return total / len(trials) * total_iterations(steps)


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


_LAST = 3


def _rank(trial: Trial, planned: Plan) -> tuple[float, ...]:
    """What trials are sorted by: kept ones first, then those that went further, then by the metric."""
    order = {KEPT: 0, "": 0, FINISHED: 1}.get(trial.state, _LAST if trial.failed else 2)
    value = trial.value()
    sign = 1 if planned.least_is_best else -1
    finite = value is not None and math.isfinite(value)
    later = -trial.iterations if order == 2 else 0
    return (order, later, sign * value if finite and value is not None else math.inf, trial.number)
