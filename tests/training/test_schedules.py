"""Learning-rate schedules, against torch's where it has the same one."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from delc.training.schedules import build_schedule, read_schedule

BASE = 0.5


def optimizer(*rates: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates or (BASE,)]
    made = torch.optim.SGD(groups, lr=BASE)
    for group in made.param_groups:
        group["base_learning_rate"] = group["lr"]
    return made


def rates(schedule: object, epochs: int, batches: int = 1) -> list[float]:
    """The rate of every batch."""
    made = optimizer()
    running = build_schedule(read_schedule(schedule, epochs), epochs, made)
    found = []
    for batch in range(epochs * batches):
        running.before_batch(batch / batches)
        found.append(made.param_groups[0]["lr"])
    return found


def of_torch(kind: type, steps: int, **arguments: object) -> list[float]:
    made = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    running, found = kind(made, **arguments), []
    for _ in range(steps):
        found.append(made.param_groups[0]["lr"])
        made.step()
        running.step()
    return found


def test_constant() -> None:
    assert rates("constant", 3) == [BASE] * 3


def test_step() -> None:
    expected = of_torch(lr_scheduler.StepLR, 7, step_size=2, gamma=0.3)
    assert rates({"name": "step", "step_size": 2, "gamma": 0.3}, 7) == pytest.approx(expected)


def test_multistep() -> None:
    expected = of_torch(lr_scheduler.MultiStepLR, 7, milestones=[2, 5], gamma=0.1)
    assert rates({"name": "multistep", "milestones": [2, 5]}, 7) == pytest.approx(expected)


def test_exponential() -> None:
    expected = of_torch(lr_scheduler.ExponentialLR, 7, gamma=0.8)
    assert rates({"name": "exponential", "gamma": 0.8}, 7) == pytest.approx(expected)


def test_cosine() -> None:
    expected = of_torch(lr_scheduler.CosineAnnealingLR, 40, T_max=40, eta_min=0.01)
    assert rates({"name": "cosine", "minimum_learning_rate": 0.01}, 10, batches=4) == pytest.approx(expected)


def test_cosine_warm_restarts() -> None:
    expected = of_torch(lr_scheduler.CosineAnnealingWarmRestarts, 14, T_0=2, T_mult=2, eta_min=0.01)
    schedule = {"name": "cosine_warm_restarts", "first_cycle": 2, "cycle_factor": 2, "minimum_learning_rate": 0.01}
    assert rates(schedule, 14) == pytest.approx(expected)


def test_linear_falls_to_its_minimum() -> None:
    assert rates({"name": "linear", "minimum_learning_rate": 0.1}, 4) == pytest.approx([0.5, 0.4, 0.3, 0.2])


def test_one_cycle_rises_and_falls() -> None:
    found = rates("one_cycle", 10, batches=10)
    assert found[0] == pytest.approx(BASE / 25)
    assert max(found) == pytest.approx(found[30]) == pytest.approx(BASE)
    assert found[-1] < BASE / 1000
    assert found[:31] == sorted(found[:31])
    assert found[30:] == sorted(found[30:], reverse=True)


def test_warm_up_is_linear_and_then_the_schedule_begins() -> None:
    found = rates({"name": "cosine", "warmup_epochs": 2, "warmup_start": 0}, 6, batches=2)
    assert found[:5] == pytest.approx([0, BASE / 4, BASE / 2, BASE * 3 / 4, BASE])
    assert found[8] == pytest.approx(BASE / 2)


def test_groups_keep_their_proportion() -> None:
    made = optimizer(0.5, 0.05)
    running = build_schedule(read_schedule("cosine", 10), 10, made)
    running.before_batch(5)
    assert [group["lr"] for group in made.param_groups] == pytest.approx([0.25, 0.025])


def test_reduce_on_plateau_waits_for_its_patience() -> None:
    made = optimizer()
    schedule = read_schedule({"name": "reduce_on_plateau", "patience": 1, "factor": 0.5}, 8)
    running = build_schedule(schedule, 8, made)
    found = []
    for epoch, loss in enumerate([1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1]):
        running.before_batch(epoch)
        found.append(made.param_groups[0]["lr"])
        running.after_epoch(loss)
    assert found == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125])


def test_reduce_on_plateau_stops_at_its_minimum() -> None:
    made = optimizer()
    schedule = {"name": "reduce_on_plateau", "patience": 0, "minimum_learning_rate": 0.2}
    running = build_schedule(read_schedule(schedule, 5), 5, made)
    for epoch in range(5):
        running.before_batch(epoch)
        running.after_epoch(1.0)
    assert made.param_groups[0]["lr"] == 0.2
