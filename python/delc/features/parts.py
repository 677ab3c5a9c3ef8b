"""The parts that a float input is made of: each writes its numbers into its places of a batch's tensor.

What can be known before the first batch (offsets, scales as arrays of the right shape and type, look-up tables) is
made when the part is made.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from delc.features.calendar import cyclic_part, linear_part
from delc.features.codes import CategoryCodes
from delc.features.fitted_columns import LINEAR_PARTS, FittedArray, FittedCategories, FittedMoment, FittedNumber
from delc.features.layout import Slot
from delc.features.moments import Floats
from delc.server.batches import PackedBatch
from delc.server.errors import InvalidData

_BLOCK_ELEMENTS = 32_768
"""Conversions in two steps go block by block, so that what the first step wrote is still in the cache for the second.
This many numbers torch takes in one thread: to start others for each block would cost more than the block.
"""

Output = npt.NDArray[np.float32]


class Part(Protocol):
    """Some neighbouring places of a float input."""

    width: int

    def write(self, batch: PackedBatch, fill: bool, out: Output) -> None:
        """Write the batch into ``out``, (rows, width). ``fill``: values may be missing."""


class NumbersPart:
    """Numbers and booleans, all in one float64 group."""

    def __init__(self, columns: list[FittedNumber], slots: list[Slot]) -> None:
        self.width = len(columns)
        self._slots = slots
        self._group = slots[0].group
        self._offsets = _offsets([slot.offset for slot in slots])
        self._center = np.array([column.center for column in columns])
        self._scale = np.array([column.scale for column in columns])
        self._fill = np.array([math.nan if column.fill is None else column.fill for column in columns])

    def write(self, batch: PackedBatch, fill: bool, out: Output) -> None:
        """See ``Part``."""
        values: Floats = batch.groups[self._group][:, self._offsets]
        if fill:
            values = np.where(np.isnan(values), self._fill, values)
        _scale_doubles(values, self._center, self._scale, out, batch, self._slots)


class MomentPart:
    """One date or time."""

    def __init__(self, column: FittedMoment, slot: Slot) -> None:
        self.width = column.shape[0]
        self._slot = slot
        self._column = column
        linear = [part for part in column.parts if part in LINEAR_PARTS]
        self._linear = {part: (column.center[i], column.scale[i]) for i, part in enumerate(linear)}

    def write(self, batch: PackedBatch, fill: bool, out: Output) -> None:
        """See ``Part``."""
        seconds: Floats = batch.groups[self._slot.group][:, self._slot.offset]
        if fill and self._column.fill is not None:
            seconds = np.where(np.isnan(seconds), self._column.fill, seconds)
        place = 0
        for part in self._column.parts:
            if part in self._linear:
                center, scale = self._linear[part]
                out[:, place] = (linear_part(part, seconds) - center) / scale
                place += 1
            else:
                out[:, place], out[:, place + 1] = cyclic_part(part, seconds)
                place += 2


class OneHotPart:
    """One category: 1 in the place of the row's value, 0 elsewhere."""

    def __init__(self, column: FittedCategories, slot: Slot) -> None:
        self.width = column.size
        self._codes = CategoryCodes(column, slot)

    def write(self, batch: PackedBatch, fill: bool, out: Output) -> None:
        """See ``Part``."""
        places = self._codes.take(batch)
        rows = np.flatnonzero(places >= 0)
        out[...] = 0
        out[rows, places[rows]] = 1


class ArrayPart:
    """One array or image, flattened."""

    def __init__(self, column: FittedArray, slot: Slot) -> None:
        self.width = column.elements
        self._column = column
        self._slot = slot
        self._identity = column.is_identity
        self._center = _each_element(column, column.center)
        self._scale = _each_element(column, column.scale)
        self._fill = None if column.fill is None else _each_element(column, column.fill)
        with np.errstate(over="ignore"):
            self._factor = torch.from_numpy((1 / self._scale).astype(np.float32))
            self._shift = torch.from_numpy((-self._center / self._scale).astype(np.float32))

    def values(self, batch: PackedBatch, fill: bool) -> npt.NDArray[Any]:
        """The batch's values as they are, (rows, width), what is missing filled in. Raises when their number or shape
        is another.
        """
        values = batch.groups[self._slot.group]
        shape = batch.shapes[self._slot.group]
        if shape != self._column.shape and batch.rows:
            check_shape(batch, self._slot, shape, self._column.shape)
        if fill and self._fill is not None and values.dtype.kind == "f":
            values = np.where(np.isnan(values), self._fill.astype(values.dtype), values)
        return values

    def as_is(self, batch: PackedBatch, fill: bool) -> torch.Tensor | None:
        """The batch's own memory as a tensor (rows, width), where it needs no change; otherwise None."""
        if not self._identity:
            return None
        values = self.values(batch, fill)
        if values.dtype != np.float32:
            return None
        return torch.from_numpy(values if values.flags.writeable else values.copy())

    def write(self, batch: PackedBatch, fill: bool, out: Output) -> None:
        """See ``Part``."""
        if not batch.rows:
            return
        values = self.values(batch, fill)
        if values.dtype == np.float64:
            _scale_doubles(values, self._center, self._scale, out, batch, [self._slot])
            return
        result = torch.from_numpy(out)
        if values.dtype == np.float32:
            source = torch.from_numpy(values if values.flags.writeable else values.copy())
            torch.addcmul(self._shift, source, self._factor, out=result)
            return
        step = max(1, _BLOCK_ELEMENTS // self.width)
        for start in range(0, batch.rows, step):
            out[start : start + step] = values[start : start + step]
            block = result[start : start + step]
            torch.addcmul(self._shift, block, self._factor, out=block)


def _offsets(offsets: list[int]) -> slice | npt.NDArray[np.int64]:
    """Neighbouring columns as a slice, which is a view; others as an index."""
    first = offsets[0]
    if offsets == list(range(first, first + len(offsets))):
        return slice(first, first + len(offsets))
    return np.array(offsets)


def _each_element(column: FittedArray, statistics: Floats) -> Floats:
    """One number per element out of one per element, per channel or in all."""
    return np.repeat(statistics, column.elements // len(statistics))


def _scale_doubles(
    values: Floats, center: Floats, scale: Floats, out: Output, batch: PackedBatch, slots: list[Slot]
) -> None:
    """(values - center) / scale in float64, rounded once. Raises when a result does not fit float32."""
    step = max(1, _BLOCK_ELEMENTS // max(1, values.shape[1]))
    try:
        with np.errstate(over="raise"):
            for start in range(0, len(values), step):
                block = values[start : start + step] - center
                np.divide(block, scale, out=out[start : start + step], casting="same_kind")
    except FloatingPointError:
        raise _too_large(values, center, scale, batch, slots) from None


def _too_large(values: Floats, center: Floats, scale: Floats, batch: PackedBatch, slots: list[Slot]) -> InvalidData:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(((values - center) / scale).astype(np.float32))
    row, place = (int(index) for index in np.argwhere(bad)[0])
    slot = slots[place] if len(slots) > 1 else slots[0]
    return InvalidData(
        f"the value {values[row, place]:g} of {slot.title} in row {batch.first_row + row + 1} is too large",
        detail="After standardising it does not fit a single-precision number.",
        hint="Leave the row out, or bring the column to a smaller range in the query, for example with ln().",
    )


def check_shape(batch: PackedBatch, slot: Slot, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise ``InvalidData`` unless the shape is the one expected, or the same number of elements without dimensions."""
    elements = math.prod(expected)
    if math.prod(shape) == elements and (
        len(shape) == 1 or len(expected) == 1 or _squeezed(shape) == _squeezed(expected)
    ):
        return
    wanted = f"{elements} are expected" + (f" ({_by(expected)})" if len(expected) > 1 else "")
    raise InvalidData(
        f"{slot.title} has {_by(shape)} elements in row {batch.first_row + 1}, but {wanted}",
        hint="Give arrays of the length that the model was trained with.",
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dimension for dimension in shape if dimension != 1)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(str(dimension) for dimension in shape) or "1"
