"""Who may change a model: members of its owner, and of delc_admin."""

from __future__ import annotations

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
