"""Storing tensors in another way: their numbers stay, which is checked for each."""

from __future__ import annotations

from dataclasses import dataclass

from delc.archive.choices import Choice
from delc.archive.scope import Tensor
from delc.models import stored_tensors
from delc.server import interrupts, queries
from delc.server.errors import InvalidData

WITH_SECOND_BASE = frozenset({"sub"})
"""The methods that may foretell a tensor from its base and the base's base."""


@dataclass(frozen=True)
class Stored:
    """How a tensor is stored now."""

    encoding: str
    base: int | None
    hops: int
    bytes: int


def store(tensor: Tensor, choice: Choice, whole: Choice) -> Stored:
    """Stores a tensor as ``choice`` says, unless it is so already; as ``whole`` says where the difference turns out to
    be larger than that. Its base has to be in its final form. Runs in the caller's transaction, as the owner.
    """
    with queries.as_owner():
        current = queries.rows(_CURRENT, tensor.id)[0]
        base = queries.rows(_CURRENT, choice.base)[0] if choice.base is not None else None
        second = base["base_id"] if base is not None and choice.encoding in WITH_SECOND_BASE else None
        if not _is_so(current, choice, second):
            stored_tensors.free_from_second_base(tensor.id)
            if base is None:
                _store_whole(tensor.id, choice.encoding)
            else:
                queries.execute(
                    _STORE_DIFFERENCE, tensor.id, choice.base, choice.encoding, queries.typed(second, "bigint")
                )
                if queries.value(_STORED_BYTES, tensor.id) > whole.cost.bytes:
                    _store_whole(tensor.id, whole.encoding)
            _check(tensor)
        found = queries.rows(_CURRENT, tensor.id)[0]
    return Stored(found["encoding"], found["base_id"], found["hops"], found["bytes"])


def are_equal(one: int, other: int) -> bool:
    """Whether two tensors are equal bit for bit."""
    with queries.as_owner():
        equal: bool = queries.value(_ARE_EQUAL, one, other)
    return equal


def use_instead(tensor_id: int, same: int) -> None:
    """Uses tensor ``same`` wherever ``tensor_id`` is used, its equal."""
    with queries.as_owner():
        queries.execute(_USE_ANOTHER, tensor_id, same)


def count_hops(longest_chain: int) -> None:
    """Brings the hops of tensors up to date whose bases were stored in another way. Tensors outside of the scope whose
    chains have grown by that beyond ``longest_chain`` are stored whole.
    """
    with queries.as_owner():
        while grown := queries.rows(_GROWN, queries.typed(longest_chain, "integer")):
            for row in grown:
                interrupts.check()
                stored_tensors.free_from_second_base(row["id"])
                _store_whole(row["id"], "dense")
        queries.execute(_COUNT_HOPS)


def _store_whole(tensor_id: int, encoding: str) -> None:
    if encoding == "fast":
        queries.execute(_STORE_FAST, tensor_id)
    else:
        queries.execute(_STORE_WHOLE, tensor_id, encoding)


def _is_so(current: dict[str, object], choice: Choice, second: int | None) -> bool:
    same = current["base_id"] == choice.base and current["encoding"] == choice.encoding
    return same and current["second_base_id"] in (None, second)


def _check(tensor: Tensor) -> None:
    if queries.value("SELECT delc.checksum(delc.unchecked_tensor($1))", tensor.id) != tensor.checksum:
        raise InvalidData(
            f"{tensor.title} would not come back as it was",
            detail="Its checksum differs, so nothing was changed.",
            hint="SELECT * FROM delc.verify_archive() tells whether what is stored is damaged.",
        )


_CURRENT = """
    SELECT base_id, second_base_id, hops, encoding, delc.stored_bytes(value) AS bytes
    FROM delc.stored_tensors WHERE id = $1
"""

_STORED_BYTES = "SELECT delc.stored_bytes(value) FROM delc.stored_tensors WHERE id = $1"

_STORE_WHOLE = """
    UPDATE delc.stored_tensors SET value = delc.compress(delc.restored_tensor(id), halves => $2 = 'halves'),
        base_id = NULL, second_base_id = NULL, hops = 0, encoding = $2
    WHERE id = $1
"""

_STORE_FAST = """
    UPDATE delc.stored_tensors SET value = delc.unchecked_tensor(id),
        base_id = NULL, second_base_id = NULL, hops = 0, encoding = 'fast'
    WHERE id = $1
"""

_STORE_DIFFERENCE = """
    UPDATE delc.stored_tensors AS stored
    SET value = delc.tensor_delta(delc.restored_tensor(base.id), delc.restored_tensor(stored.id), $3,
                                  delc.restored_tensor($4)),
        base_id = base.id, second_base_id = $4, hops = base.hops + 1, encoding = $3
    FROM delc.stored_tensors AS base
    WHERE stored.id = $1 AND base.id = $2
"""

_ARE_EQUAL = "SELECT delc.tensor_eq(delc.restored_tensor($1), delc.restored_tensor($2))"

_USE_ANOTHER = "UPDATE delc.snapshot_parameters SET tensor_id = $2 WHERE tensor_id = $1"

# The first on each chain that is longer than allowed and than it was; those after it get shorter with it.
_GROWN = """
    WITH RECURSIVE tree AS (
        SELECT stored.id, 0 AS hops, false AS beyond FROM delc.stored_tensors AS stored WHERE stored.base_id IS NULL
        UNION ALL
        SELECT stored.id, tree.hops + 1, tree.hops + 1 > greatest(stored.hops, $1)
        FROM tree JOIN delc.stored_tensors AS stored ON stored.base_id = tree.id
        WHERE NOT tree.beyond
    )
    SELECT id FROM tree WHERE beyond
"""

_COUNT_HOPS = """
    WITH RECURSIVE tree AS (
        SELECT stored.id, 0 AS hops FROM delc.stored_tensors AS stored WHERE stored.base_id IS NULL
        UNION ALL
        SELECT stored.id, tree.hops + 1 FROM tree JOIN delc.stored_tensors AS stored ON stored.base_id = tree.id
    )
    UPDATE delc.stored_tensors AS stored SET hops = tree.hops
    FROM tree WHERE stored.id = tree.id AND stored.hops <> tree.hops
"""
