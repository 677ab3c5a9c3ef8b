"""Where the planes of a snapshot's parameters lie, and how far each parameter is read at each depth.

Parameters are read as the extension's owner, as all predictions do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import plpy

from delc.inference.progressive.depths import (
    AHEAD_BITS,
    BEHIND_BITS,
    BEHIND_KNOWN,
    FIRST_BITS,
    SMALL,
    Depths,
    read_ahead,
    read_behind,
)
from delc.models import parameters, stored_tensors
from delc.server import queries


@dataclass
class Hop:
    """A stored value that a tensor is made of: itself, or its base, or a difference on the way from the base to it.

    ``ends``: up to where it is read for each of the tensor's depths. ``prefix``: what was read so far, of values that
    are put together of several.
    """

    id: int
    stored: int
    ends: list[int]
    row_version: str
    prefix: bytes = b""


@dataclass
class StoredTensor:
    """A parameter, or a chunk of one. ``bits``: the depths to which it can be read; ``planes``: how many of them it
    is. ``ahead``: how many depths further than others it is read; ``behind``: whether it is read less far than they.
    """

    name: str
    chunk: int
    shape: tuple[int, ...]
    dtype: str
    elements: int
    bits: list[int]
    hops: list[Hop]
    part: int = 0
    """Which of the parameter's chunks it is, counted from 0."""
    ahead: int = 0
    behind: bool = False
    planes: int = 0

    @property
    def stored(self) -> int:
        """The bytes of all stored values that it is made of."""
        return sum(hop.stored for hop in self.hops)

    @property
    def large(self) -> bool:
        """Whether anything is saved by reading only a part of it; integers are read whole."""
        return self.stored > SMALL and "float" in self.dtype

    def planes_for(self, bits: int) -> int:
        """Depths that hold so many bits, and no more; small values whole, and at least one."""
        if not self.large:
            return len(self.bits)
        further = self.ahead if bits == AHEAD_BITS else 0
        if bits == BEHIND_BITS:
            bits = BEHIND_KNOWN if self.behind else FIRST_BITS
        return min(len(self.bits), max(1, sum(known <= bits for known in self.bits) + further))

    @staticmethod
    def of(rows: list[dict[str, Any]]) -> StoredTensor:
        """From the directories of all values that it is made of, the base first."""
        last = rows[-1]
        bits = [depth for depth in last["bits"] if all(depth in row["bits"] for row in rows)]
        hops = []
        for row in rows:
            ends = [row["ends"][row["bits"].index(depth)] for depth in bits]
            hops.append(Hop(row["id"], row["stored"], ends, row["row_version"]))
        shape = tuple(last["shape"])
        return StoredTensor(last["name"], last["chunk"], shape, last["dtype"], last["elements"], bits, hops)


def read_directories(snapshot_id: int) -> tuple[list[StoredTensor], int]:
    """The tensors of a snapshot's parameters, by name and chunk, and the chunks of TOAST tables that were read for it.
    ``InvalidData`` names the parameter of which the directory is damaged.
    """
    try:
        with queries.as_owner():
            rows = queries.rows(_DIRECTORIES, snapshot_id)
    except plpy.SPIError as error:
        if stored_tensors.tells_damage(error):
            parameters.load(snapshot_id)  # says which parameter it is
        raise
    tensors = [StoredTensor.of(list(chain)) for _, chain in groupby(rows, key=itemgetter("name", "chunk"))]
    chunks: dict[str, list[StoredTensor]] = {}
    for tensor in tensors:
        chunks.setdefault(tensor.name, []).append(tensor)
        tensor.part = len(chunks[tensor.name]) - 1
    depths = {name: _depths(found) for name, found in chunks.items()}
    further, behind = read_ahead(depths), read_behind(depths)
    for tensor in tensors:
        tensor.ahead = 1 if tensor.name in further else 0
        tensor.behind = tensor.name == behind
    return tensors, sum(row["chunks"] for row in rows)


def _depths(chunks: list[StoredTensor]) -> Depths:
    """Those of a parameter, which are those of its chunks; all or nothing where these differ."""
    stored = sum(chunk.stored for chunk in chunks)
    bits = chunks[0].bits
    if not chunks[0].large or any(chunk.bits != bits for chunk in chunks):
        return Depths(bits[-1:], [stored])
    ends = [sum(hop.ends[place] for chunk in chunks for hop in chunk.hops) for place in range(len(bits))]
    return Depths(bits, ends)


_DIRECTORIES = """
    WITH RECURSIVE chain AS (
        SELECT parameter.name, parameter.chunk, parameter.shape, stored.id, stored.base_id, 0 AS hop
        FROM delc.snapshot_parameters AS parameter
        JOIN delc.stored_tensors AS stored ON stored.id = parameter.tensor_id
        WHERE parameter.snapshot_id = $1
        UNION ALL
        SELECT chain.name, chain.chunk, chain.shape, stored.id, stored.base_id, chain.hop - 1
        FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.base_id
    )
    SELECT link.name, link.chunk, link.shape, link.id, link.elements, directory.dtype, directory.stored,
           directory.ends, directory.bits, directory.chunks, link.row_version
    FROM (SELECT chain.*, stored.elements, stored.value, stored.ctid::text || ' ' || stored.xmin::text AS row_version
          FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.id
          OFFSET 0) AS link, -- or the planner might read the directories of all tensors that there are
         LATERAL delc.plane_directory(link.value) AS directory
    ORDER BY link.name, link.chunk, link.hop
"""
