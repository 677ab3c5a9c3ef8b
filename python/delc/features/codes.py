"""From the texts of a categorical column to places in its one-hot block or rows of its embedding."""

from __future__ import annotations

import numpy as np

from delc.features.dictionaries import CodeTable, Ids
from delc.features.fitted_columns import FittedCategories
from delc.features.layout import Slot
from delc.features.missing import missing_values
from delc.server.batches import PackedBatch
from delc.server.errors import InvalidData, nearest

NOWHERE = -1
"""The place of a value that has none: all zeros."""

_UNSEEN, _NULL = -2, -3


class CategoryCodes:
    """Looks up each row's place."""

    def __init__(self, column: FittedCategories, slot: Slot) -> None:
        self._column = column
        self._slot = slot
        first = 1 if column.embedded else 0
        self._places = {value: first + place for place, value in enumerate(column.vocabulary)}
        self._unseen = self._place_of_unseen()
        self._table = CodeTable(lambda text: self._places.get(text, self._unseen), self._place_of_null(first))

    def _place_of_unseen(self) -> int:
        if self._column.settings.unseen == "error":
            return _UNSEEN
        if self._column.embedded:
            return 0
        return self._column.size - 1 if self._column.unknown else NOWHERE

    def _place_of_null(self, first: int) -> int:
        policy = self._column.settings.missing
        if policy == "category":
            return first + len(self._column.vocabulary)
        return self._places[self._column.fill] if self._column.fill is not None else _NULL

    def take(self, batch: PackedBatch) -> Ids:
        """The place of each row, int64 (rows,). Raises for unseen values and NULLs where the column's policies say
        so.
        """
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        places = self._table.take(codes, batch.dictionaries.get(self._slot.column, []))
        if len(places) and places.min() < NOWHERE:
            self._refuse(batch, places)
        return places

    def _refuse(self, batch: PackedBatch, places: Ids) -> None:
        nulls = np.flatnonzero(places == _NULL)
        if len(nulls):
            raise missing_values(batch, self._slot, "NULL", len(nulls), int(nulls[0]), self._column.planned, False)
        row = int(np.flatnonzero(places == _UNSEEN)[0])
        value = batch.dictionaries[self._slot.column][batch.groups[self._slot.group][row, self._slot.offset]]
        near = nearest(value, self._column.vocabulary[:10_000])
        known = len(self._column.vocabulary)
        raise InvalidData(
            f'{self._slot.title} has the value "{value}", which training did not see, '
            f"in row {batch.first_row + row + 1}",
            detail=f"Training saw {known} different value{'s' if known != 1 else ''}.",
            hint=(f'Did you mean "{near}"? ' if near else "")
            + 'To let unseen values share one place, train with {"unseen": "unknown"}.',
        )
