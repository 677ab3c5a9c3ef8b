"""Reading stored tensors: one after the other, several at once, or what they share once.

The session fetches stored values and several threads decode them (``delc.threads`` of them). Both take little more
memory than the tensors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import plpy
import torch

from delc.models.stored_tensors import StoredTensor, tells_damage
from delc.server import fetched, interrupts, queries, settings, tensors
from delc.server.errors import Conflict, DamagedData
from delc.server.fetched import Decoded, Job, Problem

_SHARE = 16
"""Of ``delc.memory_limit``, what values that are decoded at the same time may take with what they lead to."""

_MOST = 2.2
"""Times a tensor that reading it alone may take."""

_SMALL = 24 << 20
"""Bytes that reading one tensor may take in any case."""

_WORTH_A_THREAD = 1 << 20
"""Bytes of numbers below which a second thread costs more than it saves."""


def room() -> int:
    """Bytes that tensors which are read at the same time may take, with all that they are made from."""
    return settings.memory_limit_bytes() // _SHARE


def read(stored: StoredTensor, planes: int | None = None) -> torch.Tensor:
    """The numbers of a tensor, or of its first planes with zeros below. ``DamagedTensor`` where they are not those that
    were stored, ``Conflict`` where it went since the catalog was read.
    """
    return next(read_each([stored], planes))


def read_each(
    wanted: Sequence[StoredTensor],
    planes: int | None = None,
    together: bool = False,
    places: Mapping[int, Place] | None = None,
) -> Iterator[torch.Tensor]:
    """The same for several, in their order: each when it is asked for, or, with ``together``, as many at a time as
    there is room for. ``places``: memory to put some of them on, by number in ``wanted``.

    At its peak this takes 24 MiB or, where that is more, 2.2 times the tensor; with ``together``, ``room()``.
    """
    most = max(room(), _SMALL) if together else _SMALL
    sizes = _sizes(wanted)
    threads = settings.threads() if together else 1
    placed = [_Placed(stored, (places or {}).get(number)) for number, stored in enumerate(wanted)]
    for group in _groups(placed, sizes, most if together else 0):
        stored = group[0].stored
        if len(group) == 1 and sizes[stored.id] > max(most, _MOST * stored.bytes):
            yield _put(group[0], _streamed(stored, planes))
        else:
            yield from _decoded(group, planes, threads)


class DamagedTensor(DamagedData):
    """A stored tensor does not give the numbers that were stored."""

    def __init__(self, stored: StoredTensor, problem: str) -> None:
        """``problem``: what shows that."""
        super().__init__(f"stored tensor {stored.id} is damaged", detail=problem)
        self.tensor_id = stored.id


Memory = npt.NDArray[np.uint8]
"""The bytes of numbers, in C order."""

Place = Callable[[], Memory]
"""Gives the memory that a tensor's numbers are wanted on, when they are about to come."""


@dataclass(frozen=True)
class _Placed:
    """A tensor and where its numbers are wanted, if that matters."""

    stored: StoredTensor
    place: Place | None


def _put(wanted: _Placed, numbers: torch.Tensor) -> torch.Tensor:
    if wanted.place is None:
        return numbers
    there = torch.from_numpy(wanted.place()).view(numbers.dtype)
    return there.copy_(numbers.reshape(-1))


def _groups(wanted: Sequence[_Placed], sizes: Mapping[int, int], most: int) -> Iterator[list[_Placed]]:
    """Neighbours that take at most so many bytes together, or one that takes more."""
    group: list[_Placed] = []
    taken = 0
    for one in wanted:
        size = sizes[one.stored.id]
        if group and taken + size > most:
            yield group
            group, taken = [], 0
        group.append(one)
        taken += size
    if group:
        yield group


def _sizes(wanted: Sequence[StoredTensor]) -> dict[int, int]:
    """Bytes that each takes while it is decoded: all that is fetched, and its numbers, twice where differences lead to
    them.
    """
    ids = queries.typed([stored.id for stored in wanted], "bigint[]")
    with queries.as_owner():
        fetched_bytes = {row["wanted"]: row["bytes"] for row in queries.rows(_SIZES, ids)}
    return {
        stored.id: int(fetched_bytes.get(stored.id, 0)) + stored.bytes * (1 if stored.hops == 0 else 2)
        for stored in wanted
    }


# ---- several at a time ----


def _decoded(group: Sequence[_Placed], planes: int | None, threads: int) -> list[torch.Tensor]:
    try:
        with fetched.values() as handle:
            jobs = _fetch(handle, group, planes)
            found = fetched.decode(handle, jobs, _threads_for(group, threads))
    except plpy.SPIError as error:
        if not tells_damage(error):
            raise
        if len(group) > 1:  # to find out which
            return [_decoded([one], planes, 1)[0] for one in group]
        raise DamagedTensor(group[0].stored, str(error)) from None
    return [_checked(wanted.stored, one, planes) for wanted, one in zip(group, found, strict=True)]


def _threads_for(group: Sequence[_Placed], threads: int) -> int:
    return min(threads, 1 + sum(one.stored.bytes for one in group) // _WORTH_A_THREAD)


def _fetch(handle: int, group: Sequence[_Placed], planes: int | None) -> list[Job]:
    """Fetches the chains of tensors as they are now, in one statement, so that they fit together."""
    ids = queries.typed([one.stored.id for one in group], "bigint[]")
    with queries.as_owner():
        rows = queries.rows(_FETCH, ids, queries.typed(handle, "integer"), queries.typed(planes, "integer"))
    rows.sort(key=itemgetter("place", "hop"))
    chains = {place: list(chain) for place, chain in groupby(rows, key=itemgetter("place"))}
    return [_job(wanted, chains.get(place), planes) for place, wanted in enumerate(group, 1)]


def _job(wanted: _Placed, chain: list[dict[str, Any]] | None, planes: int | None) -> Job:
    if chain is None:
        raise _gone(wanted.stored)
    places = tuple(row["at"] for row in chain)
    into = wanted.place() if wanted.place is not None else None
    if chain[0]["needs_all"]:
        return Job(places, keep=planes or 0, into=into)
    return Job(places, planes or 0, into=into)


def _gone(stored: StoredTensor) -> Conflict:
    return Conflict(
        f"stored tensor {stored.id} was dropped meanwhile",
        hint="Another transaction dropped or archived what it belongs to: try again.",
    )


def _checked(stored: StoredTensor, found: Decoded | Problem, planes: int | None) -> torch.Tensor:
    if isinstance(found, Problem):
        raise DamagedTensor(stored, found.message)
    return _as_stored(stored, found.numbers, None if planes is not None else found.checksum)


def _as_stored(stored: StoredTensor, value: Any, checksum: int | None) -> torch.Tensor:
    """The numbers as a tensor, if they can be those that were stored. ``checksum``: None where some were not read."""
    numbers = torch.as_tensor(value)
    if numbers.dtype is not stored.torch_dtype or numbers.numel() != stored.elements:
        raise DamagedTensor(
            stored, f"It has {numbers.numel()} numbers of {numbers.dtype} instead of {stored.elements}."
        )
    if checksum is not None and checksum != stored.checksum:
        raise DamagedTensor(stored, f"Its checksum is {checksum} instead of {stored.checksum}.")
    return numbers


# ---- one that is too large for that ----


def _streamed(stored: StoredTensor, planes: int | None) -> torch.Tensor:
    """Restores a chain as its values are fetched, piece by piece."""
    try:
        with fetched.numbers() as restored:
            with queries.as_owner():
                row = queries.row(
                    _STREAM, stored.id, queries.typed(restored.handle, "integer"), queries.typed(planes, "integer")
                )
            if row is None or row["values"] is None:
                raise _gone(stored)
            value = restored.take((planes or 0) if row["needs_all"] else 0)
    except plpy.SPIError as error:
        if not tells_damage(error):
            raise
        raise DamagedTensor(stored, str(error)) from None
    return _as_stored(stored, value, tensors.checksum(value) if planes is None else None)


# ---- what they share, once ----


@dataclass(frozen=True)
class _Node:
    """A stored value that is needed: what it is a difference from, and the bases that it was foretold from."""

    id: int
    base: int | None
    needs_grandbase: bool
    encoding: str


def read_shared(
    wanted: Sequence[StoredTensor], planes: int | None = None
) -> Iterator[tuple[StoredTensor, torch.Tensor]]:
    """Every tensor once, in the order in which each follows from what it is a difference from: what several are made
    from is decoded once, and kept only as long as something waits for it.
    """
    by_id = {stored.id: stored for stored in wanted}
    nodes, children = _tree(list(by_id))
    for key in by_id.keys() - nodes.keys():
        raise _gone(by_id[key])
    weight = _weights(nodes, children)
    for root in sorted(key for key, node in nodes.items() if node.base is None):
        members = _below(root, children)
        whole = planes is None or any(nodes[key].encoding == "sub" for key in members)
        for key, decoded in _walk(root, nodes, children, weight, 0 if whole or planes is None else planes):
            if key not in by_id:
                continue
            if isinstance(decoded, Problem):
                raise DamagedTensor(by_id[key], decoded.message)
            numbers = _as_stored(by_id[key], decoded.numbers, decoded.checksum if planes is None else None)
            yield by_id[key], _leading(numbers, planes) if whole and planes is not None else numbers


def _tree(ids: Sequence[int]) -> tuple[dict[int, _Node], dict[int, list[int]]]:
    with queries.as_owner():
        rows = queries.rows(_TREE, queries.typed(list(ids), "bigint[]"))
    nodes = {row["id"]: _Node(row["id"], row["base_id"], row["needs_grandbase"], row["encoding"]) for row in rows}
    children: dict[int, list[int]] = {key: [] for key in nodes}
    for node in nodes.values():
        if node.base is not None:
            children[node.base].append(node.id)
    return nodes, children


def _below(root: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    """The root and all that follows from it, each after what it follows from."""
    found = [root]
    for key in found:
        found += children[key]
    return found


def _weights(nodes: Mapping[int, _Node], children: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """How many values follow from each, itself included."""
    weight: dict[int, int] = {}
    for root in (key for key, node in nodes.items() if node.base is None):
        for key in reversed(_below(root, children)):
            weight[key] = 1 + sum(weight[child] for child in children[key])
    return weight


def _walk(
    root: int,
    nodes: Mapping[int, _Node],
    children: Mapping[int, Sequence[int]],
    weight: Mapping[int, int],
    planes: int,
) -> Iterator[tuple[int, Decoded | Problem]]:
    """Decodes a tree from its root. The branch that most follows from comes last, when nothing else waits for its base:
    so at most as many values are kept as the logarithm of their number, and two.
    """
    waiting: list[tuple[int, Any, Any]] = [(root, None, None)]
    while waiting:
        interrupts.check()
        key, base, grandbase = waiting.pop()
        decoded = _step(nodes[key], base, grandbase, planes)
        yield key, decoded
        if isinstance(decoded, Problem):  # nothing below can be restored
            for lost in _below(key, children)[1:]:
                yield lost, decoded
            continue
        for child in sorted(children[key], key=lambda child: -weight[child]):
            waiting.append((child, decoded.memory, base if nodes[child].needs_grandbase else None))
        del decoded, base, grandbase


def _step(node: _Node, base: Any, grandbase: Any, planes: int) -> Decoded | Problem:
    """Decodes one stored value, given the numbers that it is a difference from."""
    try:
        with fetched.values() as handle:
            with queries.as_owner():
                place = queries.value(
                    _FETCH_ONE,
                    node.id,
                    queries.typed(handle, "integer"),
                    queries.typed(planes or None, "integer"),
                    queries.typed(node.base, "bigint"),
                    node.encoding,
                )
            if place is None:
                raise Conflict(
                    f"stored tensor {node.id} was stored in another way meanwhile",
                    hint="Another transaction archived or dropped what it belongs to: try again.",
                )
            return fetched.decode(handle, [Job((place,), planes, 0, base, grandbase)])[0]
    except plpy.SPIError as error:
        if not tells_damage(error):
            raise
        return Problem(str(error))


_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def _leading(numbers: torch.Tensor, planes: int) -> torch.Tensor:
    """The first bytes of each number, with zeros below; on other memory, since more may follow from the numbers."""
    zeros = numbers.element_size() - planes
    if zeros <= 0:
        return numbers
    integers = numbers.view(_INTEGERS[numbers.element_size()])
    return integers.bitwise_and(-1 << (8 * zeros)).view(numbers.dtype)


_CHAINS = """
    WITH RECURSIVE chain AS (
        SELECT wanted.place, wanted.id AS wanted, stored.id, stored.base_id, stored.encoding, 0 AS hop,
               ARRAY[stored.id] AS path
        FROM unnest($1) WITH ORDINALITY AS wanted (id, place)
        JOIN delc.stored_tensors AS stored ON stored.id = wanted.id
        UNION ALL
        SELECT chain.place, chain.wanted, stored.id, stored.base_id, stored.encoding, chain.hop - 1,
               chain.path || stored.id
        FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.base_id
        WHERE stored.id <> ALL (chain.path)
    )
"""

_SIZES = f"""
    {_CHAINS}
    SELECT chain.wanted, sum(delc.stored_bytes(stored.value)) AS bytes
    FROM (SELECT DISTINCT wanted, id FROM chain) AS chain JOIN delc.stored_tensors AS stored ON stored.id = chain.id
    GROUP BY chain.wanted
"""

# Integer differences carry from plane to plane: all of them are needed for the first.
_FETCH = f"""
    {_CHAINS}
    SELECT link.place, link.hop, link.needs_all,
           delc.fetch_stored($2, stored.value, CASE WHEN NOT link.needs_all THEN $3 END) AS at
    FROM (SELECT place, hop, id, bool_or(encoding = 'sub') OVER (PARTITION BY place) AS needs_all FROM chain) AS link
    JOIN delc.stored_tensors AS stored ON stored.id = link.id
"""

_STREAM = """
    WITH RECURSIVE chain AS (
        SELECT stored.id, stored.base_id, stored.encoding, 0 AS hop, ARRAY[stored.id] AS path
        FROM delc.stored_tensors AS stored WHERE stored.id = $1
        UNION ALL
        SELECT stored.id, stored.base_id, stored.encoding, chain.hop - 1, chain.path || stored.id
        FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.base_id
        WHERE stored.id <> ALL (chain.path)
    ), needed AS (
        SELECT bool_or(encoding = 'sub') AS needs_all FROM chain
    )
    SELECT bool_or(needed.needs_all) AS needs_all,
           delc.restore_numbers($2, stored.value, CASE WHEN NOT needed.needs_all THEN $3 END ORDER BY chain.hop)
               AS values
    FROM needed, chain JOIN delc.stored_tensors AS stored ON stored.id = chain.id
"""

_TREE = """
    WITH RECURSIVE needed AS (
        SELECT stored.id, stored.base_id, stored.second_base_id, stored.encoding
        FROM delc.stored_tensors AS stored WHERE stored.id = ANY ($1)
        UNION
        SELECT stored.id, stored.base_id, stored.second_base_id, stored.encoding
        FROM needed JOIN delc.stored_tensors AS stored ON stored.id = needed.base_id
    )
    SELECT id, base_id, second_base_id IS NOT NULL AS needs_grandbase, encoding FROM needed ORDER BY id
"""

_FETCH_ONE = """
    SELECT delc.fetch_stored($2, stored.value, $3) FROM delc.stored_tensors AS stored
    WHERE stored.id = $1 AND stored.base_id IS NOT DISTINCT FROM $4 AND stored.encoding = $5
"""
