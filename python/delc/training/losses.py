"""Losses by task, and the weights of classes in them.

A loss is built as a function (logits, target) → scalar: the mean over rows (and outputs). Shapes and types:

* classification: logits (rows, labels), target (rows,) int64 codes
* multilabel: logits (rows, labels), target (rows, labels) float, 0 or 1
* regression: outputs (rows, outputs), target the same shape, float
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from delc.server.errors import InvalidParameter, unknown
from delc.training.arguments import Argument, choice, decode, mapping, number, refuse

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

TASKS = ("classification", "multilabel", "regression")

_SMOOTHING = Argument(number(low=0, below=1), 0.0)
_GAMMA = Argument(number(low=0), 2.0)

LOSSES: dict[str, dict[str, dict[str, Argument]]] = {
    "classification": {"cross_entropy": {"label_smoothing": _SMOOTHING}, "focal": {"gamma": _GAMMA}},
    "multilabel": {"bce": {}, "focal": {"gamma": _GAMMA}},
    "regression": {
        "mse": {},
        "mae": {},
        "huber": {"delta": Argument(number(above=0), 1.0)},
        "smooth_l1": {"beta": Argument(number(above=0), 1.0)},
    },
}
"""Task → loss → its arguments. The first loss of a task is its default."""


def read_loss(task: str, value: Any) -> dict[str, Any]:
    """The loss that a user chose (None: the task's default) as {"name": …, every argument}."""
    known = LOSSES[task]
    if value is None:
        value = next(iter(known))
    value = decode("loss", value)
    name = value.get("name") if isinstance(value, Mapping) else value
    if isinstance(name, str) and name not in known and any(name in losses for losses in LOSSES.values()):
        raise InvalidParameter(f'loss "{name}" is not for {task}', detail=f"Losses for it: {', '.join(known)}.")
    return choice("loss", value, known)


def build_loss(task: str, loss: Mapping[str, Any], weights: Tensor | None = None) -> Loss:
    """The loss function of a task.

    ``loss`` is what ``read_loss`` gave. ``weights`` (labels,) weigh the classes (classification) or the positive
    rows of each label (multilabel); the mean over rows is then the weighted one for classification, as in
    ``torch.nn.CrossEntropyLoss``. Focal loss: Lin et al., "Focal Loss for Dense Object Detection" (2017).
    """
    arguments = {key: value for key, value in loss.items() if key != "name"}
    builders: dict[tuple[str, str], Callable[..., Loss]] = {
        ("classification", "cross_entropy"): _cross_entropy,
        ("classification", "focal"): _focal,
        ("multilabel", "bce"): _binary_cross_entropy,
        ("multilabel", "focal"): _binary_focal,
    }
    if task != "regression":
        return builders[task, loss["name"]](weights, **arguments)
    functions: dict[str, Callable[..., Tensor]] = {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
        "smooth_l1": functional.smooth_l1_loss,
    }
    function = functions[loss["name"]]
    return lambda output, target: function(output, target, **arguments)


def read_class_weights(task: str, value: Any) -> str | dict[str, float] | list[float] | None:
    """The class weights that a user chose: None, 'balanced', {label: weight} or one weight per label, checked."""
    weight = number(above=0)
    if value is None:
        return None
    if task == "regression":
        raise InvalidParameter("class_weights are given, but the task is regression, which has no classes")
    if value == "balanced":
        return "balanced"
    if isinstance(value, list | tuple):
        return [weight(f"class_weights[{position}]", entry) for position, entry in enumerate(value)]
    if isinstance(value, Mapping) or (isinstance(value, str) and value.lstrip().startswith("{")):
        given = mapping("class_weights", value)
        return {label: weight(f'class_weights of label "{label}"', entry) for label, entry in given.items()}
    raise refuse("class_weights", value, '"balanced", an object {label: weight} or a list of weights')


def class_weight_tensor(
    task: str,
    chosen: str | Mapping[str, float] | Sequence[float] | None,
    labels: Sequence[str],
    counts: Sequence[int],
    rows: int,
) -> Tensor | None:
    """The weights (labels,) float32 for ``build_loss``, from what the user chose and the training rows.

    ``counts`` are the training rows with each label, ``rows`` all of them. 'balanced' gives a class
    rows / (labels · count), as scikit-learn does, and a label of a multilabel task (rows − count) / count, so that its
    positive and negative rows weigh the same; a label without rows weighs 1. In a mapping, labels not named weigh 1.
    """
    if chosen is None:
        return None
    if chosen == "balanced":
        return torch.tensor(_balanced(task, counts, rows), dtype=torch.float32)
    if isinstance(chosen, Mapping):
        for label in chosen:
            if label not in labels:
                raise unknown("label", label, labels, kind=InvalidParameter, where="in class_weights")
        return torch.tensor([chosen.get(label, 1.0) for label in labels], dtype=torch.float32)
    if len(chosen) != len(labels):
        raise InvalidParameter(
            f"class_weights has {len(chosen)} weights, but there are {len(labels)} labels",
            detail=f"Labels in order: {', '.join(labels[:20])}.",
        )
    return torch.tensor([float(weight) for weight in chosen], dtype=torch.float32)


def _balanced(task: str, counts: Sequence[int], rows: int) -> list[float]:
    if task == "multilabel":
        # A label that every row has leaves nothing to balance it with.
        return [(rows - count) / count if 0 < count < rows else 1.0 for count in counts]
    return [rows / (len(counts) * count) if count > 0 else 1.0 for count in counts]


def _cross_entropy(weights: Tensor | None, label_smoothing: float) -> Loss:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(logits, target, weight=weights, label_smoothing=label_smoothing)

    return loss


def _focal(weights: Tensor | None, gamma: float) -> Loss:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        cross_entropy = functional.cross_entropy(logits, target, reduction="none")
        value = (1 - torch.exp(-cross_entropy)).pow(gamma) * cross_entropy
        if weights is None:
            return value.mean()
        row_weights = weights[target]
        return (value * row_weights).sum() / row_weights.sum()

    return loss


def _binary_cross_entropy(weights: Tensor | None) -> Loss:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weights)

    return loss


def _binary_focal(weights: Tensor | None, gamma: float) -> Loss:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        plain = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        value = (1 - torch.exp(-plain)).pow(gamma) * plain
        if weights is not None:
            value = value * torch.where(target > 0.5, weights, torch.ones_like(weights))
        return value.mean()

    return loss
