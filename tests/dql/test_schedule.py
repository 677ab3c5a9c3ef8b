"""The order in which trials are trained, and that it changes nothing in what is decided."""

from __future__ import annotations

import math
import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from delc.dql.halving import Rung, rungs, total_iterations
from delc.dql.schedule import Job, Key, Schedule, Verdict


class World:
    """Trials whose curves are random numbers; some fail, some end by themselves."""

    def __init__(self, seed: int, trials: int, iterations: int, failing: float = 0.0, ending: float = 0.0) -> None:
        random_numbers = random.Random(seed)
        self.curves = {
            trial: [math.inf if random_numbers.random() < 0.05 else random_numbers.choice([1.0, 2.0, 3.0, 4.0])
                    for _ in range(iterations)]
            for trial in range(1, trials + 1)
        }  # fmt: skip
        self.fails = {
            trial: random_numbers.randint(1, iterations) for trial in self.curves if random_numbers.random() < failing
        }
        self.ends = {
            trial: random_numbers.randint(1, iterations) for trial in self.curves if random_numbers.random() < ending
        }

    def key(self, trial: int, at: int) -> Key:
        return (self.curves[trial][at - 1], trial)


def carried_out(plan: list[Rung], world: World, processes: int, seed: int) -> tuple[dict[int, Verdict], int]:
    """What is decided where pieces of work have random sizes and durations; and how many iterations were trained."""
    random_numbers = random.Random(seed)
    count = len(world.curves)
    schedule = Schedule(plan, count, processes)
    at = dict.fromkeys(world.curves, 0)
    running: list[Job] = []
    spent = 0
    while not schedule.is_over:
        while len(running) < processes and (job := schedule.next()) is not None:
            assert at[job.trial] < job.until
            assert job.trial not in {each.trial for each in running}
            running.append(job)
        assert running, "nothing runs, and something is open"
        job = running.pop(random_numbers.randrange(len(running)))
        until = random_numbers.randint(at[job.trial] + 1, job.until) if random_numbers.random() < 0.3 else job.until
        ends = world.ends.get(job.trial, math.inf)
        until = int(min(until, ends))
        if world.fails.get(job.trial, math.inf) <= until:
            schedule.failed(job.trial)
            continue
        spent += until - at[job.trial]
        at[job.trial] = until
        schedule.reached(job.trial, until, world.key(job.trial, until), until >= ends)
    return {trial: verdict for trial in world.curves if (verdict := schedule.verdict(trial)) is not None}, spent


def by_hand(plan: list[Rung], world: World) -> dict[int, Verdict]:
    """Rung by rung, as the paper has it."""
    alive = list(world.curves)
    verdicts = {}
    for place, rung in enumerate(plan):
        failed = [
            trial
            for trial in alive
            if world.fails.get(trial, math.inf) <= min(rung.iterations, world.ends.get(trial, math.inf))
        ]
        verdicts |= {trial: Verdict(place, failed=True) for trial in failed}
        ranked = sorted(
            (trial for trial in alive if trial not in failed),
            key=lambda trial: world.key(trial, min(rung.iterations, world.ends.get(trial, rung.iterations))),
        )
        alive = ranked[: rung.kept]
        verdicts |= {trial: Verdict(place) for trial in ranked[rung.kept :]}
    return verdicts | {trial: Verdict(len(plan) - 1, kept=True) for trial in alive}


@given(
    seed=st.integers(0, 10_000),
    trials=st.integers(1, 40),
    top=st.integers(1, 8),
    iterations=st.integers(1, 30),
    processes=st.integers(1, 5),
    failing=st.sampled_from([0.0, 0.3, 1.0]),
    ending=st.sampled_from([0.0, 0.3]),
)
def test_what_is_kept_does_not_depend_on_how_many_processes_there_are_and_how_fast(
    seed: int, trials: int, top: int, iterations: int, processes: int, failing: float, ending: float
) -> None:
    world = World(seed, trials, iterations, failing, ending)
    plan = rungs(trials, min(top, trials), iterations)
    decided, _ = carried_out(plan, world, processes, seed)
    assert decided == by_hand(plan, world)


@given(seed=st.integers(0, 10_000), trials=st.integers(1, 60), top=st.integers(1, 8), iterations=st.integers(1, 30))
def test_one_process_trains_nothing_that_does_not_count(seed: int, trials: int, top: int, iterations: int) -> None:
    plan = rungs(trials, min(top, trials), iterations)
    _, spent = carried_out(plan, World(seed, trials, iterations), 1, seed)
    assert spent == total_iterations(plan)


def test_processes_go_on_with_the_best_so_far_where_a_rung_waits_for_one_trial() -> None:
    schedule = Schedule(rungs(4, 1, 9), 4, processes=2)
    assert [rung.iterations for rung in rungs(4, 1, 9)] == [1, 3, 9]
    slow, *_ = [schedule.next() for _ in range(1)]
    for trial, value in ((2, 3.0), (3, 1.0), (4, 2.0)):
        job = schedule.next()
        assert job is not None
        assert (job.trial, job.is_guess) == (trial, False)
        schedule.reached(trial, 1, (value, trial))
    guess = schedule.next()
    assert guess is not None
    assert (guess.trial, guess.until) == (3, 3)
    assert slow is not None
    assert slow.trial == 1


def test_what_cannot_fall_out_any_more_goes_on_for_certain_before_the_rung_ends() -> None:
    plan = [Rung(6, 1, 3), Rung(3, 3, 1)]
    schedule = Schedule(plan, 6, processes=2)
    for _ in range(6):
        assert schedule.next() is not None
    for trial, value in ((1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)):
        schedule.reached(trial, 1, (value, trial))
    # Two results are missing, and three go on: trial 1 is one of them; trial 4 is not.
    certain = schedule.next()
    assert certain is not None
    assert (certain.trial, certain.is_guess) == (1, False)
    assert schedule.verdict(4) == Verdict(0)
    assert schedule.verdict(3) is None


def test_trials_that_were_interrupted_go_on_before_others_begin() -> None:
    schedule = Schedule([Rung(30, 10, 30)], 30, processes=2)
    first = schedule.next()
    assert first is not None
    schedule.reached(first.trial, 5, (1.0, first.trial))
    again = schedule.next()
    assert again is not None
    assert again.trial == first.trial


def test_at_the_end_the_trial_with_most_to_do_goes_first() -> None:
    schedule = Schedule([Rung(3, 10, 1)], 3, processes=2)
    jobs = [schedule.next() for _ in range(3)]
    for job, at in zip(jobs, (7, 3, 5), strict=True):
        assert job is not None
        schedule.reached(job.trial, at, (1.0, job.trial))
    following = [schedule.next() for _ in range(3)]
    assert [job.trial for job in following if job is not None] == [2, 3, 1]
    assert all(job.is_scarce for job in following if job is not None)


def test_ten_thousand_trials_are_decided() -> None:
    plan = rungs(10_000, 10, 81)
    world = World(1, 10_000, 81)
    assert carried_out(plan, world, 1, 1)[0] == by_hand(plan, world)
    for earlier, later in pairwise(plan):
        assert later.trials == earlier.kept
