"""The options of a training run: read strictly from what the SQL caller gave, and kept with the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delc.server.errors import InvalidParameter, unknown
from delc.training.arguments import Reader, integer, listing, number, optional, refuse
from delc.training.devices import check_device_name
from delc.training.losses import TASKS, read_class_weights, read_loss
from delc.training.optimizers import read_optimizer
from delc.training.schedules import read_schedule

GREATEST_SEED = 2**63 - 1


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise refuse(name, value, "the name of a layer, or a pattern such as conv*")
    return value


_PLAIN: dict[str, Reader] = {
    "epochs": integer(1, 1_000_000),
    "batch_size": integer(1, 100_000_000),
    "learning_rate": number(above=0),
    "weight_decay": number(low=0),
    "gradient_clip": optional(number(above=0)),
    "early_stopping": optional(integer(1, 1_000_000)),
    "checkpoint_every": optional(integer(1, 1_000_000)),
    "seed": integer(0, GREATEST_SEED),
    "threads": optional(integer(1, 4096)),
    "device": check_device_name,
    "freeze": listing(_text, least=0),
}


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained. Made by ``parse``; every field holds a checked value with all defaults filled in.

    ``schedule`` and ``loss`` are objects with a "name" and every argument. ``class_weights`` is as the user gave it:
    "balanced", {label: weight} or a list; ``losses.class_weight_tensor`` resolves it. ``gradient_clip`` is the
    greatest L2 norm of all gradients together, ``early_stopping`` the epochs to wait for a lower validation loss,
    ``checkpoint_every`` epochs between checkpoints; None turns each off. ``freeze`` names layers, or patterns of
    them, that training leaves as they are.
    """

    task: str
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    optimizer_arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    schedule: dict[str, Any] = dataclasses.field(default_factory=dict)
    loss: dict[str, Any] = dataclasses.field(default_factory=dict)
    weight_decay: float = 0.0
    class_weights: str | dict[str, float] | list[float] | None = None
    gradient_clip: float | None = None
    early_stopping: int | None = None
    checkpoint_every: int | None = None
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"
    freeze: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def parse(cls, task: str, values: Mapping[str, Any]) -> TrainingOptions:
        """The options for a task from the values that the caller gave; what is missing or None has its default.

        Raises InvalidParameter for a task, option, name or argument that is not known (with the nearest one) and for
        a value out of its range (with the value and the range).
        """
        if task not in TASKS:
            raise unknown("task", str(task), TASKS, kind=InvalidParameter)
        known = [field.name for field in dataclasses.fields(cls) if field.name != "task"]
        for name in values:
            if name not in known:
                raise unknown("training option", name, known, kind=InvalidParameter)
        given = {name: value for name, value in values.items() if value is not None}
        read = {name: reader(name, given[name]) for name, reader in _PLAIN.items() if name in given}
        optimizer, optimizer_arguments = read_optimizer(
            given.get("optimizer", "adam"), given.get("optimizer_arguments", {})
        )
        return cls(
            task=task,
            optimizer=optimizer,
            optimizer_arguments=optimizer_arguments,
            schedule=read_schedule(given.get("schedule"), read.get("epochs", cls.epochs)),
            loss=read_loss(task, given.get("loss")),
            class_weights=read_class_weights(task, given.get("class_weights")),
            **read,
        )

    def to_json(self) -> dict[str, Any]:
        """All options as JSON; ``from_json`` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TrainingOptions:
        """The options from ``to_json``, checked again."""
        return cls.parse(stored["task"], {name: value for name, value in stored.items() if name != "task"})
