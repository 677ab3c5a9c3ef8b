"""The room's SQL functions."""

from __future__ import annotations

from delc.models import names, versions
from delc.models.ownership import require_owner
from delc.server import queries, rights
from delc.server.errors import DependentObjects, InvalidParameter


def set_alias(model: str, alias: str) -> str:
    """Lets ``name@alias`` mean the version that ``model`` means now."""
    names.check_name("alias", alias)
    if alias.isdecimal():
        raise InvalidParameter(
            f'"{alias}" cannot be an alias', detail=f"name@{alias} means the version with that number."
        )
    version = versions.resolve(model)
    require_owner(version.name)
    username = rights.caller()
    with queries.as_owner():
        queries.execute(_SET_ALIAS, version.model_id, alias, version.id, username)
    return str(version)


def drop_model(model: str) -> int:
    """Drops the version that ``name@…`` means, or all versions of ``name``."""
    name = names.parse(model)
    version = versions.resolve(model)
    require_owner(version.name)
    whole = name.number is None and name.alias is None
    with queries.as_owner():
        doomed = queries.rows(_VERSIONS_OF_MODEL, version.model_id) if whole else [{"id": version.id}]
        ids = queries.typed([row["id"] for row in doomed], "bigint[]")
        _refuse_dependants(str(name), ids)
        for command in _DROP_VERSIONS:
            queries.execute(command, ids)
        queries.execute(_DROP_EMPTY_MODEL, version.model_id)
    return len(doomed)


def _refuse_dependants(name: str, ids: queries.Typed) -> None:
    derived = [row["name"] for row in queries.rows(_DERIVED_VERSIONS, ids)]
    if derived:
        raise DependentObjects(
            f'"{name}" cannot be dropped because other versions were made from it',
            detail=f"These depend on it: {', '.join(derived)}.",
            hint="Drop them first.",
        )


_SET_ALIAS = """
    INSERT INTO delc.model_aliases (model_id, alias, version_id, set_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (model_id, alias) DO UPDATE SET version_id = excluded.version_id, set_by = excluded.set_by, set_at =
    clock_timestamp()
"""

_VERSIONS_OF_MODEL = "SELECT id FROM delc.model_versions WHERE model_id = $1"

_DERIVED_VERSIONS = """
    SELECT DISTINCT model.name || '@' || version.number AS name
    FROM delc.model_version_parents AS edge
    JOIN delc.model_versions AS version ON version.id = edge.derived
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE edge.base = ANY ($1) AND NOT edge.derived = ANY ($1)
    ORDER BY 1
"""

_DROP_VERSIONS = (
    "DELETE FROM delc.run_inputs WHERE model_version_id = ANY ($1)",
    "DELETE FROM delc.run_outputs WHERE model_version_id = ANY ($1)",
    "DELETE FROM delc.model_aliases WHERE version_id = ANY ($1)",
    "DELETE FROM delc.model_version_parents WHERE derived = ANY ($1)",
    "DELETE FROM delc.model_versions WHERE id = ANY ($1)",
)

_DROP_EMPTY_MODEL = """
    DELETE FROM delc.models WHERE id = $1 AND NOT EXISTS (SELECT FROM delc.model_versions WHERE model_id = $1)
"""
