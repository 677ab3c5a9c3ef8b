"""Everything besides the weights that a training needs to go on after an epoch as if it had never stopped.

Random numbers need no state of their own: the order of rows and what dropout draws depend on the seed and the epoch
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from delc.server.errors import InvalidData

Slots = dict[str, dict[str, Tensor]]
"""Parameter → what the optimiser keeps of it, by the name that torch gives it ("exp_avg", "momentum_buffer")."""

BEST_WEIGHTS = "best weights"
"""The slot of the weights that early stopping goes back to; no optimiser has one of that name."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave. Losses are means over rows; the training loss is that of the weights as they changed.

    ``validation_metric`` is accuracy, micro-averaged F1 or R² (``metric_name``), None without validation rows or where
    it is not defined. ``learning_rate`` is the one of the last batch, ``seconds`` include validation.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    validation_metric: float | None
    metric_name: str
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainingState:
    """A training after ``epoch``. One that a running training gives is to be stored at once: its tensors are in use.

    ``best`` is the epoch with the lowest validation loss so far, None without validation rows; ``best_weights`` are
    those of that epoch where early stopping will go back to them and they are not the present ones.
    """

    epoch: int
    optimizer: Slots
    schedule: Mapping[str, Any]
    best: EpochRecord | None
    best_weights: Mapping[str, Tensor]


def optimizer_slots(optimizer: torch.optim.Optimizer, module: Module) -> Slots:
    """What the optimiser keeps, by the parameters' names, on the processor; good until training goes on."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        names[id(parameter)]: {slot: value.detach().cpu() for slot, value in kept.items() if value is not None}
        for parameter, kept in optimizer.state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, module: Module, slots: Slots) -> None:
    """Gives the optimiser back what ``optimizer_slots`` took. Raises ``InvalidData`` when it is of other parameters."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    surplus = sorted(set(slots) - set(order))
    if surplus:
        raise InvalidData(
            f'the stored state of the optimizer is of "{surplus[0]}", which this training does not change'
        )
    state = {place: dict(slots[name]) for place, name in enumerate(order) if name in slots}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def to_store(state: TrainingState) -> tuple[dict[tuple[str, str], Tensor], dict[str, Any]]:
    """The state as tensors by parameter and slot, and a JSON document; the best weights go by the slot BEST_WEIGHTS."""
    tensors = {(name, slot): value for name, slots in state.optimizer.items() for slot, value in slots.items()}
    tensors |= {(name, BEST_WEIGHTS): value for name, value in state.best_weights.items()}
    best = None if state.best is None else asdict(state.best)
    return tensors, {"epoch": state.epoch, "schedule": dict(state.schedule), "best": best}


def from_store(tensors: Mapping[tuple[str, str], Tensor], document: Mapping[str, Any]) -> TrainingState:
    """The state that ``to_store`` took apart."""
    slots: Slots = {}
    for (name, slot), value in tensors.items():
        if slot != BEST_WEIGHTS:
            slots.setdefault(name, {})[slot] = value
    best = document["best"]
    return TrainingState(
        epoch=document["epoch"],
        optimizer=slots,
        schedule=document["schedule"],
        best=None if best is None else EpochRecord(**best),
        best_weights={name: value for (name, slot), value in tensors.items() if slot == BEST_WEIGHTS},
    )
