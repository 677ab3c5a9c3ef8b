"""Archiving: finding the ways to store each tensor, deciding, and storing them so, in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from delc.archive import candidates, choices, costs, encoding, scope, storage
from delc.archive.choices import Choice, Ways
from delc.archive.scope import Role, Scope, Tensor
from delc.archive.storage import Request
from delc.log.runs import Run
from delc.models import stored_tensors
from delc.server import interrupts, progress, queries, settings
from delc.server.errors import LimitExceeded

USED_LATELY = timedelta(days=30)

_ENCODING_TIMES = 6
"""Times its own size that encoding a tensor takes: itself, its base and the base's base, each stored and decoded."""

_ENCODING_BYTES = 64 << 20
"""What it takes beside that at most: the symbols and raw bits of a block of differences."""

_SMALL_TIMES, _SMALL_BYTES = 16, 4 << 20
"""Less for a small tensor, which has one block no larger than itself: times its size, and the coder's tables."""


@dataclass(frozen=True)
class Order:
    """What the user asks for."""

    scope: str | None
    request: Request
    ways: Ways


def archive(run: Run, order: Order) -> Iterator[dict[str, Any]]:
    """Stores the tensors of the scope as the plan says; the rows that ``delc.archive`` returns."""
    chosen = scope.claim_versions(order.scope)
    if not chosen:
        return
    for version_id in chosen:
        run.add_input(model_version_id=version_id)
    found = _without_repetitions(_read(chosen))
    plan, whole = _plan(found, chosen, order)
    before = sum(tensor.stored_bytes for tensor in found.tensors.values())
    after = 0
    for place, choice in enumerate(storage.order(plan, found)):
        interrupts.check()
        progress.report("storing tensors", batch=place, batches=len(plan))
        tensor = found.tensors[choice.target]
        stored = encoding.store(tensor, choice, whole[tensor.id])
        after += stored.bytes
        yield _row(found, tensor, stored.encoding, stored.base, stored.bytes)
    encoding.count_hops(order.request.longest_chain)
    progress.notice(f"{len(plan)} tensors take {after} bytes, before {before}")


def foresee(order: Order) -> Iterator[dict[str, Any]]:
    """The plan alone: the same rows, with bytes as they are expected. Nothing is changed."""
    chosen = scope.find_versions(order.scope)
    if not chosen:
        return
    found = _as_without_repetitions(_read(chosen))
    plan, _ = _plan(found, chosen, order)
    for choice in storage.order(plan, found):
        yield _row(found, found.tensors[choice.target], choice.encoding, choice.base, round(choice.cost.bytes))


def _read(chosen: Sequence[int]) -> Scope:
    return scope.read(chosen, datetime.now(UTC) - USED_LATELY)


def _plan(found: Scope, chosen: Sequence[int], order: Order) -> tuple[dict[int, Choice], dict[int, Choice]]:
    """What is chosen for each tensor, and how each would be stored whole in the least space."""
    with queries.as_owner():
        versions = queries.typed(list(chosen), "bigint[]")
        parents = [(row["base"], row["derived"]) for row in queries.rows(_PARENTS, versions)]
        newest = frozenset(row["id"] for row in queries.rows(_NEWEST))
    _require_memory(found)
    ways = choices.find(found, parents, order.ways)
    whole = {choice.target: choice for choice in ways.found if choice.encoding in choices.COMPRESSED}
    progress.report("planning")
    return storage.decide(found, ways, newest, order.request), whole


def _require_memory(found: Scope) -> None:
    """``LimitExceeded`` where the largest tensor cannot be encoded within ``delc.memory_limit``."""
    largest = max(found.tensors.values(), key=costs.raw_bytes, default=None)
    if largest is None:
        return
    size = costs.raw_bytes(largest)
    needed = _ENCODING_TIMES * size + min(_SMALL_TIMES * size + _SMALL_BYTES, _ENCODING_BYTES)
    limit = settings.memory_limit_bytes()
    if needed > limit:
        raise LimitExceeded(
            f"archiving {largest.title} needs about {needed >> 20} MB, more than delc.memory_limit",
            detail=f"It is {limit >> 20} MB. Tensors are encoded one at a time, each with what it differs from.",
            hint="Let an administrator raise delc.memory_limit.",
        )


def _repetitions(found: Scope) -> dict[int, int]:
    """The tensors that are equal to another, and which that is."""
    repeated: dict[int, int] = {}
    for group in candidates.identical(found.tensors.values()):
        interrupts.check()
        first = min(tensor.id for tensor in group)
        repeated |= {other.id: first for other in group if other.id != first and encoding.are_equal(other.id, first)}
    return repeated


def _as_without_repetitions(found: Scope) -> Scope:
    """What the scope would be if tensors that are equal were one."""
    repeated = _repetitions(found)
    roles: dict[int, list[Role]] = defaultdict(list)
    for tensor in found.tensors.values():
        roles[repeated.get(tensor.id, tensor.id)] += tensor.roles
    tensors = {
        tensor.id: replace(
            tensor, roles=tuple(sorted(roles[tensor.id])), base=repeated.get(tensor.base or 0, tensor.base)
        )
        for tensor in found.tensors.values()
        if tensor.id not in repeated
    }
    snapshots = tuple(
        replace(snapshot, tensors=frozenset(repeated.get(tensor, tensor) for tensor in snapshot.tensors))
        for snapshot in found.snapshots
    )
    return replace(found, snapshots=snapshots, tensors=tensors)


def _without_repetitions(found: Scope) -> Scope:
    """Tensors that are equal become one; the scope as it is then."""
    repeated = _repetitions(found)
    if not repeated:
        return found
    for tensor, same in repeated.items():
        encoding.use_instead(tensor, same)
    with queries.as_owner():
        stored_tensors.release(list(repeated))
    return scope.read(sorted({snapshot.version_id for snapshot in found.snapshots}), datetime.now(UTC) - USED_LATELY)


def _row(found: Scope, tensor: Tensor, method: str, base: int | None, size: int) -> dict[str, Any]:
    everything = {**found.outside, **found.tensors}
    return {
        "parameter": tensor.title,
        "stored_as": method,
        "base": everything[base].title if base is not None else None,
        "bytes_before": tensor.stored_bytes,
        "bytes": size,
    }


_PARENTS = """
    SELECT origin.id AS base, derived.id AS derived
    FROM delc.model_version_parents AS edge
    JOIN delc.snapshots AS origin ON origin.version_id = edge.base
        AND (origin.id = edge.snapshot_id OR edge.snapshot_id IS NULL AND origin.is_latest)
    CROSS JOIN LATERAL (
        (SELECT first.id FROM delc.snapshots AS first WHERE first.version_id = edge.derived
         ORDER BY first.number LIMIT 1)
        UNION
        SELECT last.id FROM delc.snapshots AS last WHERE last.version_id = edge.derived AND last.is_latest
    ) AS derived
    WHERE edge.derived = ANY ($1)
    ORDER BY 1, 2
"""

_NEWEST = "SELECT max(id) AS id FROM delc.model_versions GROUP BY model_id"
