"""The parts of dates and times: from seconds since 1970 (UTC), or since midnight, to numbers that a network can learn
from.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from delc.features.moments import Floats

DAY = 86_400
HOUR = 3_600
_THURSDAY = 3  # 1970-01-01, counted from Monday


def linear_part(part: str, seconds: Floats) -> Floats:
    """``seconds`` or ``year`` of each moment."""
    if part == "seconds":
        return seconds
    return (_unit(_days(seconds), "Y") + 1970).astype(np.float64)


def cyclic_part(part: str, seconds: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of how far each moment is in its year, month, week, day or hour."""
    angle = 2 * math.pi * _turn(part, seconds)
    return np.sin(angle), np.cos(angle)


def _turn(part: str, seconds: Floats) -> Floats:
    """From 0 (inclusive) to 1. Months, days of the month and so on are whole steps; hours and minutes go on with the
    clock.
    """
    if part == "hour":
        return np.mod(seconds, DAY) / DAY
    if part == "minute":
        return np.mod(seconds, HOUR) / HOUR
    days = _days(seconds)
    whole: Floats
    if part == "day_of_week":
        whole = np.mod(days.astype(np.int64) + _THURSDAY, 7) / 7
    elif part == "month":
        whole = np.mod(_unit(days, "M"), 12) / 12
    elif part == "day_of_month":
        whole = (days - days.astype("datetime64[M]")).astype(np.int64) / 31
    else:
        whole = (days - days.astype("datetime64[Y]")).astype(np.int64) / 366
    return whole


def _days(seconds: Floats) -> npt.NDArray[np.datetime64]:
    return np.floor(seconds / DAY).astype(np.int64).astype("datetime64[D]")


def _unit(days: npt.NDArray[np.datetime64], unit: str) -> npt.NDArray[np.int64]:
    return days.astype(f"datetime64[{unit}]").astype(np.int64)


def default_parts(type_is_date: bool, type_is_time: bool) -> tuple[str, ...]:
    """The parts made of a column when none were asked for."""
    if type_is_time:
        return ("hour",)
    return ("seconds", "month", "day_of_week") if type_is_date else ("seconds", "month", "day_of_week", "hour")
