"""The parameters of a snapshot, plane by plane from the relations; what was read is kept and never read again.

Parameters are read as the extension's owner, as all predictions do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import plpy
import torch

from delc.inference.progressive import costs
from delc.inference.progressive.depths import AHEAD_BITS, BEHIND_BITS, FIRST_BITS, SMALL
from delc.inference.progressive.directories import StoredTensor, read_directories
from delc.inference.progressive.numbers import Numbers
from delc.models import parameters, stored_tensors
from delc.server import interrupts, queries, tensors
from delc.server.errors import InvalidParameter

ALL_BITS = 32
"""Of the float32 that networks compute in."""

CHUNK_BYTES = 1996
"""What a chunk of a TOAST table holds."""


@dataclass
class Reading:
    """What was read: bytes of stored values, chunks of TOAST tables, and the seconds, by the clock and of the
    processor, that it took; and bytes of values that were not read, because memory that sessions share had their
    numbers.
    """

    bytes: int = 0
    chunks: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    shared_bytes: int = 0


@dataclass
class Planes:
    """Those of a snapshot's parameters that were read. ``bits``: the depth to which all parameters are known."""

    snapshot_id: int
    budget: costs.Budget
    tensors: list[StoredTensor] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    bits: int = 0
    read_at: dict[int, Reading] = field(default_factory=dict)
    """What had been read when so many bits were known."""
    _numbers: dict[str, Numbers] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all of them were."""
        return all(tensor.planes == len(tensor.bits) for tensor in self.tensors)

    @property
    def depths(self) -> list[int]:
        """The numbers of leading bits at which planes of large parameters end, and the depth of those read ahead."""
        found = {bits for tensor in self.tensors if tensor.large for bits in tensor.bits}
        most = max((tensor.bits[-1] for tensor in self.tensors if "float" in tensor.dtype), default=ALL_BITS)
        if FIRST_BITS in found and any(tensor.ahead for tensor in self.tensors):
            found.add(AHEAD_BITS)
        if FIRST_BITS in found and any(tensor.behind for tensor in self.tensors):
            found.add(BEHIND_BITS)
        return sorted(bits for bits in found | {most} if bits >= min(BEHIND_BITS, most))

    @property
    def all_bits(self) -> int:
        """Bits of each number that are stored."""
        return self.depths[-1]

    @property
    def stored_bytes(self) -> int:
        """What all parameters take."""
        return sum(tensor.stored for tensor in self.tensors)

    @property
    def in_shared_memory(self) -> bool:
        """Whether other sessions have left the parameters in memory, so that reading them takes next to nothing."""
        return parameters.in_shared_memory(self.snapshot_id)

    @property
    def reading_seconds(self) -> float:
        """What reading everything takes of the processor, at the rate at which it was read so far."""
        return self.stored_bytes * self.reading.processor / max(1, self.reading.bytes)

    @property
    def seconds_left(self) -> float:
        """What reading the rest takes by the clock, at the rate at which it was read so far."""
        read = sum(hop.ends[tensor.planes - 1] for tensor in self.tensors if tensor.planes for hop in tensor.hops)
        return (self.stored_bytes - read) * self.reading.seconds / max(1, self.reading.bytes)

    def read_to(self, bits: int) -> None:
        """Reads so many leading bits of every parameter, as far as planes end there."""
        while not all(self._read(tensor, tensor.planes_for(bits)) for tensor in self.tensors):
            self.forget()
            self.read_at.clear()
            self.read_directories()
        self.bits = max(self.bits, bits)
        self._note()

    def note_all(self, from_relations: set[int]) -> None:
        """Notes that everything was read elsewhere, at once: tensors by their ids from the relations, the others from
        memory that sessions share.
        """
        for tensor in self.tensors:
            if tensor.hops[-1].id not in from_relations:
                self.reading.shared_bytes += tensor.stored
                continue
            self.reading.bytes += tensor.stored
            self.reading.chunks += sum(-(-hop.stored // CHUNK_BYTES) for hop in tensor.hops if hop.stored > SMALL)
        self.note_held()

    def note_held(self) -> None:
        """Notes that everything is known without more reading."""
        self.bits = self.all_bits
        self._note()

    def _note(self) -> None:
        """What was read by now, at this depth."""
        self.read_at[self.bits] = replace(self.reading)

    def _read(self, tensor: StoredTensor, planes: int) -> bool:
        """Reads a tensor up to so many planes; False where it was stored anew since its directory was read."""
        if planes <= tensor.planes:
            return True
        interrupts.check()
        started, used = time.perf_counter(), time.process_time()
        if tensor.planes:
            self.budget.spent += costs.ANOTHER_READ
        try:
            with self.budget.free():
                done = self._read_further(tensor, planes) if len(tensor.hops) == 1 else self._read_chain(tensor, planes)
        except plpy.SPIError as error:
            if not stored_tensors.tells_damage(error):
                raise
            self.forget()
            raise parameters.damaged(self.snapshot_id, tensor.name, str(error)) from None
        if done:
            tensor.planes = planes
        self.reading.seconds += time.perf_counter() - started
        self.reading.processor += time.process_time() - used
        return done

    def _read_further(self, tensor: StoredTensor, planes: int) -> bool:
        """Into the numbers that are there."""
        (hop,) = tensor.hops
        numbers = self.numbers(tensor.name)
        depths = queries.typed(tensor.planes, "integer"), queries.typed(planes, "integer")
        with tensors.receiving(numbers.part(tensor.part)), queries.as_owner():
            found = queries.row(_READ_PLANES, hop.id, *depths, hop.row_version)
        if found is None:
            return False
        numbers.known[tensor.part] = tensor.bits[planes - 1]
        self._count(found["bytes"], found["chunks"])
        return True

    def _read_chain(self, tensor: StoredTensor, planes: int) -> bool:
        """What is put together of several values is put together anew; that takes from what bounds may take."""
        for hop in tensor.hops:
            start, end = len(hop.prefix), hop.ends[planes - 1]
            with queries.as_owner():
                found = queries.row(_STORED_PART, hop.id, start, end - start, hop.row_version)
            if found is None:
                return False
            hop.prefix += found["bytes"]
            self._count(end - start, found["chunks"])
        again = tensor.planes > 0
        with self.budget.spending() if again else nullcontext():
            value = torch.as_tensor(_value(tensor, planes))
        self.numbers(tensor.name).put(tensor.part, value, tensor.bits[planes - 1])
        return True

    def _count(self, stored: int, chunks: int) -> None:
        self.reading.bytes += stored
        self.reading.chunks += chunks

    def numbers(self, name: str) -> Numbers:
        """A parameter's, as far as it was read."""
        if name not in self._numbers:
            chunks = self.chunks(name)
            dtype = getattr(torch, chunks[0].dtype)
            self._numbers[name] = Numbers([chunk.elements for chunk in chunks], chunks[0].shape, dtype)
        return self._numbers[name]

    def read_directories(self) -> None:
        """Where the planes of every parameter lie."""
        self.tensors, chunks = read_directories(self.snapshot_id)
        self.reading.chunks += chunks

    def forget(self) -> None:
        """Drops the planes that are kept."""
        for tensor in self.tensors:
            tensor.planes = 0
            for hop in tensor.hops:
                hop.prefix = b""
        self.bits = 0
        self._numbers.clear()

    @property
    def held_bytes(self) -> int:
        """Memory that they take."""
        numbers = sum(numbers.bytes for numbers in self._numbers.values())
        return numbers + sum(len(hop.prefix) for tensor in self.tensors for hop in tensor.hops)

    @property
    def names(self) -> list[str]:
        """The parameters' names."""
        return list(dict.fromkeys(tensor.name for tensor in self.tensors))

    def prefixes(self, bits: int | None = None) -> Iterator[tuple[str, torch.Tensor, int]]:
        """Name, numbers with their unknown bits zero, and the number of bits that are known, of every parameter; as if
        no more than so many had been read.
        """
        for name in self.names:
            yield name, *self.prefix(name, bits)

    def prefix(self, name: str, bits: int | None = None) -> tuple[torch.Tensor, int]:
        """As ``prefixes``, of one parameter."""
        interrupts.check()
        known = [
            tensor.bits[(tensor.planes if bits is None else min(tensor.planes, tensor.planes_for(bits))) - 1]
            for tensor in self.chunks(name)
        ]
        return self.numbers(name).prefix(min(known)), min(known)

    def chunks(self, name: str) -> list[StoredTensor]:
        """The tensors that a parameter is made of."""
        return [tensor for tensor in self.tensors if tensor.name == name]


def _value(tensor: StoredTensor, planes: int) -> Any:
    """The numbers that the bytes read so far say, with zeros in the bits below so many planes."""
    prefixes = queries.typed([hop.prefix for hop in tensor.hops], "bytea[]")
    sizes = queries.typed([hop.stored for hop in tensor.hops], "bigint[]")
    if planes == len(tensor.bits):
        return queries.value(_CHAIN, prefixes, sizes)
    return queries.value(_CHAIN_PLANES, prefixes, sizes, queries.typed(tensor.bits[planes - 1] // 8, "integer"))


def require_depth(model: str, planes: Planes, bits: int) -> None:
    """Raises ``InvalidParameter`` where a model's parameters cannot be read to so many bits."""
    ends = sorted({known for tensor in planes.tensors if "float" in tensor.dtype for known in tensor.bits})
    if not ends or bits in ends:
        return
    allowed = ", ".join(f"'planes:{known / 8:g}'" for known in ends)
    raise InvalidParameter(
        f'the parameters of "{model}" cannot be read to {bits / 8:g} planes',
        detail=f"Their planes end at {allowed}.",
        hint="Halves are there where parameters are stored whole by delc.archive(…, halves => true).",
    )


_READ_PLANES = """
    SELECT part.bytes, part.chunks
    FROM delc.stored_tensors AS stored, LATERAL delc.read_planes(stored.value, $2, $3) AS part
    WHERE stored.id = $1 AND stored.ctid::text || ' ' || stored.xmin::text = $4
"""

_STORED_PART = """
    SELECT part.bytes, part.chunks
    FROM delc.stored_tensors AS stored, LATERAL delc.stored_part(stored.value, $2, $3) AS part
    WHERE stored.id = $1 AND stored.ctid::text || ' ' || stored.xmin::text = $4
"""

_CHAIN = """
    SELECT delc.restore(delc.tensor_of_prefix(hop.prefix, hop.stored) ORDER BY hop.number)
    FROM ROWS FROM (unnest($1), unnest($2)) WITH ORDINALITY AS hop (prefix, stored, number)
"""

_CHAIN_PLANES = """
    SELECT delc.restore(delc.tensor_of_prefix(hop.prefix, hop.stored), $3 ORDER BY hop.number)
    FROM ROWS FROM (unnest($1), unnest($2)) WITH ORDINALITY AS hop (prefix, stored, number)
"""
