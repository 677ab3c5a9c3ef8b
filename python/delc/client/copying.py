"""COPY in the binary format, without psycopg's conversions: rows of bytes, as they travel."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Copy, DataError

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
END = b"\xff\xff"
_FIELDS = struct.Struct(">h")
_LENGTH = struct.Struct(">i")
_INT4, _INT8 = struct.Struct(">i"), struct.Struct(">q")
_ARRAY = struct.Struct(">iiIii")
INT8_OID = 20


def written_row(fields: Sequence[Sequence[Any]]) -> bytes:
    """One row; each field is the parts that its bytes are made of."""
    parts: list[Any] = [_FIELDS.pack(len(fields))]
    for field in fields:
        parts.append(_LENGTH.pack(sum(len(part) for part in field)))
        parts.extend(field)
    return b"".join(parts)


def integer(value: int) -> list[bytes]:
    """The bytes of an integer."""
    return [_INT4.pack(value)]


def bigints(values: Sequence[int]) -> list[bytes]:
    """The bytes of a bigint[] of one dimension."""
    if not values:
        return [struct.pack(">iiI", 0, 0, INT8_OID)]
    items = b"".join(_LENGTH.pack(8) + _INT8.pack(value) for value in values)
    return [_ARRAY.pack(1, 0, INT8_OID, len(values), 1), items]


def read_bigints(data: memoryview) -> tuple[int, ...]:
    """The numbers of a bigint[] of one dimension."""
    (dimensions,) = _INT4.unpack_from(data)
    if dimensions == 0:
        return ()
    count = _INT4.unpack_from(data, 12)[0]
    return tuple(_INT8.unpack_from(data, 24 + 12 * place)[0] for place in range(count))


def read_integer(data: memoryview) -> int:
    """An integer."""
    value: int = _INT4.unpack(data)[0]
    return value


def messages(copy: Copy) -> Iterator[memoryview]:
    """The rows of a COPY … TO STDOUT (FORMAT binary), without signature and end; one message is one row."""
    first = True
    for data in copy:
        row = memoryview(data)
        if first:
            row, first = row[len(SIGNATURE) :], False
        if len(row) > len(END):
            yield row


def fields(row: memoryview) -> list[memoryview | None]:
    """The fields of one row; NULL is None."""
    (count,) = _FIELDS.unpack_from(row)
    found: list[memoryview | None] = []
    place = _FIELDS.size
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(row, place)
        place += _LENGTH.size
        found.append(None if length < 0 else row[place : place + length])
        place += max(length, 0)
    if place != len(row):
        raise DataError("the server's COPY data is not in the binary format that was asked for")
    return found
