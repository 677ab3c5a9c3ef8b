"""NULLs, NaNs and infinities in number columns: refused with an error that names them, unless the column has a policy
for what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        by_number = (feature for feature in features if feature.kind not in ("categorical", "text"))
        self._watched: Mapping[int, tuple[PlannedColumn, Slot]] = {
            layout.slots[feature.name].column: (feature, layout.slots[feature.name]) for feature in by_number
        }
        self._fitting = fitting

    def check(self, batch: PackedBatch) -> bool:
        """Raise ``InvalidData`` for what no policy covers; say whether anything is left to be filled in."""
        found = False
        for problem in batch.problems:
            if problem.column not in self._watched or not (problem.nulls or problem.nonfinite):
                continue
            feature, slot = self._watched[problem.column]
            if feature.settings.missing == "error":
                raise self._refusal(batch, problem, feature, slot)
            if problem.nonfinite:
                _refuse_infinite(batch, slot, feature)
            found = True
        return found

    def _refusal(self, batch: PackedBatch, problem: ColumnProblem, feature: PlannedColumn, slot: Slot) -> InvalidData:
        if problem.nulls:
            return missing_values(batch, slot, "NULL", problem.nulls, problem.first_null_row, feature, self._fitting)
        return missing_values(
            batch, slot, "NaN or infinite", problem.nonfinite, problem.first_nonfinite_row, feature, self._fitting
        )


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
        f'column "{slot.name}" has {_counted(count, what)}, the first in row {batch.first_row + first + 1}',
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
            f'column "{slot.name}" has {_counted(len(rows), "infinite")}, '
            f"the first in row {batch.first_row + int(rows[0]) + 1}",
            detail=_span(batch),
            hint="Policies for missing values cover NULL and NaN only: leave these rows out.",
        )
