"""The target of a training that goes on from another model's weights.

Where the rows have no other labels or outputs than the model, its codes and scales stay, so that its last layer keeps
its meaning. Otherwise the target is another one.

Numbers that come as one array have places, no names: they are the model's outputs where they are as many. So are those
of a model that was imported without saying what its outputs are called, by the names that the rows give them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from delc.features.fitted_target import IMPORTED, Classification, FittedTarget, Multilabel, Regression
from delc.features.numbered import Labels, places, unnamed
from delc.features.target_plan import NUMBERS


def continue_target(known: FittedTarget, fitted: FittedTarget) -> FittedTarget:
    """``fitted``, which is that of the rows, with what ``known`` learned where both mean the same outputs."""
    if isinstance(known, Classification) and isinstance(fitted, Classification):
        if set(fitted.labels) <= set(known.labels) and fitted.reading == known.reading:
            counts = known.counts if set(fitted.labels) < set(known.labels) else _in_order(known.labels, fitted)
            return replace(fitted, labels=known.labels, counts=tuple(counts))
    elif isinstance(known, Multilabel) and isinstance(fitted, Multilabel) and known.reading == fitted.reading:
        if fitted.reading == NUMBERS:
            return replace(fitted, labels=_common_labels(known, fitted) or fitted.labels)
        if set(fitted.labels) <= set(known.labels):
            return replace(fitted, labels=known.labels, counts=tuple(_in_order(known.labels, fitted)))
    elif isinstance(known, Regression) and isinstance(fitted, Regression):
        labels = _common_labels(known, fitted)
        if labels is not None:
            return replace(fitted, labels=labels, center=known.center, scale=known.scale)
    return fitted


def has_same_outputs(known: FittedTarget, other: FittedTarget) -> bool:
    """Whether a last layer made for one target means the same with the other."""
    if isinstance(known, Regression) and isinstance(other, Regression):
        same_scale = known.outputs == other.outputs and (known.center == other.center).all()
        return bool(same_scale and (known.scale == other.scale).all() and _common_labels(known, other) is not None)
    if isinstance(known, Multilabel) and isinstance(other, Multilabel) and known.reading == other.reading == NUMBERS:
        return _common_labels(known, other) is not None
    return known.task == other.task and known.labels == other.labels


def _common_labels(known: FittedTarget, other: FittedTarget) -> Labels | None:
    """What the outputs are called in both, one by one; None where they are not the same."""
    if known.outputs != other.outputs:
        return None
    if tuple(known.labels) == tuple(other.labels) or tuple(other.labels) == tuple(places(other.outputs)):
        return known.labels
    if known.reason == IMPORTED and tuple(known.labels) == tuple(unnamed(known.task, known.outputs)):
        return other.labels
    return None


def _in_order(labels: Sequence[str], fitted: Classification | Multilabel) -> list[int]:
    counts = dict(zip(fitted.labels, fitted.counts, strict=True))
    return [counts.get(label, 0) for label in labels]
