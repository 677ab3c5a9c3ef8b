"""Making the next version of a data set on one of its branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from delc.datasets import access, catalog, checks, difference, layout, names, splits, store, versions
from delc.datasets.columns import SourceColumn, describe_columns
from delc.datasets.create import result_row
from delc.datasets.definition import Definition
from delc.datasets.difference import Change
from delc.datasets.matching import are_deterministic
from delc.datasets.source import Source
from delc.datasets.versions import DatasetVersion
from delc.log.runs import Run
from delc.server import progress, queries
from delc.server.errors import InvalidParameter, WrongState


@dataclass(frozen=True)
class Target:
    """A branch that a version is to be made on: the data set, locked until the transaction ends, and the head."""

    dataset: catalog.Dataset
    branch: str
    latest: DatasetVersion
    last_row: int

    @property
    def number(self) -> int:
        """The new version's number."""
        return self.dataset.last_number + 1

    @property
    def title(self) -> str:
        """The new version as users name it."""
        return f"{self.dataset.name}@{self.number}"


@dataclass(frozen=True)
class Origin:
    """What a version is said to come from: its kind, why it was made, and from which versions besides the head."""

    kind: str
    message: str | None
    parents: Sequence[int] = ()
    unchanged: str = "the content of"
    """How the notice begins that says that no version was made."""


def begin(name: str, what: str = "commit to") -> Target:
    """Locks the data set that ``name`` or ``name@branch`` says; errors where the caller may not change it, or where
    its rows have no key.
    """
    parsed = names.parse(name)
    if parsed.number is not None:
        raise InvalidParameter(f'"{name}" names a version', hint=f'Versions are made on branches: "{parsed.dataset}".')
    dataset = catalog.lock_dataset(parsed.dataset)
    catalog.require_ownership(dataset, what, or_admin=False)
    latest = versions.resolve(name)
    branch = parsed.reference or names.MAIN
    if catalog.reference_kind(dataset.id, branch) == "tag":
        raise InvalidParameter(
            f'"{name}" is a tag, which stays where it is',
            hint=f"Make a branch from it: SELECT delc.branch_dataset({queries.quote_literal(name)}, 'a name').",
        )
    if not latest.key_columns:
        raise WrongState(
            f'data set "{latest.name}" has no key, so its rows cannot be told apart from version to version',
            hint="Create it again with key => …, naming the columns that identify a row.",
        )
    last_row = queries.value(
        f"SELECT COALESCE(pg_catalog.max(delc_row), 0) FROM {layout.part_name(latest.dataset_id, 1)}"
    )
    return Target(dataset, branch, latest, last_row)


def stored_definition(target: Target, source: str, version: DatasetVersion | None = None) -> Definition:
    """The data set as it was defined, with the columns of ``version`` (the head), and rows from the query
    ``source``.
    """
    version = version or target.latest
    described = {column.name: column for column in describe_columns(version.query(None, version.column_names))}
    return define(target, Source(source, source), described, version.column_names, keys_are_sure=False)


def define(
    target: Target, source: Source, described: dict[str, SourceColumn], order: Sequence[str], *, keys_are_sure: bool
) -> Definition:
    """The data set as it was defined, with rows from ``source`` and the columns named in ``order``."""
    return define_fields(
        target.dataset.fields, target.latest, source, described, order, keys_are_sure=keys_are_sure
    )


def define_fields(
    fields: dict[str, Any],
    latest: DatasetVersion,
    source: Source,
    described: dict[str, SourceColumn],
    order: Sequence[str],
    *,
    keys_are_sure: bool,
) -> Definition:
    """The data set of ``latest`` as its row of ``delc.datasets`` (``fields``) defines it. Keys are told apart by the
    collations that the data set began with.
    """
    targets = tuple(described[name] for name in latest.target_columns)
    keys = tuple(describe_columns(latest.query(None, latest.key_columns))) if latest.key_columns else ()
    same_equality = all(key.compared_by == described[key.name].compared_by for key in keys) or are_deterministic(
        [*keys, *(described[key.name] for key in keys)]
    )
    return Definition(
        source=source,
        columns=tuple(described[name] for name in order),
        keys=keys,
        targets=targets,
        split_column=described[latest.split_column] if latest.split_column else None,
        stratum=targets[0] if fields["stratified"] else None,
        shares=splits.Shares(fields["validation_fraction"], fields["test_fraction"]),
        seed=fields["split_seed"],
        keys_are_sure=keys_are_sure and same_equality,
    )


def write(
    run: Run, target: Target, change: Change, origin: Origin, shape: DatasetVersion | None = None
) -> dict[str, Any]:
    """Stores what ``change`` makes of the branch's head and moves the branch to it; the ``delc.dataset_result``.

    ``shape`` is the head with the columns of the new version, where they are others. Nothing is made, but a notice,
    where nothing differs.
    """
    latest, shaped = target.latest, shape or target.latest
    catalog.require_unchanged(target.dataset)
    run.add_input(dataset_version_id=latest.id)
    progress.report("comparing rows")
    with store.writable(latest.dataset_id), store.bulk_settings():
        found = _store_difference(target, shaped, change)
    counts = _counts(latest, found)
    _check(target, shaped, change, counts, found)
    if counts.added == counts.removed == 0 and shaped is latest:
        progress.notice(
            f'{origin.unchanged} data set "{latest.name}" has not changed; its latest version stays {latest.title}'
        )
        return result_row(run, latest.title, counts)
    return record(run, target, shaped, counts, origin)


def record(run: Run, target: Target, shape: DatasetVersion, counts: catalog.Counts, origin: Origin) -> dict[str, Any]:
    """Writes down the new version, whose rows are stored, as the head of the branch."""
    access.require_columns(shape)
    version_id = catalog.insert_version(
        target.dataset.id,
        target.number,
        branch=target.branch,
        run_id=run.id,
        kind=origin.kind,
        message=origin.message,
        created_by=run.username,
        counts=counts,
        columns=versions.column_records(shape.columns, shape.parts, shape.stored_names),
        parents=[target.latest.id, *origin.parents],
    )
    run.add_output(dataset_version_id=version_id)
    return result_row(run, target.title, counts)


def _store_difference(target: Target, shaped: DatasetVersion, change: Change) -> dict[str, dict[str, int]]:
    """Inserts what differs. What there was: {"added", "removed", "new", "source", "repeated": {split: rows}}."""
    text = difference.store_difference(shaped, change, target.number, target.last_row)
    found: dict[str, dict[str, int]] = {"added": {}, "removed": {}, "new": {}, "source": {}, "repeated": {}}
    for row in store.insert(text):
        found[row["what"]][row["split"]] = row["rows"]
    return found


def _counts(latest: DatasetVersion, found: dict[str, dict[str, int]]) -> catalog.Counts:
    before = latest.split_counts()
    now = {
        split: before[split] + found["added"].get(letter, 0) - found["removed"].get(letter, 0)
        for split, letter in splits.SPLITS.items()
    }
    added, removed = (sum(found[what].values()) for what in ("added", "removed"))
    return catalog.Counts(**now, added=added, removed=removed)


def _check(
    target: Target,
    shaped: DatasetVersion,
    change: Change,
    counts: catalog.Counts,
    found: dict[str, dict[str, int]],
) -> None:
    """Errors for NULL and repeated keys and for splits that are none.

    Repeated keys whose rows equal a stored one are not among the added: they show in the number of rows that the source
    gave, or were counted.
    """
    latest, defined = target.latest, change.definition
    added = replace(shaped.stored, numbers=[target.number], has_removals=False)
    columns = [column.name for column in dict.fromkeys([*defined.keys, *_optional(defined.split_column)])]
    rows = f"({difference.rows_after(added, shaped.stored_columns(columns), target.last_row)}) AS r"
    checks.check_splits(rows, defined.split_column)
    if defined.keys_are_sure:
        return
    checks.check_keys(rows, defined.keys, latest.name, given=change.scope != "all")
    repeated = found["repeated"].get("", 0)
    if change.counts_source and (repeated > 0 or counts.rows != found["source"].get("", counts.rows)):
        source = f"(\n{defined.source.query}\n) AS r"
        error = checks.find_repeated_key(source, defined.keys, latest.name)
        raise error or WrongState(
            f'the source of data set "{latest.name}" gave the same key twice, and not when it was read again',
            hint="Leave repeated keys out with a query as the source.",
        )


def _optional(column: SourceColumn | None) -> list[SourceColumn]:
    return [] if column is None else [column]
