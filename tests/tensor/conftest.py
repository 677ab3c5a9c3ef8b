"""What the tests of the tensor type share: a connection that speaks Tensor and finds the type's operators."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from support.cluster import Connection
from support.tensors import register

settings.register_profile(
    "database",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("database")


@pytest.fixture
def tdb(db: Connection) -> Connection:
    """`db` with delc first in the search path, giving and taking Tensor."""
    db.execute("SET LOCAL search_path = delc, public")
    register(db)
    return db
