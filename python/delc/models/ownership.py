"""Who may change a model: members of its owner, and of delc_admin."""

from __future__ import annotations

from collections.abc import Iterable

from delc.server import queries, rights
from delc.server.errors import InsufficientPrivilege

ADMINISTRATORS = "delc_admin"


def require_owner(model: str) -> None:
    """Raises ``InsufficientPrivilege`` unless the caller may change the model; a model that does not exist belongs to
    nobody.
    """
    with queries.as_owner():
        owner = queries.value("SELECT owner FROM delc.models WHERE name = $1", model)
    if owner is not None and not rights.is_member_of_any([owner, ADMINISTRATORS]):
        raise InsufficientPrivilege(
            f'model "{model}" belongs to another role',
            detail=f'Its owner is "{owner}".',
            hint=f"Ask a member of that role or of {ADMINISTRATORS}, or choose another name.",
        )


def owned(models: Iterable[str]) -> list[str]:
    """Those of the models that the caller may change, in the order given."""
    with queries.as_owner():
        owners = {row["name"]: row["owner"] for row in queries.rows("SELECT name, owner FROM delc.models")}
    return [name for name in models if name in owners and rights.is_member_of_any([owners[name], ADMINISTRATORS])]
