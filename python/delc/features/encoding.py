"""From packed rows to the tensors that a network reads.

An encoder is made once per read: it resolves columns to places in the batch, options to steps and statistics to
arrays of the right form, so that a batch only runs the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from delc.features.codes import CategoryCodes
from delc.features.dictionaries import RaggedTable
from delc.features.fitted_columns import (
    FIRST_WORD,
    PADDING,
    UNKNOWN_WORD,
    FittedArray,
    FittedCategories,
    FittedColumn,
    FittedMoment,
    FittedNumber,
    FittedText,
    FittedTokens,
)
from delc.features.layout import RowLayout, Slot
from delc.features.missing import MissingValues, missing_values
from delc.features.parts import ArrayPart, MomentPart, NumbersPart, OneHotPart, Part, check_shape
from delc.features.words import words
from delc.server.batches import PackedBatch
from delc.server.errors import InvalidData

Step = Callable[[PackedBatch, bool], torch.Tensor]


class FeatureEncoder:
    """Turns the batches of one read into tensors."""

    def __init__(self, inputs: Mapping[str, tuple[FittedColumn, ...]], layout: RowLayout) -> None:
        self._missing = MissingValues(
            [column.planned for columns in inputs.values() for column in columns], layout, fitting=False
        )
        self._steps = [(name, _step(columns, layout.slots)) for name, columns in inputs.items()]

    def encode(self, batch: PackedBatch) -> dict[str, torch.Tensor]:
        """Each input's tensor: float32 or int64, (rows, *shape) as ``FittedFeatures.input_specs`` says.

        An array that needs no change comes back as a view on the batch's own memory: do not write into it.
        Raises ``InvalidData`` naming row (counted from 1 over the whole read), column and value.
        """
        fill = self._missing.check(batch) if batch.problems else False
        return {name: step(batch, fill) for name, step in self._steps}


def _step(columns: tuple[FittedColumn, ...], slots: Mapping[str, Slot]) -> Step:
    first = columns[0]
    slot = slots[first.planned.name]
    if isinstance(first, FittedText):
        return _texts(first, slot)
    if isinstance(first, FittedTokens):
        return _tokens(first, slot)
    if isinstance(first, FittedCategories) and first.embedded:
        codes = CategoryCodes(first, slot)
        return lambda batch, fill: torch.from_numpy(codes.take(batch))
    if isinstance(first, FittedArray) and len(columns) == 1:
        return _lone_array(first, slot)
    return _side_by_side(_parts(columns, slots))


def _parts(columns: tuple[FittedColumn, ...], slots: Mapping[str, Slot]) -> list[Part]:
    numbers = [column for column in columns if isinstance(column, FittedNumber)]
    parts: list[Part] = []
    if numbers:
        parts.append(NumbersPart(numbers, [slots[column.planned.name] for column in numbers]))
    for column in columns:
        slot = slots[column.planned.name]
        if isinstance(column, FittedMoment):
            parts.append(MomentPart(column, slot))
        elif isinstance(column, FittedCategories):
            parts.append(OneHotPart(column, slot))
        elif isinstance(column, FittedArray):
            parts.append(ArrayPart(column, slot))
    return parts


def _side_by_side(parts: list[Part]) -> Step:
    width = sum(part.width for part in parts)

    def step(batch: PackedBatch, fill: bool) -> torch.Tensor:
        out = np.empty((batch.rows, width), dtype=np.float32)
        start = 0
        for part in parts:
            part.write(batch, fill, out[:, start : start + part.width])
            start += part.width
        return torch.from_numpy(out)

    return step


def _lone_array(column: FittedArray, slot: Slot) -> Step:
    part = ArrayPart(column, slot)
    shape = column.shape
    flat = len(shape) == 1

    def step(batch: PackedBatch, fill: bool) -> torch.Tensor:
        result = part.as_is(batch, fill)
        if result is None or not batch.rows:
            out = np.empty((batch.rows, part.width), dtype=np.float32)
            part.write(batch, fill, out)
            result = torch.from_numpy(out)
        return result if flat else result.view(batch.rows, *shape)

    return step


def _texts(column: FittedText, slot: Slot) -> Step:
    ids = {word: FIRST_WORD + place for place, word in enumerate(column.vocabulary)}
    length = column.length

    def ids_of(text: str) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array([ids.get(word, UNKNOWN_WORD) for word in words(text)[:length]], dtype=np.int32)

    table = RaggedTable(ids_of)
    refuses_null = column.planned.settings.missing == "error"

    def step(batch: PackedBatch, fill: bool) -> torch.Tensor:
        codes = batch.groups[slot.group][:, slot.offset]
        if refuses_null and batch.rows and codes.min() < 0:
            nulls = np.flatnonzero(codes < 0)
            raise missing_values(batch, slot, "NULL", len(nulls), int(nulls[0]), column.planned, False)
        out = np.full((batch.rows, length), PADDING, dtype=np.int64)
        rows, positions, tokens = table.take(codes, batch.dictionaries.get(slot.column, []))
        out[rows, positions] = tokens
        return torch.from_numpy(out)

    return step


def _tokens(column: FittedTokens, slot: Slot) -> Step:
    shape, size = column.shape, column.size

    def step(batch: PackedBatch, fill: bool) -> torch.Tensor:
        values = batch.groups[slot.group]
        if not batch.rows:
            return torch.empty((0, *shape), dtype=torch.int64)
        if batch.shapes[slot.group] != shape:
            check_shape(batch, slot, batch.shapes[slot.group], shape)
        if values.min() < 0 or values.max() >= size:
            raise token_out_of_range(batch, slot, size)
        return torch.from_numpy(values if values.flags.writeable else values.copy()).view(batch.rows, *shape)

    return step


def token_out_of_range(batch: PackedBatch, slot: Slot, size: int) -> InvalidData:
    """The error for a token id that the embedding has no row for."""
    values = batch.groups[slot.group]
    row, place = (int(index) for index in np.argwhere((values < 0) | (values >= size))[0])
    return InvalidData(
        f"{slot.title} has the token {int(values[row, place])} in row {batch.first_row + row + 1}",
        detail=f"Tokens run from 0 to {size - 1}.",
        hint='Give the number of tokens when training: {"kind": "tokens", "size": …}.',
    )
