"""The room's SQL functions."""

from __future__ import annotations

from typing import Any

from delc.dql import configs, pictures, stored
from delc.dql.execution import execute
from delc.dql.parser import parse
from delc.server.errors import InvalidParameter


def dql(query: str | None, dry_run: bool | None, seed: int | None) -> list[tuple[Any, ...]]:
    """Runs a query, or says what it would do. Its rows have the columns of ``rows.COLUMNS``."""
    statement = parse(query)
    if seed is None or not 0 <= seed < 2**63:
        raise InvalidParameter(f"seed is {'NULL' if seed is None else seed}; it must be a whole number of at least 0")
    found = execute(statement, seed, bool(dry_run))
    return [tuple(row.values()) for row in found]


def save_query(name: str | None, query: str | None) -> str:
    """Stores a query."""
    return stored.save(stored.QUERIES, name, stored.query_value(query))


def drop_query(name: str | None) -> None:
    """Drops a stored query."""
    stored.drop(stored.QUERIES, name)


def save_config(name: str | None, config: str | None) -> str:
    """Stores a configuration."""
    return stored.save(stored.CONFIGS, name, configs.config_value(name, config))


def drop_config(name: str | None) -> None:
    """Drops a stored configuration."""
    stored.drop(stored.CONFIGS, name)


def network_svg(model: str | None) -> str:
    """A picture of a version's network."""
    return pictures.network_svg(model)


def diff_svg(a: str | None, b: str | None) -> str:
    """A picture of the difference of two networks."""
    return pictures.diff_svg(a, b)
