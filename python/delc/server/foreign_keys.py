"""Foreign keys that break because two transactions did not see each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import plpy

from delc.server import queries
from delc.server.errors import Conflict


@contextmanager
def conflict(message: str, hint: str) -> Iterator[None]:
    """``Conflict`` with this message and hint where a query in the block breaks a foreign key."""
    try:
        yield
    except plpy.SPIError as error:
        if queries.sqlstate_of(error) != queries.FOREIGN_KEY_VIOLATION:
            raise
        raise Conflict(message, hint=hint) from None
