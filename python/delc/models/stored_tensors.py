"""The table of tensors behind all parameters: each is stored once, whole or as the difference from another.

Everything here runs as the extension's owner; callers are inside ``as_owner()``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import plpy
import torch

from delc.server import interrupts, queries
from delc.server.errors import Conflict

DAMAGE = frozenset({"XX001", "XX002", "54000", "0A000", "42804"})
"""The SQLSTATEs, beside all of class 22, that decoders and PostgreSQL report damaged values with: where no more than an
id is given, nothing else can be wrong."""


@dataclass(frozen=True)
class StoredTensor:
    """What the catalog says of a tensor."""

    id: int
    dtype: str
    elements: int
    checksum: int
    hops: int = 0

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return self.elements * self.torch_dtype.itemsize

    @property
    def torch_dtype(self) -> torch.dtype:
        """Its dtype in torch."""
        found = getattr(torch, self.dtype)
        assert isinstance(found, torch.dtype)
        return found


def tells_damage(error: BaseException) -> bool:
    """Whether an error of reading stored values, of which no more than ids are given, says that one is damaged."""
    state = queries.sqlstate_of(error)
    return state in DAMAGE or state.startswith("22")


def take_turn() -> None:
    """Waits for other transactions that change how tensors are stored; reading and adding need no turn.

    A transaction that goes by a snapshot from before the last turn gets the error of PostgreSQL that says so (40001):
    what it sees of bases and chains is not what is there, and two such changes could make a circle.
    """
    queries.execute("UPDATE delc.storage_turn SET turns = turns + 1")


def of_versions(version_ids: Iterable[int]) -> list[int]:
    """The tensors that the snapshots of versions are made of."""
    found = queries.rows(_OF_VERSIONS, queries.typed(list(version_ids), "bigint[]"))
    return [row["tensor_id"] for row in found]


def of_snapshot(snapshot_id: int) -> list[int]:
    """The tensors that a snapshot is made of."""
    return [row["tensor_id"] for row in queries.rows(_OF_SNAPSHOT, snapshot_id)]


def release(ids: Iterable[int]) -> int:
    """Drops those of the tensors that no snapshot has any more; how many went.

    What is stored as a difference from them becomes, first, the difference from what they were differences from, or is
    stored whole where that is not larger.
    """
    take_turn()
    found = queries.typed(list(ids), "bigint[]")
    queries.execute(_WAIT_FOR_COPIES, found)
    unused = [row["id"] for row in queries.rows(_UNUSED, found)]
    if not unused:
        return 0
    doomed = queries.typed(unused, "bigint[]")
    # From the longest chain to the shortest: what was foretold from two bases is restored before either changes.
    for dependant in queries.rows(_DEPENDANTS, doomed):
        interrupts.check()
        _rebase(dependant["id"], dependant["encoding"], doomed)
    _delete(doomed)
    return len(unused)


def _delete(doomed: Any) -> None:
    try:
        queries.execute("DELETE FROM delc.stored_tensors WHERE id = ANY ($1)", doomed)
    except plpy.SPIError as error:
        if queries.sqlstate_of(error) != queries.FOREIGN_KEY_VIOLATION:
            raise
        raise Conflict(
            "tensors that were to be dropped got used meanwhile", hint="A copy was made of their version: try again."
        ) from None


def free_from_second_base(tensor_id: int) -> None:
    """What was foretold from this tensor and its base becomes a plain difference: for when it gets another base."""
    for row in queries.rows(_FORETOLD, tensor_id):
        queries.execute(_STORE_PLAIN_DIFFERENCE, row["id"])


def _rebase(tensor_id: int, method: str, doomed: Any) -> None:
    """Stores a tensor, and those that count their hops from it, without the help of doomed ones."""
    free_from_second_base(tensor_id)
    base = queries.value(_NEAREST_KEPT_BASE, tensor_id, doomed)
    queries.execute(_STORE_WHOLE, tensor_id)
    if base is not None:
        queries.execute(_STORE_DIFFERENCE, tensor_id, base, method)
    queries.execute(_COUNT_HOPS, tensor_id)


_WAIT_FOR_COPIES = "SELECT FROM delc.stored_tensors WHERE id = ANY ($1) FOR UPDATE"

_FORETOLD = "SELECT id FROM delc.stored_tensors WHERE second_base_id IS NOT NULL AND base_id = $1"

_STORE_PLAIN_DIFFERENCE = """
    UPDATE delc.stored_tensors
    SET value = delc.tensor_delta(delc.restored_tensor(base_id), delc.restored_tensor(id), encoding),
        second_base_id = NULL
    WHERE id = $1
"""

_OF_VERSIONS = """
    SELECT DISTINCT parameter.tensor_id FROM delc.snapshots AS snapshot
    JOIN delc.snapshot_parameters AS parameter ON parameter.snapshot_id = snapshot.id
    WHERE snapshot.version_id = ANY ($1)
"""

_OF_SNAPSHOT = "SELECT DISTINCT tensor_id FROM delc.snapshot_parameters WHERE snapshot_id = $1"

_UNUSED = """
    SELECT stored.id FROM delc.stored_tensors AS stored
    WHERE stored.id = ANY ($1)
      AND NOT EXISTS (SELECT FROM delc.snapshot_parameters AS parameter WHERE parameter.tensor_id = stored.id)
"""

_DEPENDANTS = """
    SELECT id, encoding FROM delc.stored_tensors
    WHERE (base_id = ANY ($1) OR second_base_id = ANY ($1)) AND NOT id = ANY ($1)
    ORDER BY hops DESC, id
"""

_NEAREST_KEPT_BASE = """
    WITH RECURSIVE ancestor AS (
        SELECT stored.base_id AS id, 1 AS step, ARRAY[stored.id] AS path
        FROM delc.stored_tensors AS stored WHERE stored.id = $1
        UNION ALL
        SELECT stored.base_id, ancestor.step + 1, ancestor.path || stored.id
        FROM ancestor JOIN delc.stored_tensors AS stored ON stored.id = ancestor.id
        WHERE stored.id <> ALL (ancestor.path)
    )
    SELECT id FROM ancestor WHERE id IS NOT NULL AND NOT id = ANY ($2) ORDER BY step LIMIT 1
"""

_STORE_WHOLE = """
    UPDATE delc.stored_tensors SET value = delc.compress(delc.restored_tensor(id)),
        base_id = NULL, second_base_id = NULL, hops = 0, encoding = 'dense'
    WHERE id = $1
"""

_STORE_DIFFERENCE = """
    UPDATE delc.stored_tensors AS stored
    SET value = difference.value, base_id = base.id, hops = base.hops + 1, encoding = $3
    FROM delc.stored_tensors AS base
    CROSS JOIN LATERAL (
        SELECT delc.tensor_delta(delc.restored_tensor(base.id), target.value, $3) AS value
        FROM delc.stored_tensors AS target WHERE target.id = $1
    ) AS difference
    WHERE stored.id = $1 AND base.id = $2 AND delc.stored_bytes(difference.value) < delc.stored_bytes(stored.value)
"""

_COUNT_HOPS = """
    WITH RECURSIVE tree AS (
        SELECT stored.id, stored.hops FROM delc.stored_tensors AS stored WHERE stored.id = $1
        UNION ALL
        SELECT stored.id, tree.hops + 1 FROM tree JOIN delc.stored_tensors AS stored ON stored.base_id = tree.id
    )
    UPDATE delc.stored_tensors AS stored SET hops = tree.hops
    FROM tree WHERE stored.id = tree.id AND stored.hops <> tree.hops
"""
