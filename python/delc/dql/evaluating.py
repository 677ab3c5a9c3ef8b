"""Evaluate: trains models with what varies, stops those that fall behind, and keeps the best."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from delc.dql.keeping import log_trial, rename_source, store_kept
from delc.dql.planning import Plan, plan
from delc.dql.searching import Search
from delc.dql.syntax import Evaluate, Keep
from delc.dql.trials import FINISHED, KEPT, Beginning, Trial
from delc.dql.work import RowBatches
from delc.dql.workers import InProcess, Runner, pool
from delc.server import interrupts, progress, threads
from delc.server import settings as server_settings

if TYPE_CHECKING:
    from delc.dql.execution import Execution


def evaluate(query: Evaluate, execution: Execution, chain: tuple[str, ...]) -> list[Trial]:
    """Tries all, stores what is kept, and logs every trial; best first."""
    with execution.for_trials():
        planned = plan(query, execution, chain)
    for trial in planned.trials:
        trial.before = execution.tried
    execution.tried += len(planned.trials)
    if not planned.trials:
        progress.notice(f"no model matches, so nothing is tried for {query.variable}")
        return []
    board = Board(planned)
    with _logged_if_it_fails(planned, execution), ExitStack() as stack:
        runner = _runner(planned, execution, stack)
        search = Search(planned, execution, _beginning(planned, execution), board.started, board.changed)
        runner.run(search, board.told)
    if planned.goal is not None:
        kept = sum(trial.state == KEPT for trial in planned.trials)
        progress.notice(f"{kept} of {len(planned.trials)} trials reached the goal and are kept")
    elif query.keep is not None:
        _say_if_fewer(query.keep, planned)
    progress.report("storing parameters")
    for trial in planned.trials:
        interrupts.check()
        if trial.state == KEPT:
            store_kept(query, execution, trial, planned.rows_of(trial))
        log_trial(execution, trial, planned.dataset_of(trial))
    _drop_unused(execution, planned.trials)
    return sorted(planned.trials, key=lambda trial: _rank(trial, planned))


def _say_if_fewer(keep: Keep, planned: Plan) -> None:
    """Tells of models that were asked for and are not there: trials failed, or there were too few."""
    kept = sum(trial.state == KEPT for trial in planned.trials)
    failed = sum(trial.failed for trial in planned.trials)
    if keep.top is not None and kept < keep.top:
        tried = len(planned.trials)
        reasons = [f"{failed} of {tried} trials failed"] if failed else []
        if tried < keep.top:
            reasons.append(f"there {'was one trial' if tried == 1 else f'were {tried} trials'}")
        progress.notice(
            f"{kept} of the {keep.top} models asked for {'is' if kept == 1 else 'are'} kept: {' and '.join(reasons)}"
        )


@contextmanager
def _logged_if_it_fails(planned: Plan, execution: Execution) -> Iterator[None]:
    """An error or a cancel takes the trials with it, but not their log: the run's arguments tell of them."""
    try:
        yield
    except BaseException:
        tried = [trial.summary() for trial in planned.trials if trial.records or trial.state]
        earlier = execution.run.arguments.get("trials", [])
        execution.run.arguments = {**execution.run.arguments, "trials": [*earlier, *tried]}
        raise


def _drop_unused(execution: Execution, trials: list[Trial]) -> None:
    """Drops what was only made to be tried. The log goes on saying what it was: its name may come to mean another."""
    gone = {new.title: new for new in execution.drop_unused()}
    for trial in trials:
        if str(trial.source) in gone and trial.version_id is None:
            trial.began_with = gone[str(trial.source)].in_words()
    for new in gone.values():
        rename_source(execution, new)


class Board:
    """What is known of the trials so far, for ``delc.progress``."""

    def __init__(self, planned: Plan) -> None:
        self._planned = planned
        self._running: set[int] = set()
        self._best: tuple[float, int] | None = None
        self._epoch = 0

    def started(self, trial: int) -> None:
        """Before a piece of work."""
        self._running.add(trial)
        self._show(math.nan)

    def told(self, trial: int, epoch: int, loss: float) -> None:
        """After an epoch of a trial."""
        self._epoch = epoch
        self._show(loss)

    def changed(self, trial: Trial) -> None:
        """After a piece of work."""
        self._running.discard(trial.number)
        value = trial.value()
        if value is not None and math.isfinite(value):
            sign = 1 if self._planned.least_is_best else -1
            if self._best is None or sign * value < sign * self._best[0]:
                self._best = (value, trial.logged_number)
        self._show(math.nan)

    def _show(self, loss: float) -> None:
        done = sum(trial.state != "" for trial in self._planned.trials)
        best = ""
        if self._best is not None:
            best = f", best {self._planned.metric} {self._best[0]:.4g} (trial {self._best[1]})"
        phase = f"{done} of {len(self._planned.trials)} trials done, {len(self._running)} running{best}"
        progress.report(phase, epoch=self._epoch, epochs=self._planned.iterations, loss=loss)


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
    return stack.enter_context(pool(planned.workers, shared, rows_of, path))


_LAST = 3


def _rank(trial: Trial, planned: Plan) -> tuple[float, ...]:
    """What trials are sorted by: kept ones first, then those that went further, then by the metric."""
    order = {KEPT: 0, "": 0, FINISHED: 1}.get(trial.state, _LAST if trial.failed else 2)
    value = trial.value()
    sign = 1 if planned.least_is_best else -1
    finite = value is not None and math.isfinite(value)
    later = -trial.iterations if order == 2 else 0
    return (order, later, sign * value if finite and value is not None else math.inf, trial.number)
