"""Taking the rows that a source has now as the next version: only what differs from the latest version is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from delc.datasets import catalog, checks, difference, layout, names, splits, store, versions
from delc.datasets.columns import SourceColumn, describe_columns
from delc.datasets.create import result_row
from delc.datasets.definition import Definition
from delc.datasets.source import Source, find_source, is_unique
from delc.datasets.versions import DatasetVersion
from delc.log.runs import Run
from delc.server import progress, queries
from delc.server.errors import InvalidParameter, WrongState


@dataclass(frozen=True)
class _Commit:
    """What a commit works on: the locked data set, its latest version, and how the source is compared with it."""

    dataset: catalog.Dataset
    latest: DatasetVersion
    defined: Definition
    last_row: int

    @property
    def number(self) -> int:
        return self.dataset.last_number + 1


def commit(run: Run, name: str, message: str | None) -> dict[str, Any]:
    """Makes the next version; the row that ``delc.commit_dataset`` returns."""
    under_way = _begin(name)
    latest = under_way.latest
    run.add_input(dataset_version_id=latest.id)
    progress.report("comparing rows")
    with store.writable(latest.dataset_id, max(latest.parts)), store.bulk_settings():
        changes = _store_difference(under_way)
    counts = _counts(latest, changes)
    _check(under_way, counts, changes["source"].get(""))
    if counts.added == counts.removed == 0:
        progress.notice(
            f'the source of data set "{latest.name}" has not changed; its latest version stays {latest.title}'
        )
        return result_row(run, latest.title, counts)
    version_id = catalog.insert_version(
        latest.dataset_id,
        under_way.number,
        run_id=run.id,
        kind="acquisition",
        message=message,
        created_by=run.username,
        counts=counts,
        columns=versions.column_records(latest.columns, latest.parts),
        parents=[latest.id],
    )
    run.add_output(dataset_version_id=version_id)
    return result_row(run, f"{latest.name}@{under_way.number}", counts)


def _begin(name: str) -> _Commit:
    parsed = names.parse(name)
    if parsed.number is not None:
        raise InvalidParameter(f'"{name}" names a version', hint=f'Commit to "{parsed.dataset}".')
    dataset = catalog.lock_dataset(parsed.dataset)
    catalog.require_ownership(dataset, "commit to", or_admin=False)
    latest = versions.resolve(parsed.dataset)
    if not latest.key_columns:
        raise WrongState(
            f'data set "{latest.name}" has no key, so its rows cannot be told apart from version to version',
            hint="Create it again with key => …, naming the columns that identify a row.",
        )
    last_row = queries.value(
        f"SELECT COALESCE(pg_catalog.max(delc_row), 0) FROM {layout.part_name(latest.dataset_id, 1)}"
    )
    return _Commit(dataset, latest, _definition(dataset, latest), last_row)


def _definition(dataset: catalog.Dataset, latest: DatasetVersion) -> Definition:
    """The data set as it was defined, with columns in the version's order; errors when the source has others now."""
    fields = dataset.fields
    source = find_source(fields["source"])
    by_name = {column.name: column for column in describe_columns(source.query)}
    _check_columns(source, by_name, latest)
    targets = tuple(by_name[name] for name in latest.target_columns)
    return Definition(
        source=source,
        columns=tuple(by_name[column.name] for column in latest.columns),
        keys=tuple(by_name[name] for name in latest.key_columns),
        targets=targets,
        split_column=by_name[latest.split_column] if latest.split_column else None,
        stratum=targets[0] if fields["stratified"] else None,
        shares=splits.Shares(fields["validation_fraction"], fields["test_fraction"]),
        seed=fields["split_seed"],
        keys_are_sure=is_unique(source, latest.key_columns),
    )


def _check_columns(source: Source, found: dict[str, SourceColumn], latest: DatasetVersion) -> None:
    stored = {column.name: column.type for column in latest.columns}
    changes = [f'"{name}" is gone' for name in stored if name not in found]
    changes += [f'"{name}" is new' for name in found if name not in stored]
    changes += [
        f'"{name}" was {kind} and is {found[name].type}'
        for name, kind in stored.items()
        if name in found and found[name].type != kind
    ]
    if changes:
        raise WrongState(
            f'the columns of the source of data set "{latest.name}" have changed since {latest.title}',
            detail=f"{_sentence(changes)}.",
            hint="All versions of a data set have the same columns. Make a new data set from the source,"
            " or give the source those columns.",
        )


def _sentence(changes: list[str]) -> str:
    shown = changes[:10]
    return "; ".join(shown) + (f"; and {len(changes) - 10} more" if len(changes) > 10 else "")


def _store_difference(under_way: _Commit) -> dict[str, dict[str, int]]:
    """Inserts what differs. What there was: {"added", "removed", "source": {split: rows}}."""
    text = difference.store_difference(under_way.latest, under_way.defined, under_way.number, under_way.last_row)
    found: dict[str, dict[str, int]] = {"added": {}, "removed": {}, "source": {}}
    for row in queries.rows(text):
        found[row["what"]][row["split"]] = row["rows"]
    return found


def _counts(latest: DatasetVersion, changes: dict[str, dict[str, int]]) -> catalog.Counts:
    before = latest.split_counts()
    now = {
        split: before[split] + changes["added"].get(letter, 0) - changes["removed"].get(letter, 0)
        for split, letter in splits.SPLITS.items()
    }
    added, removed = (sum(changes[what].values()) for what in ("added", "removed"))
    return catalog.Counts(**now, added=added, removed=removed)


def _check(under_way: _Commit, counts: catalog.Counts, source_rows: int | None) -> None:
    """Errors for NULL and repeated keys and for splits that are none.

    Repeated keys whose rows equal a stored one show in the number of rows that the source gave.
    """
    latest, defined = under_way.latest, under_way.defined
    added = replace(latest.stored, numbers=[under_way.number], has_removals=False)
    columns = [column.name for column in dict.fromkeys([*defined.keys, *_optional(defined.split_column)])]
    rows = f"({difference.rows_after(added, latest.stored_columns(columns), under_way.last_row)}) AS r"
    checks.check_splits(rows, defined.split_column)
    if defined.keys_are_sure:
        return
    checks.check_keys(rows, defined.keys, latest.name)
    if counts.rows != source_rows:
        source = f"(\n{defined.source.query}\n) AS r"
        error = checks.find_repeated_key(source, defined.keys, latest.name)
        raise error or WrongState(
            f'the source of data set "{latest.name}" gave {source_rows} rows with {counts.rows} different keys',
            hint="Leave repeated keys out with a query as the source.",
        )


def _optional(column: SourceColumn | None) -> list[SourceColumn]:
    return [] if column is None else [column]
