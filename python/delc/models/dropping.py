"""Dropping models, versions and snapshots, unless others were made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import plpy

from delc.models import aliases, names, stored_tensors, versions
from delc.models.ownership import require_owner
from delc.server import queries, rights
from delc.server.errors import Conflict, DependentObjects, InvalidParameter

MOST_LISTED = 20


def drop_model(model: str) -> int:
    """Drops the version that ``name@…`` means, or all versions of ``name``; how many went."""
    name = names.parse(model)
    if name.snapshot is not None:
        raise InvalidParameter(f'"{model}" names a snapshot', hint="Drop it with delc.drop_snapshot().")
    version = versions.resolve(model)
    require_owner(version.name)
    username = rights.caller()
    with queries.as_owner():
        doomed = queries.rows(_VERSIONS_OF_MODEL, version.model_id) if name.is_whole else [{"id": version.id}]
        ids = lock([row["id"] for row in doomed])
        if not ids:
            raise versions.dropped(str(name) if name.is_whole else version.title)
        _refuse_dependants(str(name), queries.rows(_DERIVED_VERSIONS, queries.typed(ids, "bigint[]")))
        drop_versions(ids, version.model_id, username)
    return len(ids)


def lock(ids: Sequence[int]) -> list[int]:
    """Waits for the transactions that use versions, and keeps others from using them; those that are still there."""
    stored_tensors.take_turn()  # before any row is locked, as all do, so that none waits for another in a circle
    return [row["id"] for row in queries.rows(_LOCK, queries.typed(list(ids), "bigint[]"))]


def drop_versions(ids: Sequence[int], model_id: int, username: str) -> None:
    """Drops versions that nothing depends on, and the model with its last one; runs as the extension's owner."""
    doomed = queries.typed(lock(ids), "bigint[]")
    aliases.forget(doomed, username)
    tensors = stored_tensors.of_versions(ids)
    with _unused("a version"):
        for command in _DROP_VERSIONS:
            queries.execute(command, doomed)
    stored_tensors.release(tensors)
    with _unused("the model"):
        queries.execute(_DROP_UNUSED_FILES)
        queries.execute(_DROP_EMPTY_MODEL, model_id)


@contextmanager
def _unused(what: str) -> Iterator[None]:
    """``Conflict`` where another transaction that this one does not see yet has come to use what is dropped."""
    try:
        yield
    except plpy.SPIError as error:
        if queries.sqlstate_of(error) != queries.FOREIGN_KEY_VIOLATION:
            raise
        raise Conflict(
            f"{what} cannot be dropped because another transaction has just come to use it",
            hint="Try again: what depends on it is then named, or it goes.",
        ) from None


def drop_versions_made(ids: Sequence[int], username: str) -> None:
    """Drops versions that the running call made itself and nothing depends on."""
    with queries.as_owner():
        for row in queries.rows(_MODELS_OF_VERSIONS, queries.typed(list(ids), "bigint[]")):
            drop_versions(row["ids"], row["model_id"], username)


def drop_snapshot(snapshot: str) -> str:
    """Drops one snapshot of a version; its name. The one that the version predicts with stays."""
    version = versions.resolve(snapshot)
    if not version.snapshot:
        raise InvalidParameter(
            f'"{snapshot}" names no snapshot', hint=f"Name it by its epoch: {version.title}#5, or #latest."
        )
    require_owner(version.name)
    with queries.as_owner():
        if not lock([version.id]):
            raise versions.dropped(version.title)
        if queries.value("SELECT is_latest FROM delc.snapshots WHERE id = $1", version.snapshot_id):
            raise DependentObjects(
                f'"{version}" cannot be dropped because "{version.title}" predicts with it',
                hint=f"Drop the whole version: delc.drop_model({queries.quote_literal(version.title)}).",
            )
        _refuse_dependants(str(version), queries.rows(_DERIVED_FROM_SNAPSHOT, version.snapshot_id))
        tensors = stored_tensors.of_snapshot(version.snapshot_id)
        with _unused("the snapshot"):
            queries.execute("DELETE FROM delc.snapshots WHERE id = $1", version.snapshot_id)
        stored_tensors.release(tensors)
    return f"{version.title}#{version.epoch}"


def _refuse_dependants(name: str, found: list[dict[str, str]]) -> None:
    derived = [row["name"] for row in found]
    if derived:
        more = f" and {len(derived) - MOST_LISTED} more" if len(derived) > MOST_LISTED else ""
        raise DependentObjects(
            f'"{name}" cannot be dropped because other versions were made from it',
            detail=f"These depend on it: {', '.join(derived[:MOST_LISTED])}{more}.",
            hint="Drop them first.",
        )


_LOCK = "SELECT id FROM delc.model_versions WHERE id = ANY ($1) ORDER BY id FOR UPDATE"

_VERSIONS_OF_MODEL = "SELECT id FROM delc.model_versions WHERE model_id = $1"

_MODELS_OF_VERSIONS = """
    SELECT model_id, array_agg(id) AS ids FROM delc.model_versions WHERE id = ANY ($1) GROUP BY model_id
"""

_DERIVED_VERSIONS = """
    SELECT DISTINCT model.name || '@' || version.number AS name
    FROM delc.model_version_parents AS edge
    JOIN delc.model_versions AS version ON version.id = edge.derived
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE edge.base = ANY ($1) AND NOT edge.derived = ANY ($1)
    ORDER BY 1
"""

_DERIVED_FROM_SNAPSHOT = """
    SELECT DISTINCT model.name || '@' || version.number AS name
    FROM delc.model_version_parents AS edge
    JOIN delc.model_versions AS version ON version.id = edge.derived
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE edge.snapshot_id = $1
    ORDER BY 1
"""

_DROP_VERSIONS = (
    "DELETE FROM delc.run_inputs WHERE model_version_id = ANY ($1)",
    "DELETE FROM delc.run_outputs WHERE model_version_id = ANY ($1)",
    "DELETE FROM delc.model_version_parents WHERE derived = ANY ($1)",
    "DELETE FROM delc.model_versions WHERE id = ANY ($1)",
)

_DROP_UNUSED_FILES = """
    DELETE FROM delc.files AS file
    WHERE NOT EXISTS (SELECT FROM delc.model_files AS attached WHERE attached.hash = file.hash)
"""

_DROP_EMPTY_MODEL = """
    DELETE FROM delc.models WHERE id = $1 AND NOT EXISTS (SELECT FROM delc.model_versions WHERE model_id = $1)
"""
