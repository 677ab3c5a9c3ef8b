"""Versions of data sets as other rooms see them: what they are, and the queries that read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from delc.datasets import names
from delc.datasets.catalog import unknown_dataset
from delc.datasets.layout import part_name
from delc.datasets.reading import StoredColumn, StoredRows, reading_query
from delc.datasets.splits import SPLITS, check_split
from delc.server import queries
from delc.server.batches import QueryColumn
from delc.server.errors import InsufficientPrivilege, UndefinedObject, WrongState, unknown


@dataclass(frozen=True)
class DatasetVersion:
    """A version of a data set. It never changes, nor do the rows that its queries give.

    ``name`` is the data set's. ``columns`` are all columns in order, types as they read anywhere (with their schema).
    """

    id: int
    dataset_id: int
    name: str
    number: int
    rows: int
    columns: tuple[QueryColumn, ...]
    key_columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    split_column: str | None
    parts: tuple[int, ...]
    stored_names: tuple[str, ...]
    stored: StoredRows
    _split_counts: dict[str, int]

    @property
    def title(self) -> str:
        """The version as users name it: ``name@3``."""
        return f"{self.name}@{self.number}"

    def query(
        self,
        split: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        row_number: bool = False,
        ordered: bool = True,
    ) -> str:
        """SQL for the version's rows, or those of one split, in their fixed shuffled order or in any (not ``ordered``);
        it runs with the caller's rights.

        ``columns``: which, in which order; by default all but the one that said the split. ``row_number`` puts
        ``delc_row`` in front. Errors: ``InvalidParameter`` for an unknown split, ``UndefinedObject`` for an unknown
        column.
        """
        if columns is None:
            columns = [column.name for column in self.columns if column.name != self.split_column]
        bookkeeping = ["delc_row"] if row_number else []
        stored = self.stored_columns(columns)
        return reading_query(self.stored, stored, check_split(split), bookkeeping=bookkeeping, ordered=ordered)

    def split_counts(self) -> dict[str, int]:
        """How many rows each split has: train, validation, test."""
        return dict(self._split_counts)

    def as_seen(self) -> DatasetVersion:
        """The version with the numbers of rows that the caller may see, where that may not be all."""
        table = part_name(self.dataset_id, 1)
        if not queries.value("SELECT pg_catalog.row_security_active($1)", table):
            return self
        rows = reading_query(self.stored, [], bookkeeping=["delc_split"], ordered=False)
        found = queries.rows(f"SELECT r.delc_split, pg_catalog.count(*) AS rows FROM ({rows}) AS r GROUP BY 1")
        by_letter = {row["delc_split"]: row["rows"] for row in found}
        counts = {split: by_letter.get(letter, 0) for split, letter in SPLITS.items()}
        return replace(self, rows=sum(counts.values()), _split_counts=counts)

    def null_counts(self, columns: Sequence[str] | None = None, split: str | None = None) -> dict[str, int]:
        """How often each column is NULL, in one pass over the rows."""
        wanted = list(columns) if columns is not None else [column.name for column in self.columns]
        stored = self.stored_columns(wanted)
        counts = ", ".join(
            f"pg_catalog.count(*) - pg_catalog.count(r.{column.quoted}) AS n{i}" for i, column in enumerate(stored)
        )
        rows = reading_query(self.stored, stored, check_split(split), ordered=False)
        found = queries.rows(f"SELECT {counts} FROM ({rows}) AS r")[0] if wanted else {}
        return dict(zip(wanted, found.values(), strict=True))

    def stored_columns(self, columns: Sequence[str]) -> list[StoredColumn]:
        """Where columns of these names are stored; ``UndefinedObject`` for one that the version does not have."""
        places = zip(self.columns, self.parts, self.stored_names, strict=True)
        known = {column.name: _stored_column(column.name, part, stored) for column, part, stored in places}
        for name in columns:
            if name not in known:
                raise unknown("column", name, known, where=f'of data set "{self.title}"')
        return [known[name] for name in columns]

    @property
    def column_names(self) -> list[str]:
        """All columns, in order."""
        return [column.name for column in self.columns]

    def in_shape_of(self, shape: DatasetVersion) -> DatasetVersion:
        """The rows of this version with the columns of another of the same data set."""
        return replace(self, columns=shape.columns, parts=shape.parts, stored_names=shape.stored_names)

    def rows_query(
        self,
        columns: Sequence[str] | None = None,
        bookkeeping: Sequence[str] = ("delc_row", "delc_split"),
        but_not_in: StoredRows | None = None,
    ) -> str:
        """SQL for the rows in no order, with columns of the store in front; see ``reading_query``."""
        stored = self.stored_columns(self.column_names if columns is None else columns)
        return reading_query(self.stored, stored, bookkeeping=bookkeeping, ordered=False, but_not_in=but_not_in)


def _stored_column(name: str, part: int, stored: str) -> StoredColumn:
    other = queries.quote_identifier(stored) if stored != name else None
    return StoredColumn(queries.quote_identifier(name), part, other)


def resolve(text: str | None) -> DatasetVersion:
    """The version that ``name`` (the head of main), ``name@number``, ``name@branch`` or ``name@tag`` names.

    Errors: ``InvalidParameter`` for what is no version's name, ``UndefinedObject`` with the nearest name for an unknown
    data set or version, ``InsufficientPrivilege`` when the caller may not read its rows.
    """
    version = find(names.parse(text))
    _require_reading(version)
    return version


def find(name: names.VersionName) -> DatasetVersion:
    """The version of that name, whether or not the caller may read its rows."""
    with queries.as_owner():
        found = queries.row(_FIND, name.dataset, queries.typed(name.number, "integer"), name.reference)
    if found is None:
        raise _unknown_version(name)
    return _version(found)


def title_of(version_id: int) -> str:
    """What the version of that id is called: ``name@3``."""
    with queries.as_owner():
        title: str = queries.value(_TITLE, version_id)
    return title


def column_records(
    columns: Sequence[QueryColumn], parts: Sequence[int], stored_names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Columns as ``delc.dataset_versions`` keeps them."""
    return [
        {"name": column.name, "type": column.type}
        | ({"part": part} if part > 1 else {})
        | ({"stored": stored} if stored != column.name else {})
        for column, part, stored in zip(
            columns, parts, stored_names or [column.name for column in columns], strict=True
        )
    ]


def _version(found: dict[str, Any]) -> DatasetVersion:
    columns = json.loads(found["current_columns"])
    return DatasetVersion(
        id=found["id"],
        dataset_id=found["dataset_id"],
        name=found["name"],
        number=found["number"],
        rows=found["rows"],
        columns=tuple(QueryColumn(column["name"], column["type"]) for column in columns),
        key_columns=tuple(found["key_columns"]),
        target_columns=tuple(found["target_columns"]),
        split_column=found["split_column"],
        parts=tuple(column.get("part", 1) for column in columns),
        stored_names=tuple(column.get("stored", column["name"]) for column in columns),
        stored=StoredRows(found["dataset_id"], tuple(found["numbers"]), found["has_removals"]),
        _split_counts={split: found[split] for split in SPLITS},
    )


def _unknown_version(name: names.VersionName) -> UndefinedObject:
    with queries.as_owner():
        numbers = [row["number"] for row in queries.rows(_NUMBERS, name.dataset)]
        references = [row["name"] for row in queries.rows(_REFERENCES, name.dataset)]
    if not numbers:
        return unknown_dataset(name.dataset)
    if name.reference is not None:
        error = unknown("branch or tag", name.reference, references, where=f'of data set "{name.dataset}"')
        assert isinstance(error, UndefinedObject)
        return error
    first, last = numbers[0], numbers[-1]
    listed = f"{name.dataset}@{first}" + (f" to {name.dataset}@{last}" if last > first else "")
    missing = last - first + 1 - len(numbers)
    gone = f", without {missing} that {'were' if missing > 1 else 'was'} dropped" if missing else ""
    return UndefinedObject(
        f'data set "{name.dataset}" has no version {name.number}',
        detail=f"It has {listed}{gone}.",
        hint=f'"{name.dataset}" alone is the latest.',
    )


_TITLE = """
    SELECT dataset.name || '@' || version.number FROM delc.dataset_versions AS version
    JOIN delc.datasets AS dataset ON dataset.id = version.dataset_id WHERE version.id = $1
"""

_NUMBERS = """
    SELECT version.number FROM delc.datasets AS dataset
    JOIN delc.dataset_versions AS version ON version.dataset_id = dataset.id
    WHERE dataset.name = $1 ORDER BY version.number
"""

_REFERENCES = """
    SELECT reference.name FROM delc.datasets AS dataset
    JOIN delc.dataset_refs AS reference ON reference.dataset_id = dataset.id
    WHERE dataset.name = $1
"""


def _require_reading(version: DatasetVersion) -> None:
    with queries.as_owner():
        table = queries.value("SELECT to_regclass('delc_data.d' || $1)::oid::int8", str(version.dataset_id))
    if table is None:
        raise WrongState(
            f'the rows of data set "{version.name}" are gone',
            detail=f"Table delc_data.d{version.dataset_id} does not exist.",
            hint="Restore it from a backup.",
        )
    readable = queries.value(
        "SELECT pg_catalog.has_table_privilege($1, 'SELECT') AND pg_catalog.has_schema_privilege('delc_data', 'USAGE')",
        queries.typed(table, "oid"),
    )
    if not readable:
        raise InsufficientPrivilege(
            f'you may not read data set "{version.name}"',
            hint=f"Ask its owner for SELECT delc.grant_dataset({queries.quote_literal(version.name)}, 'your role').",
        )


CURRENT_COLUMNS = """
    SELECT jsonb_agg(
               item.value || jsonb_build_object(
                   'type', COALESCE(format_type(attribute.atttypid, attribute.atttypmod), item.value ->> 'type')
               ) ORDER BY item.position)
    FROM jsonb_array_elements(version.columns) WITH ORDINALITY AS item(value, position)
    LEFT JOIN pg_attribute AS attribute
      ON attribute.attrelid
         = to_regclass('delc_data.d' || version.dataset_id || COALESCE('_part' || (item.value ->> 'part'), ''))
     AND attribute.attname = COALESCE(item.value ->> 'stored', item.value ->> 'name')::name
"""
"""SQL for the columns of ``version``, a row of ``delc.dataset_versions``: types are called as they are now, which the
table with the rows knows, since types may be given other names and schemas.
"""

_FIND = f"""
    SELECT version.*, ({CURRENT_COLUMNS}) AS current_columns, lineage.numbers, lineage.has_removals
    FROM (
        SELECT dataset.name, dataset.key_columns, dataset.target_columns, dataset.split_column,
               version.id, version.dataset_id, version.number, version.rows, version.train, version.validation,
               version.test, version.columns
        FROM delc.datasets AS dataset
        JOIN delc.dataset_versions AS version ON version.dataset_id = dataset.id
        WHERE dataset.name = $1
          AND CASE WHEN $2 IS NOT NULL THEN version.number = $2
                   ELSE version.id = (SELECT reference.version_id FROM delc.dataset_refs AS reference
                                      WHERE reference.dataset_id = dataset.id AND reference.name = COALESCE($3, 'main'))
              END
    ) AS version
    CROSS JOIN LATERAL (
        WITH RECURSIVE ancestor AS (
            SELECT version.id
            UNION
            SELECT parent.parent_id
            FROM ancestor JOIN delc.dataset_version_parents AS parent ON parent.version_id = ancestor.id
        ), member AS (
            SELECT version.number, version.absorbed, version.removed, version.kind
            FROM ancestor JOIN delc.dataset_versions AS version ON version.id = ancestor.id
        )
        SELECT ARRAY(SELECT unnest(number || absorbed) FROM member ORDER BY 1) AS numbers,
               (SELECT bool_or(removed > 0 OR kind = 'merge' OR absorbed <> '{{}}') FROM member) AS has_removals
    ) AS lineage
"""
