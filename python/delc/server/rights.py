"""Who calls, and which roles' rights the caller has.

What decides about rights is asked with the search path of the owner: with the caller's own, an operator of the
caller's could answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.server import queries


def caller() -> str:
    """The role with whose rights the caller's queries run."""
    name: str = queries.value("SELECT current_user::pg_catalog.text")
    return name


def is_member_of_any(roles: Sequence[str]) -> bool:
    """Whether the caller is a member of one of the roles, as superusers always are; roles that are gone count not."""
    name = caller()
    with queries.as_owner():
        found = queries.value(
            "SELECT bool_or(pg_has_role($1, rolname, 'MEMBER')) FROM pg_roles WHERE rolname = ANY ($2)",
            queries.typed(name, "name"),
            queries.typed(list(roles), "name[]"),
        )
    return bool(found)
