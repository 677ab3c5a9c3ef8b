"""Versions whose columns are others than those of the version before: where the store puts new columns.

A column that a version adds, or takes with another type, becomes a new column of the store, NULL in the rows that are
there. A column that comes back with the type that it had finds its old place. No version's columns ever move, so every
version stays readable in its own shape.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from delc.datasets import layout, store
from delc.datasets.columns import SourceColumn
from delc.datasets.versions import CURRENT_COLUMNS, DatasetVersion
from delc.server import queries
from delc.server.batches import QueryColumn
from delc.server.errors import DatatypeMismatch, WrongState

Place = tuple[int, str]
"""Where a column is stored: its part, and its name there."""


def shape_of(latest: DatasetVersion, columns: Sequence[SourceColumn]) -> DatasetVersion:
    """``latest`` itself where it has these columns, else its rows with these columns, which the store has room for
    from now on.
    """
    stored = {column.name: column.type for column in latest.columns}
    if stored == {column.name: column.type for column in columns}:
        return latest
    _check_needed(latest, columns)
    places = _known_places(latest.dataset_id)
    new = [column for column in columns if (column.name, column.type) not in places]
    places |= _make_places(latest, new)
    found = [places[column.name, column.type] for column in columns]
    return replace(
        latest,
        columns=tuple(QueryColumn(column.name, column.type) for column in columns),
        parts=tuple(part for part, _ in found),
        stored_names=tuple(name for _, name in found),
    )


def _check_needed(latest: DatasetVersion, columns: Sequence[SourceColumn]) -> None:
    """Keys keep their type; targets and the column that says the split stay."""
    types = {column.name: column.type for column in columns}
    stored = {column.name: column.type for column in latest.columns}
    split_columns = [latest.split_column] if latest.split_column else []
    for what, names in (("key", latest.key_columns), ("target", latest.target_columns), ("split", split_columns)):
        for name in names:
            if name not in types:
                raise WrongState(
                    f'{what} column "{name}" of data set "{latest.name}" is gone from its source',
                    detail=f"The source has the columns {', '.join(types)}.",
                    hint=f'Give the source a column "{name}", or make a new data set.',
                )
    for name in latest.key_columns:
        if types[name] != stored[name]:
            raise DatatypeMismatch(
                f'key column "{name}" of data set "{latest.name}" was {stored[name]} and is {types[name]} now',
                detail="Rows are told apart by key from version to version, so keys keep their type.",
                hint="Cast it back in a query as the source, or make a new data set.",
            )


def _known_places(dataset_id: int) -> dict[tuple[str, str], Place]:
    """Where each column of any version is stored, by name and type."""
    with queries.as_owner():
        found = queries.rows(_COLUMNS, dataset_id)
    return {
        (column["name"], column["type"]): (column.get("part", 1), column.get("stored", column["name"]))
        for row in found
        for column in json.loads(row["columns"])
    }


def _make_places(latest: DatasetVersion, new: Sequence[SourceColumn]) -> dict[tuple[str, str], Place]:
    """Adds columns to the last part of the store, or to further parts where it is full."""
    if not new:
        return {}
    last = store.count_parts(latest.dataset_id)
    taken = store.column_widths(latest.dataset_id, last)
    parts = layout.assign_parts([*taken.values(), *(column.width for column in new)])[len(taken) :]
    used = {name for part in range(1, last + 1) for name in store.column_widths(latest.dataset_id, part)}
    places: dict[tuple[str, str], Place] = {}
    for column, part in zip(new, parts, strict=True):
        name = _free_name(column.name, used)
        used.add(name)
        places[column.name, column.type] = (last + part - 1, name)
    for part in sorted({part for part, _ in places.values()}):
        added = {places[c.name, c.type][1]: c for c in new if places[c.name, c.type][0] == part}
        store.add_columns(latest.dataset_id, part, latest.name, added, is_new=part > last)
    return places


def _free_name(name: str, used: set[str]) -> str:
    """The column's own name, or where an older column has it one that no user's column can have."""
    if name not in used:
        return name
    number = 1
    while f"delc_c{number}" in used:
        number += 1
    return f"delc_c{number}"


_COLUMNS = f"""
    SELECT ({CURRENT_COLUMNS}) AS columns FROM delc.dataset_versions AS version
    WHERE version.dataset_id = $1 ORDER BY version.id
"""
