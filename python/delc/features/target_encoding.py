"""From packed rows to the tensors that a network's outputs are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from delc.features.array_text import parse_array
from delc.features.dictionaries import CodeTable, Ids, RaggedTable
from delc.features.layout import RowLayout, Slot
from delc.features.missing import missing_target, refuse_in_target
from delc.features.moments import Floats
from delc.server.batches import PackedBatch
from delc.server.errors import InvalidData

UNSEEN = -1
"""The code of a label that training did not see."""

_NULL = -2

BOOLEAN_LABELS = ("false", "true")
_BOOLEAN_TEXTS = {"f": "false", "t": "true"}


class TargetEncoder(Protocol):
    """Turns the batches of one read into target tensors."""

    unseen: int
    """How many labels were met so far that training did not see."""

    def encode(self, batch: PackedBatch) -> torch.Tensor:
        """The batch's targets. Raises ``InvalidData`` naming row and column for NULLs and the like."""


class ClassEncoder:
    """Labels as int64 codes, read as whole numbers or by their texts, whichever the layout says."""

    def __init__(self, labels: Sequence[str], boolean: bool, layout: RowLayout) -> None:
        self.unseen = 0
        self._slot = layout.target[0]
        self._by_text = layout.pack.columns[self._slot.column].kind == "category"
        codes = {label: code for code, label in enumerate(labels)}
        if self._by_text:
            self._table = CodeTable(
                lambda text: codes.get(_BOOLEAN_TEXTS.get(text, text) if boolean else text, UNSEEN), _NULL
            )
            return
        values = [BOOLEAN_LABELS.index(label) if boolean else int(label) for label in labels]
        order = np.argsort(values)
        self._values: Ids = np.array(values, dtype=np.int64)[order]
        self._codes: Ids = order.astype(np.int64)

    def encode(self, batch: PackedBatch) -> torch.Tensor:
        """Codes, int64 (rows,)."""
        found = self._of_texts(batch) if self._by_text else self._of_numbers(batch)
        if len(found) and found.min() < 0:
            self.unseen += int((found < 0).sum())
        return torch.from_numpy(found)

    def _of_numbers(self, batch: PackedBatch) -> Ids:
        refuse_in_target(batch, [self._slot])
        numbers = batch.groups[self._slot.group][:, self._slot.offset]
        places = np.minimum(np.searchsorted(self._values, numbers), len(self._values) - 1)
        return np.where(self._values[places] == numbers, self._codes[places], UNSEEN)

    def _of_texts(self, batch: PackedBatch) -> Ids:
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        found = self._table.take(codes, batch.dictionaries.get(self._slot.column, []))
        refuse_null_codes(batch, self._slot, codes)
        return found


class FlagEncoder:
    """Columns, or one array, of 0 and 1 as float32 (rows, labels)."""

    def __init__(self, labels: int, layout: RowLayout) -> None:
        self.unseen = 0
        self._labels = labels
        self._slots = layout.target

    def encode(self, batch: PackedBatch) -> torch.Tensor:
        """0 and 1, float32 (rows, labels)."""
        values = target_numbers(batch, self._slots, self._labels)
        refuse_other_than_flags(batch, self._slots, values)
        return torch.from_numpy(values.astype(np.float32))


class NameEncoder:
    """Arrays of label names as float32 (rows, labels)."""

    def __init__(self, labels: Sequence[str], layout: RowLayout) -> None:
        self.unseen = 0
        self._labels = len(labels)
        self._slot = layout.target[0]
        places = {label: place for place, label in enumerate(labels)}
        self._table = RaggedTable(
            lambda text: np.array([places.get(name, UNSEEN) for name in label_names(text, self._slot)], dtype=np.int32)
        )

    def encode(self, batch: PackedBatch) -> torch.Tensor:
        """0 and 1, float32 (rows, labels)."""
        codes = batch.groups[self._slot.group][:, self._slot.offset]
        refuse_null_codes(batch, self._slot, codes)
        rows, _, places = self._table.take(codes, batch.dictionaries.get(self._slot.column, []))
        known = places >= 0
        self.unseen += int(len(known) - known.sum())
        out = np.zeros((batch.rows, self._labels), dtype=np.float32)
        out[rows[known], places[known]] = 1
        return torch.from_numpy(out)


class NumberEncoder:
    """Numbers as float32 (rows, outputs), standardised."""

    def __init__(self, center: Floats, scale: Floats, layout: RowLayout) -> None:
        self.unseen = 0
        self._center, self._scale = center, scale
        self._slots = layout.target

    def encode(self, batch: PackedBatch) -> torch.Tensor:
        """(value - center) / scale, float32 (rows, outputs)."""
        values = target_numbers(batch, self._slots, len(self._center))
        with np.errstate(over="ignore"):
            return torch.from_numpy(((values - self._center) / self._scale).astype(np.float32))


def target_numbers(batch: PackedBatch, slots: Sequence[Slot], outputs: int | None = None) -> Floats:
    """The target's numbers, float64 (rows, outputs), in the order of the target's columns; NULL and NaN are refused."""
    refuse_in_target(batch, slots)
    group = batch.groups[slots[0].group]
    values = group if len(slots) == 1 else group[:, [slot.offset for slot in slots]]
    if outputs is not None and batch.rows and values.shape[1] != outputs:
        raise InvalidData(
            f'target column "{slots[0].name}" has {values.shape[1]} elements, but {outputs} are expected',
            hint="Give arrays of the length that the model was trained with.",
        )
    return values if batch.rows else np.empty((0, outputs or math.prod(values.shape[1:])))


def refuse_other_than_flags(batch: PackedBatch, slots: Sequence[Slot], values: npt.NDArray[np.float64]) -> None:
    """Raise ``InvalidData`` unless all values are 0 or 1."""
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        row, place = (int(index) for index in np.argwhere(wrong)[0])
        slot = slots[place] if len(slots) > 1 else slots[0]
        raise InvalidData(
            f'target column "{slot.name}" has the value {values[row, place]:g} in row {batch.first_row + row + 1}',
            detail="Labels are present (1, true) or not (0, false).",
            hint="Use task => 'regression' to predict numbers.",
        )


def refuse_null_codes(batch: PackedBatch, slot: Slot, codes: npt.NDArray[np.int32]) -> None:
    """Raise ``InvalidData`` for NULLs among labels read by their text."""
    if len(codes) and codes.min() < 0:
        nulls = np.flatnonzero(codes < 0)
        raise missing_target(batch, slot, "NULL", len(nulls), int(nulls[0]))


def label_names(text: str, slot: Slot) -> list[str]:
    """The label names in the text of an array. Raises ``InvalidData`` for NULLs among them and for arrays of arrays."""
    try:
        names = parse_array(text)
    except ValueError:
        names = [None]
    if None in names:
        raise InvalidData(
            f'target column "{slot.name}" has the value {text:.100}, which is not a list of label names',
            hint="Use arrays of one dimension without NULLs; array_remove(labels, NULL) takes them out.",
        )
    return [name for name in names if name is not None]
