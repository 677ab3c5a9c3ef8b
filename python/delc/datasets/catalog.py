"""The rows that describe data sets and their versions: those of ``delc.datasets`` and ``delc.dataset_versions``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delc.datasets import store
from delc.datasets.definition import Definition
from delc.server import queries, rights
from delc.server.errors import DuplicateObject, InsufficientPrivilege, UndefinedObject, WrongState, unknown


@dataclass(frozen=True)
class Dataset:
    """A row of ``delc.datasets``, locked against other commits until the transaction ends."""

    id: int
    name: str
    owner: str
    last_number: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Counts:
    """How many rows a version has in each split, and what is new in it."""

    train: int
    validation: int
    test: int
    added: int
    removed: int

    @property
    def rows(self) -> int:
        return self.train + self.validation + self.test


def insert_dataset(name: str, definition: Definition, owner: str, description: str | None) -> int:
    """Adds a data set; its id. ``DuplicateObject`` when the name is taken."""
    with queries.as_owner():
        dataset_id: int | None = queries.value(
            _INSERT_DATASET,
            name,
            definition.source.text,
            queries.typed([column.name for column in definition.keys], "text[]"),
            queries.typed([column.name for column in definition.targets], "text[]"),
            definition.split_column.name if definition.split_column else None,
            definition.shares.validation,
            definition.shares.test,
            definition.seed,
            definition.stratum is not None,
            owner,
            description,
        )
    if dataset_id is None:
        raise DuplicateObject(
            f'data set "{name}" exists already',
            hint="Choose another name; or take its source's current rows with delc.commit_dataset(),"
            " or drop it with delc.drop_dataset().",
        )
    return dataset_id


def insert_version(
    dataset_id: int,
    number: int,
    *,
    run_id: int,
    kind: str,
    message: str | None,
    created_by: str,
    counts: Counts,
    columns: list[dict[str, Any]],
    parents: Sequence[int] = (),
    branch: str = "main",
) -> int:
    """Adds a version as the head of a branch; its id. ``parents`` are the ids of the versions that it was made from, in
    order.
    """
    with queries.as_owner():
        version_id: int = queries.value(
            _INSERT_VERSION,
            dataset_id,
            queries.typed(number, "integer"),
            run_id,
            kind,
            message,
            created_by,
            *(counts.rows, counts.train, counts.validation, counts.test, counts.added, counts.removed),
            queries.json_parameter(columns),
        )
        queries.execute(_INSERT_PARENTS, version_id, queries.typed(list(parents), "bigint[]"))
        queries.execute(
            "UPDATE delc.datasets SET last_number = $2 WHERE id = $1", dataset_id, queries.typed(number, "integer")
        )
    set_reference(dataset_id, branch, "branch", version_id, created_by)
    return version_id


def set_reference(dataset_id: int, name: str, kind: str, version_id: int, username: str) -> None:
    """Makes a branch or tag, or moves it."""
    with queries.as_owner():
        queries.execute(_SET_REFERENCE, dataset_id, name, kind, version_id, username)


def delete_reference(dataset_id: int, name: str) -> None:
    """Forgets a branch or tag; its version stays."""
    with queries.as_owner():
        queries.execute("DELETE FROM delc.dataset_refs WHERE dataset_id = $1 AND name = $2", dataset_id, name)


def reference_kind(dataset_id: int, name: str) -> str | None:
    """Whether a name is that of a 'branch' or a 'tag', or of neither."""
    with queries.as_owner():
        found: str | None = queries.value(
            "SELECT kind FROM delc.dataset_refs WHERE dataset_id = $1 AND name = $2", dataset_id, name
        )
    return found


def lock_dataset(name: str) -> Dataset:
    """A data set, locked until the transaction ends; ``UndefinedObject`` with the nearest name when there is none,
    ``WrongState`` within a query that rows of the data set are taken from.
    """
    with queries.as_owner():
        found = queries.row("SELECT * FROM delc.datasets WHERE name = $1 FOR UPDATE", name)
    if found is None:
        raise unknown_dataset(name)
    if store.is_writable(found["id"]):
        raise changed_within(name)
    return Dataset(found["id"], found["name"], found["owner"], found["last_number"], found)


def require_unchanged(dataset: Dataset) -> None:
    """An error where a version was made since ``lock_dataset``, which only the same session can have done."""
    with queries.as_owner():
        number = queries.value("SELECT last_number FROM delc.datasets WHERE id = $1", dataset.id)
    if number != dataset.last_number:
        raise changed_within(dataset.name)


def changed_within(dataset: str) -> WrongState:
    """The error for a query that changes the data set that its rows are to go into."""
    return WrongState(
        f'data set "{dataset}" is changed by the query that a version of it is being made from',
        detail="A function that the query calls changes the data set.",
        hint="Call that function before, in a statement of its own.",
    )


def touch(dataset_id: int) -> None:
    """Leaves a mark that the store is another: who commits in an older snapshot, in which it would be empty, gets an
    error to try again after.
    """
    with queries.as_owner():
        queries.execute("UPDATE delc.datasets SET last_number = last_number WHERE id = $1", dataset_id)


def find_dataset(dataset_id: int) -> Dataset:
    """A data set that there is, not locked."""
    with queries.as_owner():
        found = queries.row("SELECT * FROM delc.datasets WHERE id = $1", dataset_id)
    assert found is not None
    return Dataset(found["id"], found["name"], found["owner"], found["last_number"], found)


def unknown_dataset(name: str) -> UndefinedObject:
    """The error for a data set that does not exist."""
    with queries.as_owner():
        known = [row["name"] for row in queries.rows("SELECT name FROM delc.datasets")]
    error = unknown("data set", name, known)
    assert isinstance(error, UndefinedObject)
    return error


def require_ownership(dataset: Dataset, what: str, *, or_admin: bool) -> None:
    """``InsufficientPrivilege`` unless the caller is a member of the data set's owner, or (where allowed) of
    delc_admin.
    """
    roles = [dataset.owner, *(["delc_admin"] if or_admin else [])]
    if not rights.is_member_of_any(roles):
        raise InsufficientPrivilege(
            f'you may not {what} data set "{dataset.name}"',
            detail=f'It belongs to "{dataset.owner}".',
            hint=f"Ask a member of that role{' or of delc_admin' if or_admin else ''} to do it.",
        )


_INSERT_DATASET = """
    INSERT INTO delc.datasets (name, source, key_columns, target_columns, split_column,
                               validation_fraction, test_fraction, split_seed, stratified, owner, description)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (name) DO NOTHING
    RETURNING id
"""

_INSERT_VERSION = """
    INSERT INTO delc.dataset_versions (dataset_id, number, run_id, kind, message, created_by,
                                       rows, train, validation, test, added, removed, columns)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    RETURNING id
"""

_SET_REFERENCE = """
    INSERT INTO delc.dataset_refs (dataset_id, name, kind, version_id, created_by)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (dataset_id, name) DO UPDATE SET version_id = EXCLUDED.version_id, moved_at = clock_timestamp()
"""

_INSERT_PARENTS = """
    INSERT INTO delc.dataset_version_parents (version_id, parent_id, position)
    SELECT $1, parent.id, parent.position FROM unnest($2) WITH ORDINALITY AS parent(id, position)
"""
