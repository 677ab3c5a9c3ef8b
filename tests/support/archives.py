"""Whether an archive is sound: for tests that leave it in the middle of something."""

from __future__ import annotations

from support.cluster import Connection
from support.workplace import rows, value

NUMBERS = """
    SELECT snapshot.version_id, snapshot.epoch, parameter.name, md5(delc.to_npy(parameter.value))
    FROM delc.parameters AS parameter JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id
    ORDER BY 1, 2, 3
"""
"""Every number of every snapshot, as a digest for each parameter."""

_UNUSED = """
    SELECT count(*) FROM delc.stored_tensors AS stored
    WHERE NOT EXISTS (SELECT FROM delc.snapshot_parameters AS p WHERE p.tensor_id = stored.id)
"""

_INCONSISTENT = """
    SELECT count(*) FROM delc.stored_tensors AS stored JOIN delc.stored_tensors AS base ON base.id = stored.base_id
    WHERE stored.hops <> base.hops + 1
        OR stored.second_base_id IS NOT NULL AND stored.second_base_id IS DISTINCT FROM base.base_id
"""


def assert_sound(db: Connection) -> None:
    """Nothing is damaged, unused or half-done, and every chain is as the catalog counts it."""
    assert rows(db, "SELECT * FROM delc.verify_archive()") == []
    assert value(db, _UNUSED) == 0
    assert value(db, _INCONSISTENT) == 0
