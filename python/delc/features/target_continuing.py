"""The target of a training that goes on from another model's weights.

Where the rows have no other labels or outputs than the model, its codes and scales stay, so that its last layer keeps
its meaning. Otherwise the target is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from delc.features.fitted_target import Classification, FittedTarget, Multilabel, Regression


def continue_target(known: FittedTarget, fitted: FittedTarget) -> FittedTarget:
    """``fitted``, which is that of the rows, with what ``known`` learned where both mean the same outputs."""
    if isinstance(known, Classification) and isinstance(fitted, Classification):
        if set(fitted.labels) <= set(known.labels) and fitted.reading == known.reading:
            counts = known.counts if set(fitted.labels) < set(known.labels) else _in_order(known.labels, fitted)
            return replace(fitted, labels=known.labels, counts=tuple(counts))
    elif isinstance(known, Multilabel) and isinstance(fitted, Multilabel):
        if set(fitted.labels) <= set(known.labels) and fitted.reading == known.reading:
            return replace(fitted, labels=known.labels, counts=tuple(_in_order(known.labels, fitted)))
    elif isinstance(known, Regression) and isinstance(fitted, Regression) and fitted.labels == known.labels:
        return replace(fitted, center=known.center, scale=known.scale)
    return fitted


def has_same_outputs(known: FittedTarget, other: FittedTarget) -> bool:
    """Whether a last layer made for one target means the same with the other."""
    if known.task != other.task or known.labels != other.labels:
        return False
    if isinstance(known, Regression) and isinstance(other, Regression):
        return bool((known.center == other.center).all() and (known.scale == other.scale).all())
    return True


def _in_order(labels: Sequence[str], fitted: Classification | Multilabel) -> list[int]:
    counts = dict(zip(fitted.labels, fitted.counts, strict=True))
    return [counts.get(label, 0) for label in labels]
