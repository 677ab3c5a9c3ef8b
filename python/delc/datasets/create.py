"""Making a data set, with the rows that its source has now as version 1."""

from __future__ import annotations

from typing import Any

from delc.datasets import catalog, checks, definition, fill, layout, names, splits, store
from delc.datasets.columns import describe_columns
from delc.datasets.definition import Definition
from delc.datasets.reading import StoredColumn, StoredRows, reading_query
from delc.datasets.source import find_source, is_unique
from delc.datasets.versions import column_records
from delc.log.runs import Run
from delc.server import progress, queries
from delc.server.batches import QueryColumn
from delc.server.errors import InvalidParameter


def create(run: Run, arguments: dict[str, Any]) -> dict[str, Any]:
    """Makes the data set; the row that ``delc.create_dataset`` returns."""
    name = names.check_new(arguments["name"])
    return make(run, name, define(arguments), arguments["message"], arguments["description"])


def make(
    run: Run,
    name: str,
    defined: Definition,
    message: str | None,
    description: str | None = None,
    kind: str = "acquisition",
    *,
    has_split: bool = False,
) -> dict[str, Any]:
    """Makes a data set as it is defined; ``has_split``: the source says each row's split in a column delc_split."""
    dataset_id = catalog.insert_dataset(name, defined, run.username, description)
    parts = layout.assign_parts(column.width for column in defined.columns)
    store.create_tables(dataset_id, name, defined.columns, parts)
    store.grant_reading(dataset_id, run.username)

    progress.report("taking rows")
    with store.writable(dataset_id), store.bulk_settings():
        fill.fill(dataset_id, defined, parts, has_split=has_split)
        progress.report("checking keys")
        counts = _checked_counts(name, dataset_id, defined, parts)
    progress.report("indexing")
    store.add_row_numbers_index(dataset_id, max(parts))
    version_id = catalog.insert_version(
        dataset_id,
        fill.FIRST_NUMBER,
        run_id=run.id,
        kind=kind,
        message=message,
        created_by=run.username,
        counts=counts,
        columns=column_records([QueryColumn(column.name, column.type) for column in defined.columns], parts),
    )
    run.add_output(dataset_version_id=version_id)
    if counts.rows == 0:
        progress.notice(f'data set "{name}" has no rows, because its source has none now')
    return result_row(run, f"{name}@{fill.FIRST_NUMBER}", counts)


def define(arguments: dict[str, Any]) -> Definition:
    """The user's arguments, checked against the source that they name."""
    for argument in ("stratify", "seed"):
        if arguments[argument] is None:
            raise InvalidParameter(f"{argument} is NULL", hint=f"Leave {argument} away for its default.")
    shares = splits.check_shares(arguments["validation"], arguments["test"])
    source = find_source(arguments["source"])
    columns = tuple(describe_columns(source.query))
    split_columns = definition.named_columns("split", arguments["split"], columns)
    if len(split_columns) > 1:
        raise InvalidParameter("split names more than one column", hint="One column says train, validation or test.")
    keys = definition.key_columns(arguments["key"], source, columns)
    targets = definition.named_columns("target", arguments["target"], columns)
    split_column = split_columns[0] if split_columns else None
    return Definition(
        source=source,
        columns=columns,
        keys=keys,
        targets=targets,
        split_column=split_column,
        stratum=definition.stratum_column(source, targets, arguments["stratify"] and split_column is None),
        shares=shares,
        seed=arguments["seed"],
        keys_are_sure=is_unique(source, [column.name for column in keys]),
    )


def result_row(run: Run, version: str, counts: catalog.Counts) -> dict[str, Any]:
    """A ``delc.dataset_result``."""
    return {
        "run_id": run.id,
        "dataset": version,
        "rows": counts.rows,
        "train": counts.train,
        "validation": counts.validation,
        "test": counts.test,
        "added": counts.added,
        "removed": counts.removed,
        "seconds": run.seconds,
    }


def _checked_counts(name: str, dataset_id: int, defined: Definition, parts: list[int]) -> catalog.Counts:
    """Rows by split, when all keys and splits are in order."""
    stored = StoredRows(dataset_id, [fill.FIRST_NUMBER], has_removals=False)
    part_of = {column.name: part for column, part in zip(defined.columns, parts, strict=True)}
    checked = [*defined.keys, *([defined.split_column] if defined.split_column else [])]
    columns = [StoredColumn(column.quoted, part_of[column.name]) for column in dict.fromkeys(checked)]
    text = reading_query(stored, columns, bookkeeping=["delc_row", "delc_split"], ordered=False)
    rows = f"({text}) AS r"
    checks.check_splits(rows, defined.split_column)
    if not defined.keys_are_sure:
        checks.check_keys(rows, defined.keys, name)
    found = queries.rows(
        f"SELECT delc_split, pg_catalog.count(*) AS rows FROM {layout.part_name(dataset_id, 1)} GROUP BY delc_split"
    )
    by_split = {row["delc_split"]: row["rows"] for row in found}
    in_split = {split: by_split.get(letter, 0) for split, letter in splits.SPLITS.items()}
    return catalog.Counts(**in_split, added=sum(in_split.values()), removed=0)
