"""Packs rows that Python holds as the server packs those of a query, so that features are tested without one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from delc.features.layout import RowLayout
from delc.server.batches import ColumnProblem, PackedBatch
from delc.server.errors import InvalidData

Row = Mapping[str, Any]

_MIDNIGHT = datetime(1970, 1, 1, tzinfo=UTC)


def pack_rows(layout: RowLayout, rows: Sequence[Row], first_row: int = 0) -> PackedBatch:
    """One batch of rows given as mappings from column name to Python value.

    Numbers, booleans, texts, dates and times (also in ISO text form), sequences and numpy arrays stand for what
    PostgreSQL would send; None is NULL. Raises ``InvalidData`` naming row and column for values that are none of
    these, and for arrays of different lengths.
    """
    batch = PackedBatch(rows=len(rows), first_row=first_row, groups=[], shapes=[])
    for group, dtype in enumerate(layout.pack.dtypes):
        places = [place for place, column in enumerate(layout.pack.columns) if column.group == group]
        if layout.pack.columns[places[0]].kind == "category":
            blocks = [_codes(batch, place, layout.columns[place].name, rows) for place in places]
        else:
            blocks = [
                _numbers(batch, place, layout.columns[place].name, dtype, rows, layout.widths[place])
                for place in places
            ]
        batch.shapes.append(blocks[0].shape[1:] if len(places) == 1 and blocks[0].ndim > 1 else (_width(blocks),))
        batch.groups.append(np.concatenate([_flat(block) for block in blocks], axis=1).astype(dtype))
    return batch


def _flat(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return block.reshape(len(block), math.prod(block.shape[1:]))


def _width(blocks: Sequence[npt.NDArray[Any]]) -> int:
    return sum(math.prod(block.shape[1:]) for block in blocks)


def _codes(batch: PackedBatch, place: int, name: str, rows: Sequence[Row]) -> npt.NDArray[Any]:
    codes: dict[str, int] = {}
    result = np.full(len(rows), -1, dtype=np.int32)
    for number, row in enumerate(rows):
        if row[name] is not None:
            result[number] = codes.setdefault(_text(row[name]), len(codes))
    batch.dictionaries[place] = list(codes)
    return result


def _text(value: Any) -> str:
    """The text form that PostgreSQL gives the value."""
    if isinstance(value, bool | np.bool_):
        return "t" if value else "f"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _numbers(
    batch: PackedBatch, place: int, name: str, dtype: str, rows: Sequence[Row], width: int
) -> npt.NDArray[Any]:
    wide = np.float64 if dtype.startswith("float") else np.int64
    values = [_number_or_numbers(row[name], wide, batch.first_row + number, name) for number, row in enumerate(rows)]
    shape = next((value.shape for value in values if value is not None), (width,) if width >= 0 else ())
    problem = ColumnProblem(place, 0, 0, 0, 0)
    result = np.full((len(rows), *shape), math.nan if wide is np.float64 else 0, dtype=wide)
    for number, value in enumerate(values):
        if value is None:
            problem.first_null_row = number if not problem.nulls else problem.first_null_row
            problem.nulls += 1
            continue
        if value.shape != shape:
            raise InvalidData(
                f'column "{name}" has {value.size} elements in row {batch.first_row + number + 1}, '
                f"but {math.prod(shape)} in the first row"
            )
        bad = 0 if wide is np.int64 else int((~np.isfinite(value)).sum())
        problem.first_nonfinite_row = number if bad and not problem.nonfinite else problem.first_nonfinite_row
        problem.nonfinite += bad
        result[number] = value
    if problem.nulls or problem.nonfinite:
        batch.problems.append(problem)
    return result


def _number_or_numbers(value: Any, dtype: type[Any], row: int, name: str) -> npt.NDArray[Any] | None:
    """A value as an array (of no dimensions when it is a single number), missing elements as NaN, or None for NULL."""
    if value is None:
        return None
    try:
        if isinstance(value, bytes | bytearray | memoryview):
            return np.frombuffer(value, dtype=np.uint8).astype(dtype)
        if isinstance(value, str):
            value = _read(value)
        if isinstance(value, date | time | timedelta):
            value = _seconds(value)
        if isinstance(value, list | tuple):
            value = _without_none(value)
        array = np.asarray(value)
        return array.astype(dtype) if array.dtype.kind in "biuf" else np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise InvalidData(
            f'column "{name}" has {value!r:.100} in row {row + 1}',
            detail="That is not a number, a date or time, or an array of numbers.",
        ) from None


def _read(text: str) -> Any:
    """A moment, an array or a number from the text that PostgreSQL gives it."""
    if text.startswith("["):
        return json.loads(text)
    if text in ("infinity", "-infinity"):
        return float(text)
    if len(text) > 4 and text[2] == ":":
        return time.fromisoformat(text)
    return datetime.fromisoformat(text) if text.count("-") >= 2 else float(text)


def _seconds(value: date | time | timedelta) -> float:
    """Seconds since 1970 (UTC; without a time zone as if it were UTC), since midnight, or of an interval."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _MIDNIGHT).total_seconds()


def _without_none(values: Any) -> Any:
    if isinstance(values, list | tuple):
        return [_without_none(value) for value in values]
    return math.nan if values is None else float(values) if isinstance(values, Decimal) else values
