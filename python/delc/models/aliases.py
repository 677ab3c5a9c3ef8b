"""Names for versions, and the log of what each meant and when."""

from __future__ import annotations

from delc.models import names, versions
from delc.models.ownership import require_owner
from delc.server import queries, rights
from delc.server.errors import InvalidParameter, UndefinedObject, unknown


def set_alias(model: str, alias: str) -> str:
    """Lets ``name@alias`` mean the version that ``model`` means now."""
    names.check_name("alias", alias)
    if alias.isdecimal():
        raise InvalidParameter(
            f'"{alias}" cannot be an alias',
            detail=f"name@{alias} means the version with that number.",
            hint='Choose a name that is no number, such as "champion".',
        )
    if alias.casefold() == names.LATEST:
        raise InvalidParameter(
            f'"{alias}" cannot be an alias',
            detail="It would be taken for the newest version, which it would no longer be after the next one.",
            hint='Choose another, such as "champion"; the alias "default" is what the bare name means.',
        )
    version = versions.resolve(model)
    if version.snapshot:
        raise InvalidParameter(
            f'"{version}" names a snapshot, but an alias stands for a version', hint=f'Name "{version.title}".'
        )
    require_owner(version.name)
    versions.hold([version])
    username = rights.caller()
    with queries.as_owner():
        queries.execute(_LOG_SET, version.model_id, alias, queries.typed(version.number, "integer"), username)
        queries.execute(_SET_ALIAS, version.model_id, alias, version.id, username)
    return str(version)


def drop_alias(model: str, alias: str) -> str:
    """Takes the name from the version; which one it meant."""
    names.check_name("alias", alias)
    name = names.parse(model)
    if not name.is_whole:
        raise InvalidParameter(
            f'"{model}" names a version, but an alias belongs to the model', hint=f'Name "{name.model}".'
        )
    model_id = versions.resolve(name.model).model_id
    require_owner(name.model)
    username = rights.caller()
    with queries.as_owner():
        known = {row["alias"]: row for row in queries.rows(_ALIASES, model_id)}
        if alias not in known:
            error = unknown("alias", alias, known, where=f'of model "{name.model}"')
            assert isinstance(error, UndefinedObject)
            raise error
        forget(queries.typed([known[alias]["version_id"]], "bigint[]"), username, alias)
    return f"{name.model}@{known[alias]['number']}"


def forget(version_ids: queries.Typed, username: str, alias: str | None = None) -> None:
    """Takes an alias, or all aliases, from versions; runs as the extension's owner."""
    queries.execute(_LOG_DROPPED, version_ids, alias, username)
    queries.execute(
        "DELETE FROM delc.model_aliases WHERE version_id = ANY ($1) AND alias = coalesce($2, alias)", version_ids, alias
    )


_SET_ALIAS = """
    INSERT INTO delc.model_aliases (model_id, alias, version_id, set_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (model_id, alias)
    DO UPDATE SET version_id = excluded.version_id, set_by = excluded.set_by, set_at = clock_timestamp()
"""

_ALIASES = """
    SELECT alias.alias, alias.version_id, version.number
    FROM delc.model_aliases AS alias JOIN delc.model_versions AS version ON version.id = alias.version_id
    WHERE alias.model_id = $1
"""

_LOG_SET = """
    INSERT INTO delc.model_alias_log (model, alias, from_version, to_version, username)
    SELECT model.name, $2,
           (SELECT version.number FROM delc.model_aliases AS alias
            JOIN delc.model_versions AS version ON version.id = alias.version_id
            WHERE alias.model_id = model.id AND alias.alias = $2),
           $3, $4
    FROM delc.models AS model WHERE model.id = $1
"""

_LOG_DROPPED = """
    INSERT INTO delc.model_alias_log (model, alias, from_version, to_version, username)
    SELECT model.name, alias.alias, version.number, NULL, $3
    FROM delc.model_aliases AS alias
    JOIN delc.model_versions AS version ON version.id = alias.version_id
    JOIN delc.models AS model ON model.id = alias.model_id
    WHERE alias.version_id = ANY ($1) AND alias.alias = coalesce($2, alias.alias)
    ORDER BY alias.alias
"""
