"""From moments to what is taken off a number and what the rest is divided by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from delc.features.moments import Floats, RunningMoments
from delc.server.errors import InvalidData


def center_and_scale(
    moments: RunningMoments, standardize: str, names: Sequence[str], unit: float = 1.0
) -> tuple[Floats, Floats]:
    """What is taken off each value and what the rest is divided by.

    ``names`` of the columns, one per column or one for all, are for the error when a spread is not a finite number.
    A constant column has the scale ``unit``, so that it becomes 0 and not NaN; without standardising that is the
    scale of all.
    """
    if standardize == "none":
        return np.zeros(len(moments.mean)), np.full(len(moments.mean), unit)
    with np.errstate(over="ignore", invalid="ignore"):
        if standardize == "minmax":
            some = moments.count > 0
            center = np.where(some, moments.low, 0.0)
            scale = np.where(some, moments.high - moments.low, 0.0)
        else:
            center, scale = moments.mean, moments.deviation()
        noise = 10 * np.finfo(np.float64).eps * np.abs(center)
        scale = np.where(scale <= noise, unit, scale)
    too_large = np.flatnonzero(~(np.isfinite(center) & np.isfinite(scale)))
    if len(too_large):
        name = names[too_large[0]] if len(names) > 1 else names[0]
        raise InvalidData(
            f'the numbers of column "{name}" are too large: their variance is not a finite number',
            hint="Bring the column to a smaller range in the query, for example with ln().",
        )
    return center, scale


def frozen(values: Floats) -> Floats:
    """A copy that cannot be written to."""
    values = values.copy()
    values.flags.writeable = False
    return values
