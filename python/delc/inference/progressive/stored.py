"""The parameters of a snapshot, plane by plane from the relations; what was read is kept and never read again.

Parameters are read as the extension's owner, as all predictions do.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import plpy
import torch

from delc.features import FittedFeatures
from delc.inference.progressive import costs, large_products
from delc.inference.progressive.boxes import Box, box_of_prefix, require_finite
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
from delc.inference.progressive.fill import filled
from delc.inference.progressive.numbers import Numbers
from delc.inference.progressive.propagation import RELAXED, Boxed, boxed
from delc.inference.progressive.rules_linear import is_large
from delc.inference.progressive.settling import Forward
from delc.models import loaded, parameters, stored_tensors
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, Network, restore
from delc.networks.module import NetworkModule
from delc.networks.resolution import ResolvedNetwork, resolve
from delc.networks.state import load_state
from delc.server import interrupts, queries, settings, tensors
from delc.server.errors import InvalidParameter

ALL_BITS = 32
"""Of the float32 that networks compute in."""

CHUNK_BYTES = 1996
"""What a chunk of a TOAST table holds."""

MEMORY_SHARE = 4
"""Planes that are kept take at most this part of the memory limit."""


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


@dataclass
class Reading:
    """What was read: bytes of stored values, chunks of TOAST tables, and the seconds, by the clock and of the
    processor, that it took; and bytes of values
    that were not read, because memory that sessions share had their numbers.
    """

    bytes: int = 0
    chunks: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    shared_bytes: int = 0


@dataclass
class StoredModel:
    """A version of which the leading bits are read; see ``settling.Source``."""

    version: ModelVersion
    features: FittedFeatures
    resolved: ResolvedNetwork
    tensors: list[StoredTensor]
    reading: Reading
    budget: costs.Budget = field(default_factory=costs.Budget)
    bits: int = 0
    read_at: dict[int, Reading] = field(default_factory=dict)
    """What had been read when so many bits were known."""
    _missing: list[str | None] = field(default_factory=list)
    _work: list[costs.Work] = field(default_factory=list)
    _numbers: dict[str, Numbers] = field(default_factory=dict)
    _boxes: dict[str, tuple[list[int], Box]] = field(default_factory=dict)
    """By name, with the bits that were known of each chunk."""
    _unknown: Boxed | None = None
    _net: Boxed | None = None
    _guessing: NetworkModule | None = None
    _middle: NetworkModule | None = None
    _approximate: dict[int, BuiltNetwork] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything is known, because it was read or because the session had it."""
        return loaded.held(self.version) or all(tensor.planes == len(tensor.bits) for tensor in self.tensors)

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
    def missing(self) -> str | None:
        """Why nothing can be certified."""
        if not self._missing:
            self._missing.append(self._layers().missing)
        return self._missing[0]

    @property
    def work(self) -> costs.Work:
        """What bounds have to do."""
        if not self._work:
            self._work.append(self._measured())
        return self._work[0]

    def _measured(self) -> costs.Work:
        shapes = {tensor.name: tensor.shape for tensor in self.tensors if tensor.dtype == "float32"}
        layers = self.resolved.layers
        large = {
            layer.name: math.prod(shapes[weight])
            for layer in layers
            if (weight := f"{layer.name}.weight") in shapes
            and is_large(layer.kind, layer.arguments)
            and math.prod(shapes[weight]) >= large_products.FROM
        }
        return costs.Work(
            numbers=self.resolved.parameters,
            large=sum(large.values()),
            flops=self.resolved.flops(1),
            large_flops=sum(layer.flops for layer in layers if layer.name in large),
            layers=len(layers),
            bent=sum(layer.kind in RELAXED for layer in layers),
        )

    @property
    def stored_bytes(self) -> int:
        """What all parameters take."""
        return sum(tensor.stored for tensor in self.tensors)

    @property
    def prepared(self) -> bool:
        """Whether the parameters are ready for bounds at this depth."""
        return self._net is not None

    @property
    def in_shared_memory(self) -> bool:
        """Whether other sessions have left the parameters in memory, so that reading them takes next to nothing."""
        return parameters.in_shared_memory(self.version.snapshot_id)

    @property
    def reading_seconds(self) -> float:
        """What reading everything takes of the processor, at the rate at which it was read so far."""
        return self.stored_bytes * self.reading.processor / max(1, self.reading.bytes)

    @property
    def seconds_left(self) -> float:
        """What reading the rest takes by the clock, at the rate at which it was read so far."""
        read = sum(hop.ends[tensor.planes - 1] for tensor in self.tensors if tensor.planes for hop in tensor.hops)
        return (self.stored_bytes - read) * self.reading.seconds / max(1, self.reading.bytes)

    def deepen(self) -> None:
        """Reads the next plane or half plane of every large parameter."""
        self.read_to(next((depth for depth in self.depths if depth > self.bits), self.depths[-1]))

    def read_all(self) -> None:
        """Reads everything that is left; all at once where nothing was read yet, as full precision does."""
        if self.bits:
            self.read_to(self.depths[-1])
            return
        if not loaded.held(self.version):
            from_relations: set[int] = set()
            loaded.keep(self.version, parameters.load_shared(self.version.snapshot_id, from_relations))
            for tensor in self.tensors:
                if tensor.hops[-1].id not in from_relations:
                    self.reading.shared_bytes += tensor.stored
                    continue
                self.reading.bytes += tensor.stored
                self.reading.chunks += sum(-(-hop.stored // CHUNK_BYTES) for hop in tensor.hops if hop.stored > SMALL)
        self.bits = self.all_bits
        self._note()

    def _note(self) -> None:
        """What was read by now, at this depth."""
        self.read_at[self.bits] = replace(self.reading)

    def read_to(self, bits: int) -> None:
        """Reads so many leading bits of every parameter, as far as planes end there."""
        while not all(self._read(tensor, tensor.planes_for(bits)) for tensor in self.tensors):
            self.forget()
            self.read_at.clear()
            self.read_directories()
        self.bits = max(self.bits, bits)
        self._note()
        self._net = self._middle = None
        self._approximate.clear()
        make_room(self)

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
            raise parameters.damaged(self.version.snapshot_id, tensor.name, str(error)) from None
        if done:
            tensor.planes = planes
        self.reading.seconds += time.perf_counter() - started
        self.reading.processor += time.process_time() - used
        return done

    def _read_further(self, tensor: StoredTensor, planes: int) -> bool:
        """Into the numbers that are there."""
        (hop,) = tensor.hops
        numbers = self._numbers_of(tensor.name)
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
        self._numbers_of(tensor.name).put(tensor.part, value, tensor.bits[planes - 1])
        return True

    def _count(self, stored: int, chunks: int) -> None:
        self.reading.bytes += stored
        self.reading.chunks += chunks

    def _numbers_of(self, name: str) -> Numbers:
        if name not in self._numbers:
            chunks = self.chunks(name)
            dtype = getattr(torch, chunks[0].dtype)
            self._numbers[name] = Numbers([chunk.elements for chunk in chunks], chunks[0].shape, dtype)
        return self._numbers[name]

    def read_directories(self) -> None:
        """Where the planes of every parameter lie."""
        try:
            with queries.as_owner():
                found = queries.rows(_DIRECTORIES, self.version.snapshot_id)
        except plpy.SPIError as error:
            if stored_tensors.tells_damage(error):
                parameters.load(self.version.snapshot_id)  # says which parameter it is
            raise
        chains = groupby(found, key=itemgetter("name", "chunk"))
        self.tensors = [StoredTensor.of(list(chain)) for _, chain in chains]
        self.reading.chunks += sum(row["chunks"] for row in found)
        chunks: dict[str, list[StoredTensor]] = {}
        for tensor in self.tensors:
            chunks.setdefault(tensor.name, []).append(tensor)
            tensor.part = len(chunks[tensor.name]) - 1
        depths = {name: _depths(found) for name, found in chunks.items()}
        further, behind = read_ahead(depths), read_behind(depths)
        for tensor in self.tensors:
            tensor.ahead = 1 if tensor.name in further else 0
            tensor.behind = tensor.name == behind

    def forget(self) -> None:
        """Drops the planes that are kept."""
        for tensor in self.tensors:
            tensor.planes = 0
            for hop in tensor.hops:
                hop.prefix = b""
        self.bits = 0
        self._net = self._unknown = self._middle = self._guessing = None
        self._boxes.clear()
        self._numbers.clear()

    @property
    def numbers_bytes(self) -> int:
        """Memory that the numbers take."""
        return sum(numbers.bytes for numbers in self._numbers.values())

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
        return self._numbers_of(name).prefix(min(known)), min(known)

    def chunks(self, name: str) -> list[StoredTensor]:
        """The tensors that a parameter is made of."""
        return [tensor for tensor in self.tensors if tensor.name == name]

    def boxes(self) -> dict[str, Box]:
        """The boxes of all parameters, made anew where more was read. ``InvalidData`` where one is infinite or NaN."""
        for name in self.names:
            numbers = self._numbers_of(name)
            if name in self._boxes and self._boxes[name][0] == numbers.known:
                continue
            interrupts.check()
            box = numbers.box()
            require_finite(name, box, numbers.bits)
            self._boxes[name] = list(numbers.known), box
        return {name: box for name, (_, box) in self._boxes.items()}

    def _layers(self) -> Boxed:
        """The network with nothing known of its parameters; its layers are made once."""
        if self._unknown is None:
            self._unknown = boxed(self.resolved.network, {})
        return self._unknown

    def boxed(self) -> Boxed:
        """The network with its parameters' boxes."""
        if self._net is None:
            self._net = self._layers().of(self.boxes())
        return self._net

    def middle(self) -> Forward:
        """The network with the middles of the boxes."""
        if self._middle is None:
            boxes = {
                f"{layer.name}.{name}": box.centre for layer in self.boxed().layers for name, box in layer.boxes.items()
            }
            if self._guessing is None:
                self._guessing = self._bare()
            load_state(self._guessing, boxes, copy=False)
            self._middle = self._guessing
        return self._middle

    def approximate(self, bits: int) -> Forward:
        """The network made from so many leading bits, with unknown ones at their likely place."""
        if bits not in self._approximate:
            values = {}
            for name, prefix, known_bits in self.prefixes(bits):
                values[name] = filled(prefix, box_of_prefix(prefix, known_bits), known_bits)
            self._approximate[bits] = self._restored(values)
        return self._approximate[bits].module

    def _bare(self) -> NetworkModule:
        """The network without numbers, of the layers that bounds look at."""
        modules = {layer.name: layer.module for layer in self._layers().layers}
        module = NetworkModule(self.resolved.network, modules, tuple(self.resolved.inputs))
        return module.eval().requires_grad_(False)

    def _restored(self, state: dict[str, torch.Tensor]) -> BuiltNetwork:
        built = restore(self.resolved.network, self.features.input_specs(), state)
        built.module.requires_grad_(False)
        return built

    def full(self) -> Forward:
        """The network as it is stored, which the session keeps from then on as any that it has loaded."""
        if not loaded.held(self.version):
            loaded.keep(self.version, {name: value for name, value, _ in self.prefixes()})
            self.forget()
        return loaded.load(self.version).built.module


def _value(tensor: StoredTensor, planes: int) -> Any:
    """The numbers that the bytes read so far say, with zeros in the bits below so many planes."""
    prefixes = queries.typed([hop.prefix for hop in tensor.hops], "bytea[]")
    sizes = queries.typed([hop.stored for hop in tensor.hops], "bigint[]")
    if planes == len(tensor.bits):
        return queries.value(_CHAIN, prefixes, sizes)
    return queries.value(_CHAIN_PLANES, prefixes, sizes, queries.typed(tensor.bits[planes - 1] // 8, "integer"))


def _depths(chunks: list[StoredTensor]) -> Depths:
    """Those of a parameter, which are those of its chunks; all or nothing where these differ."""
    stored = sum(chunk.stored for chunk in chunks)
    bits = chunks[0].bits
    if not chunks[0].large or any(chunk.bits != bits for chunk in chunks):
        return Depths(bits[-1:], [stored])
    ends = [sum(hop.ends[place] for chunk in chunks for hop in chunk.hops) for place in range(len(bits))]
    return Depths(bits, ends)


_models: OrderedDict[tuple[int, str | None], StoredModel] = OrderedDict()


def open_model(version: ModelVersion) -> tuple[StoredModel, Reading]:
    """The version, with what the session has read of it, and what was read before. Directories of planes are read the
    first time.
    """
    key = (version.snapshot_id, version.scheme)
    model = _models.get(key)
    before = Reading() if model is None else replace(model.reading)
    if model is None:
        started = time.process_time()
        features = FittedFeatures.from_json(version.features)
        resolved = resolve(Network.parse(version.network), features.input_specs())
        model = StoredModel(version, features, resolved, [], Reading())
        model.read_directories()
        model.budget.spent += time.process_time() - started
        _models[key] = model
    _models.move_to_end(key)
    return model, before


def make_room(used: StoredModel) -> None:
    """Forgets the planes of models that were used least recently, where they take too much memory together."""
    limit = settings.memory_limit_bytes() // MEMORY_SHARE
    while len(_models) > 1 and sum(_held_bytes(model) for model in _models.values()) > limit:
        oldest = next(iter(_models))
        if _models[oldest] is used:
            break
        del _models[oldest]


def _held_bytes(model: StoredModel) -> int:
    return model.numbers_bytes + sum(len(hop.prefix) for tensor in model.tensors for hop in tensor.hops)


def planes_error(model: StoredModel, bits: int) -> InvalidParameter | None:
    """Why the model's parameters cannot be read to so many bits, or None."""
    ends = sorted({known for tensor in model.tensors if "float" in tensor.dtype for known in tensor.bits})
    if not ends or bits in ends:
        return None
    allowed = ", ".join(f"'planes:{known / 8:g}'" for known in ends)
    return InvalidParameter(
        f'the parameters of "{model.version}" cannot be read to {bits / 8:g} planes',
        detail=f"Their planes end at {allowed}.",
        hint="Halves are there where parameters were stored with delc.compress(…, halves => true).",
    )


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
    SELECT chain.name, chain.chunk, chain.shape, chain.id, stored.elements, directory.dtype, directory.stored,
           directory.ends, directory.bits, directory.chunks,
           stored.ctid::text || ' ' || stored.xmin::text AS row_version
    FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.id,
         LATERAL delc.plane_directory(stored.value) AS directory
    ORDER BY chain.name, chain.chunk, chain.hop
"""

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
