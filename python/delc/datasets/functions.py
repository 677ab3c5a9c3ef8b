"""The room's SQL functions."""

from __future__ import annotations

from typing import Any

from delc.datasets import access, dropping, row_types, versions
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


def dataset_query(version: str, split: str | None) -> str:
    """The query that reads a version with all its columns."""
    found = versions.resolve(version)
    return found.query(split, [column.name for column in found.columns])


def dataset_row_query(version: str, split: str | None, row_type: int) -> str:
    """The query that reads a version with the columns of a row type, given by its oid."""
    return row_types.row_query(row_type, versions.resolve(version), split)


def drop_dataset(name: str) -> int:
    """Drops a data set; how many versions went."""
    with running("drop_dataset", subject=str(name), arguments={"name": name}):
        return dropping.drop(name)


def grant_dataset(name: str, role: str) -> None:
    """Lets a role read a data set."""
    with running("grant_dataset", subject=str(name), arguments={"name": name, "role": role}):
        access.grant(name, role)


def revoke_dataset(name: str, role: str) -> None:
    """Takes the right to read a data set from a role."""
    with running("revoke_dataset", subject=str(name), arguments={"name": name, "role": role}):
        access.revoke(name, role)
