"""The room's SQL functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delc.datasets import (
    access,
    by_hand,
    comparing,
    dropping,
    merging,
    pruning,
    references,
    row_history,
    row_types,
    sampling,
    summary,
    versions,
)
from delc.datasets.commit import commit
from delc.datasets.create import create
from delc.log.runs import running


def create_dataset(
    name: str,
    source: str,
    key: str | None,
    target: str | None,
    validation: float,
    test: float,
    stratify: bool,
    split: str | None,
    seed: int,
    message: str | None,
    description: str | None,
) -> dict[str, Any]:
    """Makes a data set with version 1; the row that ``delc.create_dataset`` returns."""
    arguments = {
        "name": name,
        "source": source,
        "key": key,
        "target": target,
        "validation": validation,
        "test": test,
        "stratify": stratify,
        "split": split,
        "seed": seed,
        "message": message,
        "description": description,
    }
    with running("create_dataset", subject=str(name), arguments=arguments, seed=seed) as run:
        return create(run, arguments)


def commit_dataset(name: str, message: str | None) -> dict[str, Any]:
    """Takes the source's current rows as a new version; the row that ``delc.commit_dataset`` returns."""
    with running("commit_dataset", subject=str(name), arguments={"name": name, "message": message}) as run:
        return commit(run, name, message)


def correct_dataset(name: str, query: str, message: str | None, kind: str, remove: bool) -> dict[str, Any]:
    """Replaces or removes rows as a new version; the row that ``delc.correct_dataset`` returns."""
    arguments = {"name": name, "query": query, "message": message, "kind": kind, "remove": remove}
    with running("correct_dataset", subject=str(name), arguments=arguments) as run:
        return by_hand.correct(run, name, query, message, kind, remove)


def append_dataset(name: str, query: str, message: str | None) -> dict[str, Any]:
    """Adds rows as a new version; the row that ``delc.append_dataset`` returns."""
    arguments = {"name": name, "query": query, "message": message}
    with running("append_dataset", subject=str(name), arguments=arguments) as run:
        return by_hand.append(run, name, query, message)


def split_dataset(
    name: str, validation: float, test: float, stratify: bool, seed: int, message: str | None
) -> dict[str, Any]:
    """Splits a data set anew as a new version; the row that ``delc.split_dataset`` returns."""
    arguments = {
        "name": name,
        "validation": validation,
        "test": test,
        "stratify": stratify,
        "seed": seed,
        "message": message,
    }
    with running("split_dataset", subject=str(name), arguments=arguments, seed=seed) as run:
        return by_hand.split(run, name, validation, test, stratify, seed, message)


def revert_dataset(name: str, version: str, message: str | None) -> dict[str, Any]:
    """Makes an old version's content the newest; the row that ``delc.revert_dataset`` returns."""
    arguments = {"name": name, "version": version, "message": message}
    with running("revert_dataset", subject=str(name), arguments=arguments) as run:
        return by_hand.revert(run, name, version, message)


def sample_dataset(
    version: str,
    name: str,
    fraction: float | None,
    rows: int | None,
    stratify: bool,
    seed: int,
    message: str | None,
) -> dict[str, Any]:
    """Draws rows as a version on a new branch or a new data set; the row that ``delc.sample_dataset`` returns."""
    arguments = {
        "version": version,
        "name": name,
        "fraction": fraction,
        "rows": rows,
        "stratify": stratify,
        "seed": seed,
        "message": message,
    }
    with running("sample_dataset", subject=str(version), arguments=arguments, seed=seed) as run:
        return sampling.sample(run, version, name, fraction, rows, stratify, seed, message)


def branch_dataset(version: str, branch: str) -> str:
    """Begins a branch at a version; how it is called."""
    arguments = {"version": version, "branch": branch}
    with running("branch_dataset", subject=str(version), arguments=arguments) as run:
        return references.add(run, version, branch, "branch")


def tag_dataset(version: str, tag: str) -> str:
    """Gives a version a name that stays; how it is called."""
    with running("tag_dataset", subject=str(version), arguments={"version": version, "tag": tag}) as run:
        return references.add(run, version, tag, "tag")


def drop_dataset_ref(ref: str) -> None:
    """Forgets a branch or tag."""
    with running("drop_dataset_ref", subject=str(ref), arguments={"ref": ref}):
        references.drop(ref)


def merge_dataset(
    target: str, source: str, message: str | None, resolutions: str | None, prefer: str | None
) -> list[dict[str, Any]]:
    """Brings the changes of a version into a branch; the rows that ``delc.merge_dataset`` returns."""
    arguments = {
        "target": target,
        "source": source,
        "message": message,
        "resolutions": resolutions,
        "prefer": prefer,
    }
    with running("merge_dataset", subject=str(target), arguments=arguments) as run:
        return merging.merge(run, target, source, message, resolutions, prefer)


def dataset_difference_query(a: str, b: str) -> str:
    """The query for the rows in which two versions differ."""
    return comparing.difference_query(versions.resolve(a), versions.resolve(b))


def summarize_diff(a: str, b: str) -> list[dict[str, Any]]:
    """How two versions differ, by column."""
    return summary.summarize(versions.resolve(a).as_seen(), versions.resolve(b).as_seen())


def find_row_history(dataset: str, key: str) -> Iterator[dict[str, Any]]:
    """The versions that added, changed or removed a row; the rows that ``delc.row_history`` returns."""
    return row_history.row_history(dataset, key)


def drop_dataset_version(version: str) -> int:
    """Drops a version; how many rows went."""
    with running("drop_dataset_version", subject=str(version), arguments={"version": version}):
        return pruning.drop_version(version)


def prune_dataset(name: str, keep_last: int, keep_tagged: bool, dry_run: bool) -> list[dict[str, Any]]:
    """Drops versions that nobody needs; what became of each."""
    arguments = {"name": name, "keep_last": keep_last, "keep_tagged": keep_tagged, "dry_run": dry_run}
    with running("prune_dataset", subject=str(name), arguments=arguments):
        return pruning.prune(name, keep_last, keep_tagged, dry_run)


def compact_dataset(name: str) -> int:
    """Gives the space of dropped versions back; how many bytes."""
    with running("compact_dataset", subject=str(name), arguments={"name": name}):
        return pruning.compact(name)


def dataset_query(version: str, split: str | None, ordered: bool | None) -> str:
    """The query that reads a version with all its columns, in its fixed order or in any."""
    found = versions.resolve(version)
    return found.query(split, found.column_names, ordered=bool(ordered))


def dataset_row_query(version: str, split: str | None, row_type: int) -> str:
    """The query that reads a version with the columns of a row type, given by its oid."""
    return row_types.row_query(row_type, versions.resolve(version), split)


def drop_dataset(name: str) -> int:
    """Drops a data set; how many versions went."""
    with running("drop_dataset", subject=str(name), arguments={"name": name}):
        return dropping.drop(name)


def grant_dataset(name: str, role: str, rows: str | None) -> None:
    """Lets a role read a data set, or some rows of it."""
    with running("grant_dataset", subject=str(name), arguments={"name": name, "role": role, "rows": rows}):
        access.grant(name, role, rows)


def revoke_dataset(name: str, role: str) -> None:
    """Takes the right to read a data set from a role."""
    with running("revoke_dataset", subject=str(name), arguments={"name": name, "role": role}):
        access.revoke(name, role)
