"""The table of tensors behind all parameters: each is stored once, whole or as the difference from another.

Everything here runs as the extension's owner; callers are inside ``as_owner()``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import plpy
import torch

from delc.server import interrupts, queries, tensors
from delc.server.errors import Conflict, DamagedData, InvalidParameter

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


def read(stored: StoredTensor, planes: int | None = None) -> torch.Tensor:
    """The numbers of a tensor, or of its first planes with zeros below. ``DamagedData`` where they are not those that
    were stored, ``Conflict`` where it went since the catalog was read.
    """
    try:
        value = _value(stored, planes)
    except plpy.SPIError as error:
        if not tells_damage(error):
            raise
        raise _damaged(stored, str(error)) from None
    except InvalidParameter as error:
        raise _damaged(stored, error.message) from None
    if value is None:
        raise Conflict(
            f"stored tensor {stored.id} was dropped meanwhile",
            hint="Another transaction dropped or archived what it belongs to: try again.",
        )
    numbers = torch.as_tensor(value)
    if numbers.dtype is not stored.torch_dtype or numbers.numel() != stored.elements:
        raise _damaged(stored, f"It has {numbers.numel()} numbers of {numbers.dtype} instead of {stored.elements}.")
    if planes is None and (found := tensors.checksum(value)) != stored.checksum:
        raise _damaged(stored, f"Its checksum is {found} instead of {stored.checksum}.")
    return numbers


def tells_damage(error: BaseException) -> bool:
    """Whether an error of reading stored values, of which no more than ids are given, says that one is damaged."""
    state = queries.sqlstate_of(error)
    return state in DAMAGE or state.startswith("22")


def _damaged(stored: StoredTensor, problem: str) -> DamagedData:
    return DamagedData(f"stored tensor {stored.id} is damaged", detail=problem)


def take_turn() -> None:
    """Waits for other transactions that change how tensors are stored; reading and adding need no turn.

    A transaction that goes by a snapshot from before the last turn gets the error of PostgreSQL that says so (40001):
    what it sees of bases and chains is not what is there, and two such changes could make a circle.
    """
    queries.execute("UPDATE delc.storage_turn SET turns = turns + 1")


def _value(stored: StoredTensor, planes: int | None) -> Any:
    """The numbers, or those of the first planes, as the transform gives them; None where there is no such tensor."""
    if stored.hops == 0:
        if planes is None:
            value = queries.value(_WHOLE, stored.id)
        else:
            value = queries.value(_WHOLE_PLANES, stored.id, queries.typed(planes, "integer"))
        if value is not None:  # otherwise it became a difference since the catalog was read
            return value
    if planes is not None:
        return queries.value(_CHAIN_PLANES, stored.id, queries.typed(planes, "integer"))
    chain = queries.value(_CHAIN, stored.id)
    return None if chain is None else tensors.restore(chain)


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


# What delc.restored_tensor() does, in statements that are planned once in a session.
_WHOLE = "SELECT value FROM delc.stored_tensors WHERE id = $1 AND base_id IS NULL"

_WHOLE_PLANES = "SELECT delc.planes(value, $2) FROM delc.stored_tensors WHERE id = $1 AND base_id IS NULL"

_CHAIN = """
    WITH RECURSIVE chain AS (
        SELECT stored.value, stored.base_id, 0 AS hop, ARRAY[stored.id] AS path
        FROM delc.stored_tensors AS stored WHERE stored.id = $1
        UNION ALL
        SELECT stored.value, stored.base_id, chain.hop - 1, chain.path || stored.id
        FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.base_id
        WHERE stored.id <> ALL (chain.path)
    )
    SELECT array_agg(delc.encoded(value) ORDER BY hop) FROM chain
"""

_CHAIN_PLANES = "SELECT delc.unchecked_tensor($1, $2)"

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
