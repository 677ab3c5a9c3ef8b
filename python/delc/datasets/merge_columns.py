"""The columns of a merge, three-way like its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from delc.datasets.columns import MOST_COLUMNS, SourceColumn
from delc.datasets.comparing import stored_columns
from delc.datasets.versions import DatasetVersion
from delc.server.batches import QueryColumn
from delc.server.errors import LimitExceeded, WrongState

Columns = Mapping[str, SourceColumn]


@dataclass(frozen=True)
class Side:
    """A version as a side of a merge: its columns by name, and the version with them (``shape``)."""

    version: DatasetVersion
    columns: Columns


def side_of(version: DatasetVersion) -> Side:
    """A version with what there is to know of its columns; their types are called as they are now."""
    columns = stored_columns(version)
    named = tuple(QueryColumn(column.name, columns[column.name].type) for column in version.columns)
    return Side(replace(version, columns=named), columns)


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
                shape = with_column(shape, other.version, name)
        columns = {**columns, **other.columns}
    return Side(shape, columns)


def merged(ours: Side, theirs: Side, bases: Sequence[Side]) -> DatasetVersion:
    """Our version with the columns of the merge: of a column that one side alone added, dropped or gave another type,
    it has what that side made of it.

    ``WrongState`` where both sides did so in different ways.
    """
    shape, refused = ours.version, []
    for name in dict.fromkeys([*ours.columns, *theirs.columns]):
        mine, other = (type_of(side.version, name) for side in (ours, theirs))
        before = {type_of(base.version, name) for base in bases}
        if mine == other or before == {other}:
            continue
        if before != {mine}:
            was = " or ".join(sorted(text or "not there" for text in before))
            refused.append(f'"{name}" is {mine or "not there"} and {other or "not there"}, and was {was}')
        shape = _with_theirs(shape, theirs.version, name)
    if refused:
        raise WrongState(
            f'"{ours.version.title}" and "{theirs.version.title}" have changed columns in different ways',
            detail=f"{'; '.join(refused[:10])}.",
            hint="Commit to one of them from a source with the columns of the other, then merge.",
        )
    if len(shape.columns) > MOST_COLUMNS:
        raise LimitExceeded(
            f'"{ours.version.title}" and "{theirs.version.title}" have {len(shape.columns)} columns together',
            detail=f"A data set may have up to {MOST_COLUMNS}.",
            hint="Commit to one of them from a source with fewer columns, then merge.",
        )
    return shape


def type_of(version: DatasetVersion, name: str) -> str | None:
    """The type that a column has in a version, if it is there."""
    column = next((column for column in version.columns if column.name == name), None)
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


def with_column(shape: DatasetVersion, version: DatasetVersion, name: str) -> DatasetVersion:
    """The columns of ``shape``, and one of another version."""
    return _placed(shape, _places(shape) + [place for place in _places(version) if place[0].name == name])


def _with_theirs(shape: DatasetVersion, theirs: DatasetVersion, name: str) -> DatasetVersion:
    """``shape`` with what another version has as its column of that name, at the same place: a column or none."""
    found = [place for place in _places(theirs) if place[0].name == name]
    if name not in shape.column_names:
        return with_column(shape, theirs, name)
    return _placed(shape, [p for place in _places(shape) for p in (found if place[0].name == name else [place])])
