"""A version of which the leading bits are read: its network with boxes, with their middles, and as it is stored."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import torch

from delc.features import FittedFeatures
from delc.inference.progressive import costs, large_products, relaxation
from delc.inference.progressive.boxes import Box, box_of_prefix, require_finite
from delc.inference.progressive.fill import filled
from delc.inference.progressive.numbers import Numbers
from delc.inference.progressive.planes import Planes, Reading
from delc.inference.progressive.propagation import RELAXED, Boxed, boxed
from delc.inference.progressive.rules_linear import is_large
from delc.inference.progressive.settling import Forward
from delc.models import loaded, parameters
from delc.models.versions import ModelVersion
from delc.networks import BuiltNetwork, Network, restore
from delc.networks.module import NetworkModule
from delc.networks.resolution import ResolvedNetwork, resolve
from delc.networks.state import load_state
from delc.server import interrupts, settings

KEEPING = relaxation.WITHOUT_EFFECT | {"softmax", "log_softmax"}
"""Layers at a network's end through which an order is found in the layer before."""

MEMORY_SHARE = 4
"""Planes that are kept take at most this part of the memory limit."""


@dataclass(frozen=True)
class _Made:
    """A parameter's box, and what it was made of: the numbers, and the bits that were known of each chunk."""

    numbers: Numbers
    known: tuple[int, ...]
    box: Box

    def of(self, numbers: Numbers) -> bool:
        """Whether no more is known since."""
        return self.numbers is numbers and self.known == tuple(numbers.known)


@dataclass
class StoredModel:
    """The version; see ``settling.Source``."""

    version: ModelVersion
    features: FittedFeatures
    resolved: ResolvedNetwork
    budget: costs.Budget
    planes: Planes
    _missing: list[str | None] = field(default_factory=list)
    _work: list[costs.Work] = field(default_factory=list)
    _boxes: dict[str, _Made] = field(default_factory=dict)
    _unknown: Boxed | None = None
    _net: Boxed | None = None
    _guessing: NetworkModule | None = None
    _middle: NetworkModule | None = None
    _approximate: dict[int, BuiltNetwork] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """The depth to which parameters are known."""
        return self.planes.bits

    @property
    def all_bits(self) -> int:
        """Bits of each number that are stored."""
        return self.planes.all_bits

    @property
    def complete(self) -> bool:
        """Whether everything is known, because it was read or because the session had it."""
        return loaded.held(self.version) or self.planes.complete

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
        shapes = {tensor.name: tensor.shape for tensor in self.planes.tensors if tensor.dtype == "float32"}
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
            outputs=math.prod(layers[-1].output_shape),
            merged=self._merged(shapes),
            row_numbers=sum(math.prod(layer.output_shape) for layer in layers),
        )

    def _merged(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """Numbers that a line is combined from in the last layer: of a row of its weight, or of all its outputs."""
        layers = {layer.name: layer for layer in self.resolved.layers}
        last = self.resolved.layers[-1]
        while last.kind in KEEPING and last.inputs[0] in layers:
            last = layers[last.inputs[0]]
        weight = shapes.get(f"{last.name}.weight")
        return weight[1] if last.kind == "linear" and weight else math.prod(last.output_shape)

    @property
    def prepared(self) -> bool:
        """Whether the parameters are ready for bounds at this depth."""
        return self._net is not None

    @property
    def seconds_left(self) -> float:
        """What reading the rest takes by the clock, at the rate at which it was read so far."""
        return self.planes.seconds_left

    def deepen(self) -> None:
        """Reads the next plane or half plane of every large parameter."""
        depths = self.planes.depths
        self.read_to(next((depth for depth in depths if depth > self.bits), depths[-1]))

    def read_to(self, bits: int) -> None:
        """Reads so many leading bits of every parameter, as far as planes end there."""
        self.planes.read_to(bits)
        self._net = self._middle = None
        self._approximate.clear()
        make_room(self)

    def read_all(self) -> None:
        """Reads everything that is left; all at once where nothing was read yet, as full precision does."""
        if self.bits:
            self.read_to(self.all_bits)
            return
        if loaded.held(self.version):
            self.planes.note_held()
            return
        from_relations: set[int] = set()
        loaded.keep(self.version, parameters.load_shared(self.version.snapshot_id, from_relations))
        self.planes.note_all(from_relations)

    def forget(self) -> None:
        """Drops the planes that are kept, and what was made of them."""
        self.planes.forget()
        self._net = self._unknown = self._middle = self._guessing = None
        self._boxes.clear()

    def boxes(self) -> dict[str, Box]:
        """The boxes of all parameters, made anew where more was read. ``InvalidData`` where one is infinite or NaN."""
        for name in self.planes.names:
            numbers = self.planes.numbers(name)
            if name in self._boxes and self._boxes[name].of(numbers):
                continue
            interrupts.check()
            box = numbers.box()
            require_finite(name, box, numbers.bits)
            self._boxes[name] = _Made(numbers, tuple(numbers.known), box)
        return {name: made.box for name, made in self._boxes.items()}

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
            for name, prefix, known_bits in self.planes.prefixes(bits):
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
            loaded.keep(self.version, {name: value for name, value, _ in self.planes.prefixes()})
            self.forget()
        return loaded.load(self.version).built.module


_models: OrderedDict[tuple[int, str | None], StoredModel] = OrderedDict()


def open_model(version: ModelVersion) -> tuple[StoredModel, Reading]:
    """The version, with what the session has read of it, and what was read before. Directories of planes are read the
    first time.
    """
    key = (version.snapshot_id, version.scheme)
    model = _models.get(key)
    before = Reading() if model is None else replace(model.planes.reading)
    if model is None:
        started = time.process_time()
        features = FittedFeatures.from_json(version.features)
        resolved = resolve(Network.parse(version.network), features.input_specs())
        budget = costs.Budget()
        model = StoredModel(version, features, resolved, budget, Planes(version.snapshot_id, budget))
        model.planes.read_directories()
        model.budget.spent += time.process_time() - started
        _models[key] = model
    _models.move_to_end(key)
    return model, before


def make_room(used: StoredModel) -> None:
    """Forgets the planes of models that were used least recently, where they take too much memory together."""
    limit = settings.memory_limit_bytes() // MEMORY_SHARE
    while len(_models) > 1 and sum(model.planes.held_bytes for model in _models.values()) > limit:
        oldest = next(iter(_models))
        if _models[oldest] is used:
            break
        del _models[oldest]
