"""From the columns of a query to the groups that the packer fills: which column feeds which feature, and where its
numbers will lie.

Numbers, booleans and moments lie side by side in one float64 group; categories and texts in one int32 group of codes;
each array, image and token column has a group of its own, and so has the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from delc.features.columns import PlannedColumn, interchangeable
from delc.features.settings import ArraySettings, ImageSettings
from delc.features.types import Family, advice, family, needs_double
from delc.server.batches import NOT_PACKED, PackColumn, PackKind, PackLayout, QueryColumn
from delc.server.errors import DatatypeMismatch, InvalidParameter, UndefinedObject, nearest

SKIPPED = PackColumn(NOT_PACKED, "number")


@dataclass(frozen=True)
class Slot:
    """Where one column's values lie in a batch: ``groups[group][:, offset]`` (and further for wide columns).

    ``column`` is its position in the query (from 0), ``name`` and ``type`` those that the query gives it.
    """

    group: int
    offset: int
    column: int
    name: str
    type: str

    @property
    def title(self) -> str:
        """How errors call the column; a value that is given by itself has no name."""
        return f'column "{self.name}"' if self.name else "the input"


@dataclass(frozen=True)
class RowLayout:
    """How rows are packed and where features, target and keys lie in what comes back.

    ``pack`` and ``widths`` are for the packer; ``widths`` says how many numbers each query column has in a row, -1
    where the first row tells.
    """

    pack: PackLayout
    columns: tuple[QueryColumn, ...]
    slots: Mapping[str, Slot]
    target: tuple[Slot, ...]
    keys: tuple[int, ...]
    widths: tuple[int, ...]


class TargetColumns(Protocol):
    """What a layout needs to know of a target."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""

    def packing(self, columns: Sequence[QueryColumn]) -> tuple[PackKind, str]:
        """How these columns, those of a query, are packed: kind and element type. Raises when their types do not
        suit.
        """


def lay_out(
    features: Sequence[PlannedColumn],
    query: Sequence[QueryColumn],
    *,
    target: TargetColumns | None = None,
    keys: Sequence[str] = (),
    elements: Mapping[str, int] | None = None,
) -> RowLayout:
    """Match features, target and keys with a query's columns by name.

    ``elements`` tells how many numbers the array columns have in a row, by feature, where that is known.
    Columns that nothing asks for are read past. A lone array or image feature that is not found by name takes the
    query's only array column. Raises ``UndefinedObject`` for a missing column, ``DatatypeMismatch`` for one whose
    type changed, ``InvalidParameter`` for a name that fits two columns or a column asked for twice.
    """
    places = _Places(query)
    key_columns = tuple(places.take(name, "key") for name in keys)
    target_columns = tuple(places.take(name, "target") for name in target.names) if target else ()
    groups = _Groups()
    for feature in features:
        column = places.take_feature(feature, alone=len(features) == 1)
        groups.add(column, *_packing(feature))
    if target:
        packing = target.packing([query[column] for column in target_columns])
        for column in target_columns:
            groups.add(column, "target", *packing)
    slots = groups.slots(query)
    of_features = {feature.name: slots[column] for feature, column in zip(features, groups.order, strict=False)}
    return RowLayout(
        pack=groups.pack(len(query), key_columns),
        columns=tuple(query),
        slots=of_features,
        target=tuple(slots[column] for column in target_columns),
        keys=key_columns,
        widths=_widths(len(query), of_features, elements or {}),
    )


def _widths(columns: int, slots: Mapping[str, Slot], elements: Mapping[str, int]) -> tuple[int, ...]:
    widths = [-1] * columns
    for name, width in elements.items():
        widths[slots[name].column] = width
    return tuple(widths)


def _packing(feature: PlannedColumn) -> tuple[str, PackKind, str]:
    """The group (by a name of its own), the packing kind and the element type of a feature."""
    if feature.kind in ("numeric", "boolean", "datetime"):
        return "numbers", "number", "float64"
    if feature.kind in ("categorical", "text"):
        return "categories", "category", "int32"
    own = f"column {feature.name}"
    if feature.kind == "tokens":
        return own, "number", "int64"
    if feature.family is Family.BYTES:
        return own, "number", "uint8"
    settings = feature.settings
    exact = isinstance(settings, ArraySettings | ImageSettings) and settings.standardize == "none"
    return own, "number", "float64" if needs_double(feature.type) and not exact else "float32"


class _Places:
    """The columns of a query, and which of them are spoken for."""

    def __init__(self, query: Sequence[QueryColumn]) -> None:
        self.query = query
        self.roles: dict[int, str] = {}
        self.by_name: dict[str, list[int]] = {}
        for place, column in enumerate(query):
            self.by_name.setdefault(column.name, []).append(place)

    def take(self, name: str, role: str) -> int:
        found = self.by_name.get(name, [])
        if not found:
            raise self._missing(name, role)
        if len(found) > 1:
            raise InvalidParameter(
                f'two columns of the query are called "{name}"', hint="Give each column a name of its own with AS."
            )
        return self._claim(found[0], role)

    def take_feature(self, feature: PlannedColumn, alone: bool) -> int:
        if alone and feature.name not in self.by_name and feature.kind in ("array", "image", "tokens"):
            suited = [place for place, column in enumerate(self.query) if self._suits(feature, place, column)]
            if len(suited) == 1:
                return self._claim(suited[0], "feature")
        place = self.take(feature.name, "feature")
        self._check_type(feature, self.query[place])
        return place

    def _suits(self, feature: PlannedColumn, place: int, column: QueryColumn) -> bool:
        return place not in self.roles and interchangeable(feature, column.type)

    def _claim(self, place: int, role: str) -> int:
        if place in self.roles:
            raise InvalidParameter(
                f'column "{self.query[place].name}" is both {self.roles[place]} and {role}',
                hint="Leave it out of one of them, or select it twice under different names.",
            )
        self.roles[place] = role
        return place

    def _missing(self, name: str, role: str) -> UndefinedObject:
        near = nearest(name, self.by_name)
        alias = name.replace('"', '""')
        return UndefinedObject(
            f'column "{name}" ({role}) is missing from the query',
            detail=f"The query's columns are: {_listed(column.name for column in self.query if column.name)}.",
            hint=f'Did you mean "{near}"? Then select it AS "{alias}".' if near else f'Select a column AS "{alias}".',
        )

    @staticmethod
    def _check_type(feature: PlannedColumn, column: QueryColumn) -> None:
        if interchangeable(feature, column.type):
            return
        raise DatatypeMismatch(
            f'column "{column.name}" is of type {column.type}, but was {feature.type} when the model was made',
            detail=f"It is a feature of kind {feature.kind}.",
            hint=f"Cast it in the query to {feature.type}."
            if family(column.type) is not Family.UNUSABLE
            else f"To use it, {advice(column.type)}.",
        )


class _Groups:
    """Groups as they are asked for, each with the query columns that lie in it."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.dtypes: list[str] = []
        self.kinds: list[PackKind] = []
        self.numbers: dict[str, int] = {}
        self.group_of: dict[int, int] = {}

    def add(self, column: int, group: str, kind: PackKind, dtype: str) -> None:
        if group not in self.numbers:
            self.numbers[group] = len(self.dtypes)
            self.dtypes.append(dtype)
            self.kinds.append(kind)
        self.order.append(column)
        self.group_of[column] = self.numbers[group]

    def slots(self, query: Sequence[QueryColumn]) -> dict[int, Slot]:
        """The slot of each column: those of one group lie in the order of the query."""
        filled = [0] * len(self.dtypes)
        slots = {}
        for column in sorted(self.group_of):
            group = self.group_of[column]
            slots[column] = Slot(group, filled[group], column, query[column].name, query[column].type)
            filled[group] += 1
        return slots

    def pack(self, columns: int, keys: Sequence[int]) -> PackLayout:
        packed = [SKIPPED] * columns
        for column, group in self.group_of.items():
            packed[column] = PackColumn(group, self.kinds[group])
        for column in keys:
            packed[column] = PackColumn(NOT_PACKED, "key")
        return PackLayout(tuple(packed), tuple(self.dtypes))


def _listed(names: Iterable[str], most: int = 20) -> str:
    every = list(names)
    left = len(every) - most
    return (", ".join(every[:most]) or "none") + (f" and {left} more" if left > 0 else "")
