"""Rows of a data set version as columns: one COPY in the binary format, taken apart by numpy many rows at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from psycopg import Connection, DataError, sql
from psycopg.adapt import Transformer
from psycopg.pq import Format
from psycopg.rows import tuple_row

from delc.client import copying
from delc.client.wire import NAMES, Array, Kind, storage, to_kind

PORTION_BYTES = 4 * 1024 * 1024
"""Rows are taken apart in portions of about this size, which stay in the processor's cache."""

_NUMBERS = {16: "?", 21: ">i2", 23: ">i4", 20: ">i8", 700: ">f4", 701: ">f8"}
"""Binary forms of types of one size, by oid: boolean, smallint, integer, bigint, real, double precision."""
_ARRAYS = {1000: "?", 1005: ">i2", 1007: ">i4", 1016: ">i8", 1021: ">f4", 1022: ">f8"}
"""The same for arrays, by the array type's oid."""
_TEXTS = {25, 1042, 1043, 19}
TENSOR = "delc.tensor"


@dataclass(frozen=True)
class _Column:
    """A column of the answer: its name, type, and whether all its values are likely to take as many bytes."""

    name: str
    oid: int
    type: str
    sent_as_tensor: bool = False

    @property
    def is_fixed(self) -> bool:
        return self.oid in _NUMBERS or self.oid in _ARRAYS or self.type in (TENSOR, "vector")

    @property
    def expression(self) -> sql.Composable:
        """What is selected."""
        return sql.SQL("delc.tensor({})" if self.sent_as_tensor else "{}").format(sql.Identifier(self.name))

    def as_tensor(self) -> _Column:
        """The column as the server sends it fastest: an array's binary form has four bytes before each number."""
        return replace(self, oid=0, type=TENSOR, sent_as_tensor=True) if self.oid in _ARRAYS else self


def read(
    connection: Connection[Any],
    dataset: str,
    *,
    columns: Sequence[str] | None = None,
    split: str | None = None,
    tensors: Kind = "numpy",
) -> dict[str, Any]:
    """The rows of a data set version, by column, in the version's fixed order.

    ``dataset``: ``name`` or ``name@version``. ``columns``: which, by default all. ``split``: train, validation or test.
    Numbers and booleans become arrays (rows,), arrays, vectors and tensors of equal shape (rows, *shape); ``tensors``
    "torch" makes torch tensors of those. Everything else becomes an object array of Python values, texts of str. Where
    numbers have NULLs, or arrays several shapes, the column is an object array with None.
    """
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT delc.dataset_query(%s, %s, true)", [dataset, split])
        found = cursor.fetchone()
        assert found is not None
        rows = sql.SQL("({}) AS rows").format(sql.SQL(found[0]))
        known = _columns(connection, rows, columns)
        ordered = sorted(known, key=lambda column: not column.is_fixed)
        try:
            with connection.transaction():
                reader = _copied(connection, rows, [column.as_tensor() for column in ordered])
        except DataError:  # a NULL among an array's elements, which a tensor cannot hold
            reader = _copied(connection, rows, ordered)
    return {column.name: reader.column(ordered.index(column), tensors) for column in known}


def _copied(connection: Connection[Any], rows: sql.Composed, columns: Sequence[_Column]) -> _Reader:
    names = sql.SQL(", ").join(column.expression for column in columns)
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(names, rows)
    reader = _Reader(connection, columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for portion in _portions(copying.messages(copy)):
            reader.take(portion)
    return reader


def _columns(connection: Connection[Any], rows: sql.Composed, wanted: Sequence[str] | None) -> list[_Column]:
    names = sql.SQL("*") if wanted is None else sql.SQL(", ").join(map(sql.Identifier, wanted))
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(sql.SQL("SELECT {} FROM {} LIMIT 0").format(names, rows))
        assert cursor.description is not None
        oids = [column.type_code for column in cursor.description]
        described = [column.name for column in cursor.description]
        cursor.execute("SELECT oid::bigint, format_type(oid, NULL) FROM pg_type WHERE oid = ANY (%s::oid[])", [oids])
        types: dict[int, str] = dict(cursor.fetchall())
    return [
        _Column(name, oid, types[oid].rpartition(".")[2].replace("tensor", "delc.tensor"))
        for name, oid in zip(described, oids, strict=True)
    ]


def _portions(rows: Iterator[memoryview]) -> Iterator[list[memoryview]]:
    portion: list[memoryview] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += len(row)
        if size >= PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


class _Reader:
    """Collects the columns of the portions.

    The columns of fixed size come first. Where they are laid out in all rows as in the first, numpy takes them from the
    joined rows; a portion with NULLs or arrays of another shape is taken row by row.
    """

    def __init__(self, connection: Connection[Any], columns: Sequence[_Column]) -> None:
        self._columns = columns
        self._fixed = sum(column.is_fixed for column in columns)
        self._parts: list[list[Any]] = [[] for _ in columns]
        self._loaders = [_loader(connection, column.oid) for column in columns]
        self._layout: np.dtype[Any] | None = None
        self._words: list[tuple[str, Any]] = []

    def take(self, rows: list[memoryview]) -> None:
        """Adds a portion."""
        start = 0
        if self._fixed:
            taken = self._take_fixed(rows)
            if taken is None:
                self._take_singly(rows)
                return
            start = taken
        if self._fixed < len(self._columns):
            self._take_rest(rows, start)

    def _take_fixed(self, rows: list[memoryview]) -> int | None:
        """The bytes that the fixed columns take in each row, or None where rows differ."""
        if self._layout is None:
            self._layout = self._lay_out(rows[0])
        layout = self._layout
        if layout is None or min(map(len, rows)) < layout.itemsize:
            return None
        size = layout.itemsize
        table = np.frombuffer(b"".join([row[:size] for row in rows]), dtype=layout)
        if any((table[name] != expected).any() for name, expected in self._words):
            return None
        for place in range(self._fixed):
            values = table[f"value{place}"]
            values = values["value"] if values.dtype.names else values
            self._parts[place].append(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")))
        return size

    def _lay_out(self, row: memoryview) -> np.dtype[Any] | None:
        """The layout of the fixed columns in this row; None where one of them is NULL."""
        members: list[tuple[Any, ...]] = [("fields", ">i2")]
        self._words = []
        for place, (column, field) in enumerate(zip(self._columns, copying.fields(row), strict=True)):
            if place >= self._fixed:
                break
            found = None if field is None else _field_layout(column, field)
            if field is None or found is None:
                return None
            head, values = found
            members += [(f"length{place}", ">i4"), (f"head{place}", "V", len(head)), (f"value{place}", *values)]
            self._words.append((f"length{place}", len(field)))
            if head:
                self._words.append((f"head{place}", np.void(head)))
            members = [member for member in members if member[1:] != ("V", 0)]
        members = [(name, f"V{rest[1]}") if rest[0] == "V" else (name, *rest) for name, *rest in members]
        return np.dtype(members)

    def _take_singly(self, rows: list[memoryview]) -> None:
        columns: list[list[Any]] = [[] for _ in self._columns]
        for row in rows:
            for place, field in enumerate(copying.fields(row)):
                columns[place].append(self._value(place, field))
        for place, values in enumerate(columns):
            self._parts[place].append(_objects(values))

    def _take_rest(self, rows: list[memoryview], start: int) -> None:
        texts = [column.oid in _TEXTS for column in self._columns]
        columns: list[list[Any]] = [[] for _ in self._columns]
        for row in rows:
            place = start or 2
            for number in range(self._fixed, len(self._columns)):
                (length,) = _LENGTH.unpack_from(row, place)
                place += 4
                if length < 0:
                    columns[number].append(None)
                    continue
                data = row[place : place + length]
                columns[number].append(str(data, "utf-8") if texts[number] else self._loaders[number](data))
                place += length
        for number in range(self._fixed, len(self._columns)):
            self._parts[number].append(_objects(columns[number]))

    def _value(self, place: int, field: memoryview | None) -> Any:
        """One value by itself: of a column of fixed size an array or number, otherwise what psycopg makes of it."""
        column = self._columns[place]
        if field is None or not column.is_fixed:
            return None if field is None else self._loaders[place](field)
        found = _field_layout(column, field)
        if found is None:
            return self._loaders[place](field)
        head, values = found
        dtype = np.dtype([("value", *values)])
        array = np.frombuffer(field[len(head) :], dtype=dtype)["value"][0]
        array = array["value"] if array.dtype.names == ("size", "value") else array
        return np.array(array, dtype=array.dtype.newbyteorder("<"))[()]

    def column(self, place: int, tensors: Kind) -> Any:
        """The whole column."""
        parts = self._parts[place]
        if any(part.dtype == object for part in parts) or len({part.shape[1:] for part in parts}) > 1:
            values = [value for part in parts for value in part]
            return _uniform(values) if self._columns[place].is_fixed else _objects(values)
        if not parts:
            oid = self._columns[place].oid
            return np.empty(0, dtype=np.dtype(_NUMBERS.get(oid, "O")).newbyteorder("="))
        whole = np.concatenate(parts)
        return to_kind(whole, tensors) if whole.dtype != object else whole


_LENGTH = struct.Struct(">i")


def _field_layout(column: _Column, field: memoryview) -> tuple[bytes, tuple[Any, ...]] | None:
    """The bytes of a value before its numbers, and numpy's layout of the numbers; None for arrays with NULLs."""
    if column.oid in _NUMBERS:
        return b"", (_NUMBERS[column.oid],)
    if column.oid in _ARRAYS:
        return _array_layout(_ARRAYS[column.oid], field)
    if column.type == "vector":
        return bytes(field[:4]), (">f4", (struct.unpack_from(">h", field)[0],))
    rank = field[4]
    shape = struct.unpack_from(f"<{rank}q", field, 8)
    return bytes(field[: 8 + 8 * rank]), (storage(NAMES[field[3]]), shape)


def _array_layout(element: str, field: memoryview) -> tuple[bytes, tuple[Any, ...]] | None:
    dimensions, has_null, _ = struct.unpack_from(">iii", field)
    if has_null or dimensions == 0:
        return None
    start = 12 + 8 * dimensions
    shape = struct.unpack_from(">" + "ii" * dimensions, field, 12)[::2]
    return bytes(field[:start]), ([("size", ">i4"), ("value", element)], shape)


def _loader(connection: Connection[Any], oid: int) -> Any:
    return Transformer(connection).get_loader(oid, Format.BINARY).load


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _uniform(values: list[Any]) -> Array:
    """One array where all values fit into one, otherwise objects."""
    shapes = {None if value is None else np.shape(value) for value in values}
    return np.stack(values) if len(shapes) == 1 and None not in shapes else _objects(values)
