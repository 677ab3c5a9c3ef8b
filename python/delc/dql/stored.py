"""Queries and configurations that are stored under names."""

from __future__ import annotations

from dataclasses import dataclass

from delc.dql.parser import parse
from delc.models.ownership import ADMINISTRATORS
from delc.server import queries, rights
from delc.server.errors import InsufficientPrivilege, InvalidParameter, unknown

LONGEST_NAME = 200


@dataclass(frozen=True)
class Shelf:
    """Where one sort of thing is stored; all texts are constants."""

    what: str
    names: str
    owner: str
    save: str
    drop: str


QUERIES = Shelf(
    "stored query",
    "SELECT name FROM delc.queries",
    "SELECT owner FROM delc.queries WHERE name = $1",
    "INSERT INTO delc.queries (name, query, owner) VALUES ($1, $2, $3)"
    " ON CONFLICT (name) DO UPDATE SET query = EXCLUDED.query, saved_at = clock_timestamp()",
    "DELETE FROM delc.queries WHERE name = $1",
)

CONFIGS = Shelf(
    "configuration",
    "SELECT name FROM delc.configs",
    "SELECT owner FROM delc.configs WHERE name = $1",
    "INSERT INTO delc.configs (name, config, owner) VALUES ($1, $2, $3)"
    " ON CONFLICT (name) DO UPDATE SET config = EXCLUDED.config, saved_at = clock_timestamp()",
    "DELETE FROM delc.configs WHERE name = $1",
)


def save(shelf: Shelf, name: str | None, value: queries.Typed) -> str:
    """Stores a value under a name, which the caller must own where it exists; the name as queries find it."""
    trimmed = _name(shelf, name)
    caller = rights.caller()
    _require_owner(shelf, trimmed)
    with queries.as_owner():
        queries.execute(shelf.save, trimmed, value, caller)
    return trimmed


def drop(shelf: Shelf, name: str | None) -> None:
    """Drops what is stored under a name, which the caller must own."""
    trimmed = _name(shelf, name)
    _require_owner(shelf, trimmed)
    with queries.as_owner():
        if not queries.execute(shelf.drop, trimmed):
            raise unknown(shelf.what, trimmed, [row["name"] for row in queries.rows(shelf.names)])


def query_value(text: str | None) -> queries.Typed:
    """A query as it is stored; it must be one."""
    parse(text)
    return queries.typed(text, "text")


def _name(shelf: Shelf, name: str | None) -> str:
    if name is None or not name.strip() or len(name.strip()) > LONGEST_NAME:
        shown = "NULL" if name is None else f'"{name:.60}"'
        raise InvalidParameter(
            f"{shown} cannot be the name of a {shelf.what}", detail=f"A name has 1 to {LONGEST_NAME} characters."
        )
    return name.strip()


def _require_owner(shelf: Shelf, name: str) -> None:
    with queries.as_owner():
        owner = queries.value(shelf.owner, name)
    if owner is not None and not rights.is_member_of_any([owner, ADMINISTRATORS]):
        raise InsufficientPrivilege(
            f'{shelf.what} "{name}" belongs to another role',
            detail=f'Its owner is "{owner}".',
            hint="Choose another name.",
        )
