"""How long getting a snapshot back may take: for each class of snapshots, a multiple of the shortest time possible or
milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from delc.archive.scope import Snapshot
from delc.server.errors import InvalidParameter, unknown

CLASSES = ("latest", "tagged", "used", "other")
"""A snapshot has the first of the classes that fits and has a budget: the one that the newest version of its model
predicts with, one with an alias, one that a run read in the last 30 days, any other."""

MOST = 1e15
"""Milliseconds, or times the shortest: more is no bound."""

DEFAULT = 2.0
"""Times the shortest: about where the paper's plans come within a few per cent of the least storage."""


@dataclass(frozen=True)
class Budget:
    """A factor on the shortest time, or a time in milliseconds."""

    factor: float | None = None
    milliseconds: float | None = None

    def of(self, shortest: float) -> float:
        """The time allowed to what takes ``shortest`` at least, in milliseconds."""
        if self.milliseconds is not None:
            return self.milliseconds
        assert self.factor is not None
        return self.factor * shortest


def parse(document: Any) -> dict[str, Budget]:
    """Budgets from what the user gave: one number (a factor for all), or {"latest": 1.2, "other": {"milliseconds":
    50}}.
    """
    if document is None:
        return {"other": Budget(factor=DEFAULT)}
    if isinstance(document, Mapping) and "milliseconds" not in document:
        for name in document:
            if name not in CLASSES:
                raise unknown("class of snapshots", name, CLASSES)
        found = {name: _budget(value) for name, value in document.items()}
        return {"other": Budget(factor=DEFAULT), **found}
    return {"other": _budget(document)}


def allowed(
    budgets: Mapping[str, Budget], snapshots: Sequence[Snapshot], newest: frozenset[int], shortest: Sequence[float]
) -> npt.NDArray[np.float64]:
    """The time allowed for each snapshot, in milliseconds (snapshots,). ``newest``: ids of models' newest versions."""
    chosen = [budgets[_class(snapshot, budgets, newest)] for snapshot in snapshots]
    return np.array([budget.of(least) for budget, least in zip(chosen, shortest, strict=True)], dtype=np.float64)


def _class(snapshot: Snapshot, budgets: Mapping[str, Budget], newest: frozenset[int]) -> str:
    fitting = {
        "latest": snapshot.is_latest and snapshot.version_id in newest,
        "tagged": snapshot.is_tagged,
        "used": snapshot.is_used,
    }
    return next((name for name, fits in fitting.items() if fits and name in budgets), "other")


def _budget(value: Any) -> Budget:
    if isinstance(value, Mapping) and set(value) == {"milliseconds"}:
        time = value["milliseconds"]
        if _is_number(time) and 0 < time <= MOST:
            return Budget(milliseconds=float(time))
    elif _is_number(value) and 1 <= value <= MOST:
        return Budget(factor=float(value))
    raise InvalidParameter(
        f"{str(value)[:100]} is no budget",
        detail='A budget is a factor of at least 1 on the shortest time, or {"milliseconds": more than 0}.',
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
