"""NULLs, NaNs and infinities in number columns: refused with an error that names them, unless the column has a policy
for what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from delc.features.columns import PlannedColumn
from delc.features.layout import RowLayout, Slot
from delc.server.batches import ColumnProblem, PackedBatch
from delc.server.errors import InvalidData

_POLICIES = {
    "numeric": "mean, zero, most_frequent",
    "boolean": "mean, zero, most_frequent",
    "categorical": "category, most_frequent",
    "datetime": "mean, most_frequent",
    "array": "mean, zero",
    "image": "zero",
    "text": "empty",
    "tokens": "zero",
}


class MissingValues:
    """Looks at the problems that the packer met in a batch."""

    def __init__(self, features: Sequence[PlannedColumn], layout: RowLayout, fitting: bool) -> None:
        self._watched: dict[int, list[tuple[PlannedColumn, Slot]]] = {}
        for feature in features:
            if feature.kind not in ("categorical", "text"):
                slot = layout.slots[feature.name]
                self._watched.setdefault(slot.column, []).append((feature, slot))
        self._fitting = fitting

    def check(self, batch: PackedBatch) -> bool:
        """Raise ``InvalidData`` for what no policy covers; say whether anything is left to be filled in."""
        found = False
        for problem in batch.problems:
            if not (problem.nulls or problem.nonfinite):
                continue
            watched = self._watched.get(problem.column, [])
            for feature, slot in watched:
                of_feature = problem if len(watched) == 1 else _of_element(batch, problem, slot)
                found |= self._check_feature(batch, of_feature, feature, slot)
        return found

    def _check_feature(self, batch: PackedBatch, problem: ColumnProblem, feature: PlannedColumn, slot: Slot) -> bool:
        if not (problem.nulls or problem.nonfinite):
            return False
        if feature.settings.missing == "error":
            what = ("NULL", problem.nulls, problem.first_null_row)
            if not problem.nulls:
                what = ("NaN or infinite", problem.nonfinite, problem.first_nonfinite_row)
            raise missing_values(batch, slot, *what, feature, self._fitting)
        if problem.nonfinite:
            _refuse_infinite(batch, slot, feature)
        return True


def _of_element(batch: PackedBatch, problem: ColumnProblem, slot: Slot) -> ColumnProblem:
    """A column's problem as far as it concerns one of the features that its array holds."""
    values = batch.groups[slot.group][:, slot.offset]
    missing, infinite = np.flatnonzero(np.isnan(values)), np.flatnonzero(np.isinf(values))
    first_missing = int(missing[0]) if len(missing) else 0
    first_infinite = int(infinite[0]) if len(infinite) else 0
    return ColumnProblem(problem.column, len(missing), first_missing, len(infinite), first_infinite)


def missing_values(
    batch: PackedBatch, slot: Slot, what: str, count: int, first: int, feature: PlannedColumn, fitting: bool
) -> InvalidData:
    """The error for missing values where no policy was chosen. ``first`` counts from 0 within the batch."""
    policies = _POLICIES[feature.kind]
    one = policies.split(",")[0]
    policy = f'{{"{feature.name}": {{"missing": "{one}"}}}}'
    if fitting:
        hint = f"Leave these rows out, or choose what stands in for them ({policies}): {policy}."
    else:
        hint = f"Give values, leave these rows out, or train with a policy for them ({policies}): {policy}."
    return InvalidData(
        f"{slot.title} has {_counted(count, what)}, the first in row {batch.first_row + first + 1}",
        detail=_span(batch),
        hint=hint,
    )


def refuse_in_target(batch: PackedBatch, slots: Sequence[Slot]) -> None:
    """Raise ``InvalidData`` when a number column of the target has a NULL or a number that is not finite."""
    columns = {slot.column: slot for slot in slots}
    for problem in batch.problems:
        if problem.column not in columns:
            continue
        slot = columns[problem.column]
        if problem.nulls:
            raise missing_target(batch, slot, "NULL", problem.nulls, problem.first_null_row)
        if problem.nonfinite:
            raise missing_target(batch, slot, "NaN or infinite", problem.nonfinite, problem.first_nonfinite_row)


def missing_target(batch: PackedBatch, slot: Slot, what: str, count: int, first: int) -> InvalidData:
    """The error for targets that are missing. ``first`` counts from 0 within the batch."""
    test = f"{slot.name} IS NOT NULL" if what == "NULL" else f"{slot.name} is finite"
    return InvalidData(
        f'target column "{slot.name}" has {_counted(count, what)}, the first in row {batch.first_row + first + 1}',
        detail=_span(batch),
        hint=f"Use only the rows where {test}.",
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what} value{'s' if count != 1 else ''}"


def _span(batch: PackedBatch) -> str:
    return f"That is among rows {batch.first_row + 1} to {batch.first_row + batch.rows}, counted from 1."


def _refuse_infinite(batch: PackedBatch, slot: Slot, feature: PlannedColumn) -> None:
    values = batch.groups[slot.group]
    if feature.kind in ("numeric", "boolean", "datetime"):
        values = values[:, slot.offset : slot.offset + 1]
    rows = np.flatnonzero(np.isinf(values).any(axis=1)) if values.dtype.kind == "f" else np.empty(0, dtype=np.int64)
    if len(rows):
        raise InvalidData(
            f"{slot.title} has {_counted(len(rows), 'infinite')}, "
            f"the first in row {batch.first_row + int(rows[0]) + 1}",
            detail=_span(batch),
            hint="Policies for missing values cover NULL and NaN only: leave these rows out.",
        )
