"""A connection as applications have it: registered with delc.client."""

from __future__ import annotations

import pytest

import delc.client
from support.cluster import Connection


@pytest.fixture
def cdb(db: Connection) -> Connection:
    """`db` inside of a transaction, taking and giving arrays."""
    db.execute("SELECT")
    delc.client.register(db)
    return db
