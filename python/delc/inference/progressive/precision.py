"""How much of the parameters an answer may be made from: the option ``reading``.

In SQL it is not called precision, because PostgreSQL takes no argument of that name without quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from delc.server.errors import InvalidParameter, unknown

FULL, PROGRESSIVE, PLANES, PROBABLE = "full", "progressive", "planes", "probable"

MOST_PLANES = 8
"""A float64 has so many."""

_PLANES = re.compile(r"planes:([0-9]{1,2}(?:\.5)?)")
ALLOWED = "Allowed are 'full', 'progressive', 'probable' and 'planes:k' with k from 1 to 8 (halves such as 2.5 too)."


@dataclass(frozen=True)
class Precision:
    """``bits``: of the most significant ones, for "planes" alone."""

    kind: str
    bits: int = 0

    @property
    def full(self) -> bool:
        """Whether everything is read."""
        return self.kind == FULL


def parse(text: str | None) -> Precision:
    """The option from its text; ``InvalidParameter`` says what is allowed."""
    if text is None:
        raise InvalidParameter("reading is NULL", detail=ALLOWED, hint="Leave reading away for full precision.")
    if text in (FULL, PROGRESSIVE, PROBABLE):
        return Precision(text)
    if not text.startswith(PLANES):
        error = unknown("reading", text, (FULL, PROGRESSIVE, PROBABLE, "planes:2"), kind=InvalidParameter)
        error.detail = ALLOWED
        raise error
    found = _PLANES.fullmatch(text)
    planes = float(found[1]) if found else 0.0
    if not 1 <= planes <= MOST_PLANES:
        raise InvalidParameter(f'reading "{text}" names no number of planes', detail=ALLOWED)
    return Precision(PLANES, int(planes * 8))


def check_tolerance(tolerance: float | None) -> None:
    """Raises ``InvalidParameter`` unless it is a number above 0, or none."""
    if tolerance is not None and not 0 < tolerance < float("inf"):
        raise InvalidParameter(
            f"tolerance is {tolerance:g}",
            detail="It is how far a certified number may be from that of full precision: a finite number above 0.",
            hint="Leave tolerance away to have numbers in full precision.",
        )
