"""Who may read a data set: its owner, and the roles that were granted it."""

from __future__ import annotations

from delc.datasets import catalog, names, store
from delc.server import queries
from delc.server.errors import InvalidParameter, unknown


def grant(name: str, role: str) -> None:
    """Lets a role read all versions of a data set."""
    store.grant_reading(_changeable(name, "grant"), _existing(role))


def revoke(name: str, role: str) -> None:
    """Takes that right back. The owner keeps it."""
    dataset_id = _changeable(name, "revoke")
    with queries.as_owner():
        owner = queries.value("SELECT owner FROM delc.datasets WHERE id = $1", dataset_id)
    if role == owner:
        raise InvalidParameter(f'"{role}" owns data set "{name}" and keeps the right to read it')
    store.revoke_reading(dataset_id, _existing(role))


def _changeable(name: str, what: str) -> int:
    """Id of a data set whose rights the caller may change."""
    parsed = names.parse(name)
    if not parsed.is_bare:
        raise InvalidParameter(
            f'"{name}" names a version, but rights are those of the whole data set', hint=f'Name "{parsed.dataset}".'
        )
    dataset = catalog.lock_dataset(parsed.dataset)
    catalog.require_ownership(dataset, what, or_admin=True)
    return dataset.id


def _existing(role: str) -> str:
    known = [row["name"] for row in queries.rows("SELECT rolname::pg_catalog.text AS name FROM pg_catalog.pg_roles")]
    if role not in known:
        raise unknown("role", str(role), [name for name in known if not name.startswith("pg_")])
    return role
