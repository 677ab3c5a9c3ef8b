"""The columns of a merge: three-way like its rows, and comparing rows whose versions have different columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from delc.datasets import images
from delc.datasets.columns import SourceColumn
from delc.datasets.comparing import stored_columns
from delc.datasets.versions import DatasetVersion
from delc.server.batches import QueryColumn
from delc.server.errors import WrongState

Columns = Mapping[str, SourceColumn]


@dataclass(frozen=True)
class Side:
    """A version as a side of a merge: its columns by name, and the version with them (``shape``)."""

    version: DatasetVersion
    columns: Columns


def side_of(version: DatasetVersion) -> Side:
    """A version with what there is to know of its columns."""
    return Side(version, stored_columns(version))


def together(sides: Sequence[Side]) -> Side:
    """All columns of versions that a merge has as its bases; an error where one is of different types in them."""
    first, *others = sides
    columns: dict[str, SourceColumn] = dict(first.columns)
    shape = first.version
    for other in others:
        for name, column in other.columns.items():
            if name in columns and columns[name].type != column.type:
                raise WrongState(
                    f'column "{name}" has different types in the last common versions',
                    detail=f'It is {columns[name].type} in "{first.version.title}" and {column.type} in'
                    f' "{other.version.title}".',
                    hint="Commit to one of the branches from a source with the columns of the other, then merge.",
                )
            if name not in columns:
                shape = _with_column(shape, other.version, name)
        columns = {**columns, **other.columns}
    return Side(shape, columns)


def merged(ours: Side, theirs: Side, bases: Sequence[Side]) -> DatasetVersion:
    """Our version with the columns of the merge: of a column that one side alone added, dropped or gave another type,
    it has what that side made of it.

    ``WrongState`` where both sides did so in different ways.
    """
    shape, refused = ours.version, []
    for name in dict.fromkeys([*ours.columns, *theirs.columns]):
        mine, other = (_type(side, name) for side in (ours, theirs))
        before = {_type(base, name) for base in bases}
        if mine == other or before == {other}:
            continue
        if before != {mine}:
            was = " or ".join(sorted(text or "not there" for text in before))
            refused.append(f'"{name}" is {mine or "not there"} and {other or "not there"}, and was {was}')
        shape = _without_column(shape, name)
        if other is not None:
            shape = _with_column(shape, theirs.version, name)
    if refused:
        raise WrongState(
            f'"{ours.version.title}" and "{theirs.version.title}" have changed columns in different ways',
            detail=f"{'; '.join(refused[:10])}.",
            hint="Commit to one of them from a source with the columns of the other, then merge.",
        )
    return shape


def alike(left: str, left_columns: Columns, right: str, right_columns: Columns, names: Iterable[str]) -> str:
    """SQL, never NULL: whether two rows, given by their aliases, agree in the columns of these names: by image, where
    both have it with one type, else by having nothing in it.
    """
    same: list[SourceColumn] = []
    alone: list[str] = []
    for name in names:
        mine, other = left_columns.get(name), right_columns.get(name)
        if mine and other and mine.type == other.type:
            same.append(mine)
        else:
            alone += [f"{alias}.{column.quoted}" for alias, column in ((left, mine), (right, other)) if column]
    tests = [images.alike(same, left, right)]
    tests += [f"pg_catalog.num_nonnulls({value}) OPERATOR(pg_catalog.=) 0" for value in alone]
    return f"({' AND '.join(tests)} AND {left}.delc_split OPERATOR(pg_catalog.=) {right}.delc_split)"


def retyped(side: Side, shape: DatasetVersion) -> bool:
    """Whether a column of the merge has another type in a side, so that its rows are to be stored again."""
    return any(_type(side, column.name) not in (None, column.type) for column in shape.columns)


def recast(alias: str, columns: Columns, shape: DatasetVersion) -> list[str]:
    """SQL for the columns of the merge (``shape``) from a row of a side, given by its alias."""
    values = []
    for stored, column in zip(shape.stored_columns(shape.column_names), shape.columns, strict=True):
        own = columns.get(column.name)
        if own is None:
            values.append(f"NULL::{column.type} AS {stored.quoted}")
        elif own.type == column.type:
            values.append(f"{alias}.{stored.quoted}")
        else:
            values.append(f"{alias}.{stored.quoted}::{column.type} AS {stored.quoted}")
    return values


def _type(side: Side, name: str) -> str | None:
    column = next((column for column in side.version.columns if column.name == name), None)
    return column.type if column else None


def _places(shape: DatasetVersion) -> list[tuple[QueryColumn, int, str]]:
    return list(zip(shape.columns, shape.parts, shape.stored_names, strict=True))


def _placed(shape: DatasetVersion, places: Sequence[tuple[QueryColumn, int, str]]) -> DatasetVersion:
    return replace(
        shape,
        columns=tuple(column for column, _, _ in places),
        parts=tuple(part for _, part, _ in places),
        stored_names=tuple(stored for _, _, stored in places),
    )


def _without_column(shape: DatasetVersion, name: str) -> DatasetVersion:
    return _placed(shape, [place for place in _places(shape) if place[0].name != name])


def _with_column(shape: DatasetVersion, version: DatasetVersion, name: str) -> DatasetVersion:
    return _placed(shape, _places(shape) + [place for place in _places(version) if place[0].name == name])
