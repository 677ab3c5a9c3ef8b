"""Which trial is trained next, and which are stopped: successive halving whose promotions come as results do.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (2016), decide at the
end of each rung, so that processes wait there for the slowest trial. Li et al., "A System for Massively Parallel
Hyperparameter Tuning" (2020: ASHA), decide on the results that are there, so that what is kept depends on how fast the
processes are. Here a trial goes on as in ASHA as soon as a process has nothing else to do, and the whole rung decides
whether that counts: the same seed keeps the same models however many processes there are. What can no longer be among
those that go on is stopped at once, and what can no longer fall out goes on for certain.

Nothing here knows what a trial is: they are numbers from 1, and their results are compared as ``Key``.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from delc.dql.halving import Rung

Key = tuple[float, int]
"""What results are sorted by: the metric, less is better, infinite where it is no number; then the trial's number."""


@dataclass(frozen=True)
class Job:
    """Train this trial up to ``until``. ``is_scarce``: there is little left, and pieces should be small. ``is_guess``:
    the trial may yet turn out not to go on.
    """

    trial: int
    until: int
    is_scarce: bool = False
    is_guess: bool = False


@dataclass(frozen=True)
class Verdict:
    """What has been decided of a trial: ``rung`` (from 0) is the last one that it was a member of."""

    rung: int
    kept: bool = False
    failed: bool = False


@dataclass
class _Level:
    """A rung: ``members`` are certain; ``best`` are those of them that have ended it and may go on, best first;
    ``partly`` those that have not ended it; ``gone`` counts the trials that were stopped before it.
    """

    rung: Rung
    most: int
    members: set[int] = field(default_factory=set)
    done: int = 0
    gone: int = 0
    best: list[Key] = field(default_factory=list)
    partly: set[int] = field(default_factory=set)


class Schedule:
    """The state of a search over trials 1 to ``count``."""

    def __init__(self, rungs: Sequence[Rung], count: int, processes: int = 1) -> None:
        self._levels = [
            _Level(rung, count if place == 0 else rungs[place - 1].kept) for place, rung in enumerate(rungs)
        ]
        self._left = count
        self._few = 2 * processes
        self._guesses = processes > 1
        self._fresh = deque(range(1, count + 1))
        self._levels[0].members.update(self._fresh)
        self._at: dict[int, int] = {}
        self._results: dict[tuple[int, int], Key | None] = {}
        self._running: set[int] = set()
        self._verdicts: dict[int, Verdict] = {}
        self._decided: deque[int] = deque()

    @property
    def is_over(self) -> bool:
        """Whether everything is decided."""
        return self._left == 0

    @property
    def running(self) -> int:
        """How many trials are being trained."""
        return len(self._running)

    def verdict(self, trial: int) -> Verdict | None:
        """What has been decided; None while it is open."""
        return self._verdicts.get(trial)

    def decided(self) -> Iterator[int]:
        """The trials of which something has been decided since this was asked last."""
        while self._decided:
            yield self._decided.popleft()

    def undecided(self, place: int) -> int:
        """How many results a rung waits for; it has members that are not known yet while earlier ones do."""
        level = self._levels[place]
        return min(level.most, self._levels[0].most - level.gone) - level.done

    def upcoming(self, most: int) -> list[int]:
        """The trials that come next of those that have not begun."""
        return [self._fresh[place] for place in range(min(most, len(self._fresh)))]

    def next(self, begun: set[int] | None = None) -> Job | None:
        """What to train now, of the trials in ``begun`` where that is given; None where there is nothing to do.

        The lowest rung goes first. Trials that were interrupted go on before others begin, which keeps few in memory;
        towards the end of a rung the one with most to do goes first, so that processes end together.
        """
        for level in self._levels:
            fresh = len(self._fresh) if level is self._levels[0] else 0
            waiting = [trial for trial in level.partly if trial not in self._running]
            is_scarce = fresh + len(waiting) <= self._few
            beginning = self._fresh[0] if fresh and (begun is None or self._fresh[0] in begun) else None
            if waiting and (beginning is None or not is_scarce):
                sign = 1 if is_scarce else -1
                chosen = min(waiting, key=lambda trial: (sign * self._at.get(trial, 0), trial))
            elif beginning is not None:
                chosen = self._fresh.popleft()
                level.partly.add(chosen)
            else:
                continue
            return self._started(Job(chosen, level.rung.iterations, is_scarce and self._guesses))
        return self._guess() if self._guesses else None

    def _started(self, job: Job) -> Job:
        self._running.add(job.trial)
        return job

    def _guess(self) -> Job | None:
        """The best of a rung that has not ended, ahead of the rung's decision."""
        for place, level in enumerate(self._levels[:-1]):
            above = self._levels[place + 1]
            for _, trial in level.best:
                is_open = trial not in self._running and trial not in above.members
                if is_open and (place + 1, trial) not in self._results:
                    return self._started(Job(trial, above.rung.iterations, True, True))
        return None

    def reached(self, trial: int, at: int, key: Key, ended: bool = False) -> None:
        """A piece of training has come to ``at``. ``ended``: the training is over, whatever is left of the rungs."""
        self._running.discard(trial)
        if trial in self._verdicts:
            return
        self._at[trial] = at
        for place, level in enumerate(self._levels):
            if (ended or at >= level.rung.iterations) and (place, trial) not in self._results:
                self._result(place, trial, key)

    def failed(self, trial: int) -> None:
        """A trial has failed; that counts where the rung that it was on its way to is one that it belongs to."""
        self._running.discard(trial)
        if trial in self._fresh:
            self._fresh.remove(trial)
        if trial in self._verdicts:
            return
        for place in range(len(self._levels)):
            if (place, trial) not in self._results:
                self._result(place, trial, None)

    def _result(self, place: int, trial: int, key: Key | None) -> None:
        self._results[place, trial] = key
        if trial in self._levels[place].members:
            self._count_in(place, trial)

    def _count_in(self, place: int, trial: int) -> None:
        """Takes in the result of a member of a rung."""
        level = self._levels[place]
        level.partly.discard(trial)
        level.done += 1
        key = self._results[place, trial]
        if key is None:
            self._decide(trial, Verdict(place, failed=True))
        else:
            insort(level.best, key)
            if len(level.best) > level.rung.kept:
                self._decide(level.best.pop()[1], Verdict(place))
        for each in range(place, len(self._levels)):
            self._promote(each)

    def _promote(self, place: int) -> None:
        """Lets those go on of which no result that is missing can change that they do."""
        level = self._levels[place]
        safe = level.rung.kept - self.undecided(place)
        for _, trial in level.best[: max(safe, 0)]:
            if not self._is_on(place, trial):
                self._go_on(place, trial)

    def has_ended(self, place: int) -> bool:
        """Whether a rung, and all before it, wait for nothing."""
        return all(self.undecided(each) == 0 for each in range(place + 1))

    def best(self, place: int) -> list[int]:
        """Those of a rung that go on, as far as is known; best first."""
        return [trial for _, trial in self._levels[place].best]

    def _is_on(self, place: int, trial: int) -> bool:
        if place + 1 == len(self._levels):
            return trial in self._verdicts
        return trial in self._levels[place + 1].members

    def _go_on(self, place: int, trial: int) -> None:
        if place + 1 == len(self._levels):
            self._decide(trial, Verdict(place, kept=True))
            return
        above = self._levels[place + 1]
        above.members.add(trial)
        if (place + 1, trial) in self._results:
            self._count_in(place + 1, trial)
        else:
            above.partly.add(trial)

    def _decide(self, trial: int, verdict: Verdict) -> None:
        self._verdicts[trial] = verdict
        self._decided.append(trial)
        self._left -= 1
        for level in self._levels[verdict.rung + 1 :]:
            level.gone += 1
