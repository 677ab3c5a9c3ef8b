"""A search under way: gives processes the next pieces of work, and takes in what became of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from delc.dql.planning import Plan
from delc.dql.sampling import with_drawn
from delc.dql.schedule import Key, Schedule
from delc.dql.settings import settings
from delc.dql.trials import FINISHED, KEPT, Beginning, Trial, begin, work_of
from delc.dql.work import Outcome, Work
from delc.log import runs
from delc.models import parameters
from delc.server import progress
from delc.server.errors import DelcError

if TYPE_CHECKING:
    from delc.dql.execution import Execution

PIECE_SECONDS = 1.0
"""How long pieces of work are where they should be small: those of the session's own process, which looks after the
others in between, and the last ones of a rung.
"""

BYTES_PER_SECOND = 25e6
"""Pieces are longer where there are many weights to pass on."""


class Search:
    """The trials of a plan between their beginnings and their ends."""

    def __init__(
        self,
        planned: Plan,
        execution: Execution,
        beginning: Beginning,
        started: Callable[[int], None],
        changed: Callable[[Trial], None],
    ) -> None:
        self._planned = planned
        self._execution = execution
        self._beginning = beginning
        self._started = started
        self._changed = changed
        self._trials = {trial.number: trial for trial in planned.trials}
        self._schedule = Schedule(planned.rungs, len(planned.trials), planned.workers)
        self._begun: set[int] = set()
        self._weights: dict[int, dict[str, Tensor]] = {}
        self._said = 0
        self._models: dict[int, int] = {}

    @property
    def is_over(self) -> bool:
        """Whether everything is decided."""
        return self._schedule.is_over

    def prepare(self, most: int) -> None:
        """Lets the next trials begin: that takes queries, which cannot be made in the midst of training."""
        for number in self._schedule.upcoming(most):
            if number not in self._begun:
                if not self._is_drawn(self._trials[number]):
                    break
                try:
                    self._begin(self._trials[number])
                except DelcError as error:
                    self._trials[number].fail(error)
                    self._schedule.failed(number)
                    self._propose(self._trials[number])
                else:
                    self._begun.add(number)
        self._conclude()

    def next(self, *, in_pieces: bool) -> Work | None:
        """The next piece of work of a trial that has begun; None where there is none. Makes no query."""
        job = self._schedule.next(self._begun)
        if job is None:
            return None
        trial = self._trials[job.trial]
        until = job.until
        if in_pieces or job.is_scarce:
            until = min(until, trial.iterations + self._piece(trial))
        self._started(trial.number)
        return work_of(trial, self._planned.rows_of(trial), until, self._planned.goal)

    def take(self, outcome: Outcome) -> None:
        """What became of a piece of work. Makes no query."""
        trial = self._trials[outcome.trial]
        if self._schedule.verdict(trial.number) is not None:  # it was a guess, and a wrong one
            trial.cpu_seconds += outcome.cpu_seconds
            self._changed(trial)
            return
        trial.take(outcome)
        if outcome.error is not None:
            self._schedule.failed(trial.number)
        else:
            trial.mark()
            self._schedule.reached(trial.number, trial.iterations, self._key(trial), trial.ended)
        self._propose(trial)
        self._conclude()
        self._changed(trial)

    def say(self) -> None:
        """Looks after memory, and tells the client of rungs that have ended."""
        self._execution.watch.check()
        if self._planned.goal is not None:
            return
        while self._said < len(self._planned.rungs) and self._schedule.has_ended(self._said):
            rung, best = self._planned.rungs[self._said], self._schedule.best(self._said)
            self._said += 1
            is_last = self._said == len(self._planned.rungs)
            shown = ""
            if best:
                value = self._trials[best[0]].value_at(rung.iterations)
                shown = f", best {self._planned.metric} {value:.4g} (trial {self._trials[best[0]].logged_number})"
            progress.notice(
                f"after {rung.iterations} iterations {len(best)} of {rung.trials} trials "
                f"{'are kept' if is_last else 'go on'}{shown}"
            )

    def _is_drawn(self, trial: Trial) -> bool:
        """Draws the values of a trial where they depend on those before it; whether it has them."""
        planned, proposals = self._planned, self._planned.proposals
        if proposals is None:
            return True
        if not proposals.may_ask(trial.number):
            return False
        shares = proposals.ask(trial.number, self._models.setdefault(trial.source.id, len(self._models)), trial.point)
        point = with_drawn(trial.point, shares, planned.space, planned.config)
        trial.settings = settings(planned.config, point, planned.iterations, self._execution.seed)
        return True

    def _propose(self, trial: Trial) -> None:
        """Lets later trials learn of one that has failed, or come to the first rung."""
        proposals, first = self._planned.proposals, self._planned.rungs[0].iterations
        if proposals is None:
            return
        if trial.error is not None:
            proposals.tell(trial.number, None)
        elif trial.ended or trial.iterations >= first:
            value = trial.value_at(first) if self._planned.least_is_best else -trial.value_at(first)
            proposals.tell(trial.number, value if math.isfinite(value) else None)

    def _begin(self, trial: Trial) -> None:
        rows = self._planned.rows_of(trial)
        trial.started_at = runs.now()
        snapshot = trial.source.snapshot_id
        if snapshot not in self._weights:
            self._weights.clear()
            self._weights[snapshot] = parameters.load(snapshot)
        built = begin(trial, rows, self._weights[snapshot], self._beginning)
        trial.weights = built.module.state_dict()

    def _piece(self, trial: Trial) -> int:
        """How many iterations make a small piece."""
        known = [record.seconds for record in trial.records[-3:]]
        seconds = sum(known) / len(known) if known else self._planned.seconds_per_iteration
        weights = sum(tensor.nbytes for tensor in trial.weights.values())
        return max(1, int((PIECE_SECONDS + weights / BYTES_PER_SECOND) / max(seconds, 1e-6)))

    def _key(self, trial: Trial) -> Key:
        value = trial.value()
        if value is None or not math.isfinite(value):
            return (math.inf, trial.number)
        return (value if self._planned.least_is_best else -value, trial.number)

    def _conclude(self) -> None:
        """What has been decided: the states of trials, and the weights of those that are thrown away."""
        for number in self._schedule.decided():
            trial, verdict = self._trials[number], self._schedule.verdict(number)
            assert verdict is not None
            rung = self._planned.rungs[verdict.rung]
            if verdict.failed:
                assert trial.error is not None
                trial.state = f"failed: {trial.error[1]}"
                trial.forget()
                continue
            is_kept = verdict.kept
            if self._planned.goal is not None:
                is_kept = trial.used is not None and self._planned.goal.reached(trial.used)
            trial.return_to(rung.iterations)
            if is_kept:
                trial.state = KEPT
                continue
            is_last = verdict.rung + 1 == len(self._planned.rungs)
            trial.state = FINISHED if is_last or trial.ended else f"stopped at iteration {trial.iterations}"
            trial.forget()
