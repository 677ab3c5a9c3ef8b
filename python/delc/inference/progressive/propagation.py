"""Bounds of every layer of a network for a batch of rows, from its inputs to its outputs.

``forward`` goes through the layers once with intervals. With ``refine`` it stops at each activation: the numbers
whose bounds reach over a bend are bounded anew through all the layers before (``relaxation``), which keeps deep
networks from blowing up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from delc.inference.progressive import relaxation
from delc.inference.progressive.boxes import Box, Boxes
from delc.inference.progressive.rules import missing_rule
from delc.inference.progressive.rules_elementwise import BENT
from delc.inference.progressive.stages import RULES, Bounds, Incoming, LayerView, Stage, within_range
from delc.networks import Network
from delc.networks.kinds import find_kind

Check = Callable[[], None]


def do_nothing() -> None:
    """The check of callers that cannot be cancelled."""


@dataclass
class Boxed:
    """A network whose parameters lie in boxes."""

    network: Network
    layers: list[LayerView]
    missing: str | None

    def of(self, boxes: Boxes) -> Boxed:
        """The same network with its parameters in these boxes, by parameter's name."""
        of_layer: dict[str, dict[str, Box]] = {layer.name: {} for layer in self.layers}
        for name, box in boxes.items():
            owner, _, parameter = name.partition(".")
            of_layer[owner][parameter] = box
        views = [replace(layer, boxes=of_layer[layer.name], cache={}) for layer in self.layers]
        return Boxed(self.network, views, self.missing)


def boxed(network: Network, boxes: Boxes) -> Boxed:
    """The network with its layers as the rules see them; ``boxes`` by parameter's name."""
    views = []
    for layer in network:
        module = find_kind(layer.kind).make(dict(layer.arguments), "meta").eval()
        views.append(LayerView(layer.name, layer.kind, dict(layer.arguments), module, {}, tuple(layer.inputs)))
    return Boxed(network, views, missing_rule(views)).of(boxes)


@dataclass
class Pass:
    """What is known of each layer for a batch of rows. ``alive``: rows in which nothing can overflow (rows,)."""

    inputs: dict[str, Incoming]
    stages: dict[str, Stage | torch.Tensor] = field(default_factory=dict)
    centres: dict[str, torch.Tensor] = field(default_factory=dict)
    middles: dict[str, torch.Tensor] = field(default_factory=dict)
    """What merging keeps of a layer: its map for the centres of what arrives."""
    order: list[LayerView] = field(default_factory=list)
    alive: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    @property
    def crossing(self) -> float:
        """Numbers of a row that reach an activation across a bend, on average."""
        rows = max(1, len(self.alive))
        return sum(int(_crossing(self, layer).sum()) for layer in self.order if layer.kind in RELAXED) / rows

    def stage(self, layer: str) -> Stage:
        """The stage of a layer that gives numbers."""
        found = self.stages[layer]
        assert isinstance(found, Stage)
        return found

    @property
    def output(self) -> Stage:
        """The last layer's stage."""
        return self.stage(self.order[-1].name)

    def arriving(self, layer: LayerView) -> list[Incoming]:
        """What the layer reads."""
        found: list[Incoming] = []
        for source in layer.inputs:
            if source in self.inputs:
                found.append(self.inputs[source])
            else:
                stage = self.stages[source]
                found.append(stage.bounds if isinstance(stage, Stage) else stage)
        return found


def forward(
    net: Boxed,
    inputs: Mapping[str, torch.Tensor],
    *,
    refine: bool = False,
    centres: bool = False,
    check: Check = do_nothing,
) -> Pass:
    """Bounds for the rows of ``inputs`` (float32 numbers (rows, *shape), or int64 tokens), by input name.

    ``centres`` keeps what traces need; ``refine`` implies it.
    """
    known: dict[str, Incoming] = {}
    for name, value in inputs.items():
        known[name] = Bounds(value.double(), value.double()) if value.is_floating_point() else value
    rows = len(next(iter(inputs.values())))
    state = Pass(known, alive=torch.ones(rows, dtype=torch.bool))
    for layer in net.layers:
        check()
        if refine and layer.kind in RELAXED:
            _refine(state, layer, check)
        stage = RULES[layer.kind](layer, state.arriving(layer))
        state.stages[layer.name] = stage
        state.order.append(layer)
        if isinstance(stage, torch.Tensor):
            continue
        state.alive &= within_range(stage.bounds)
        if refine or centres:
            state.centres[layer.name] = affine_centre(state, layer, stage)
    return state


def affine_centre(state: Pass, layer: LayerView, stage: Stage) -> torch.Tensor:
    """The output of the layer's map for the centres of its inputs."""
    if stage.affine is None:
        return stage.bounds.centre
    centres = []
    for source, value in zip(layer.inputs, state.arriving(layer), strict=True):
        if isinstance(value, torch.Tensor):
            continue
        centres.append(value.low if source in state.inputs else state.centres[source])
    return stage.affine(centres)


RELAXED = frozenset({*BENT, "prelu"})
"""Activations that are exact away from their bends: only the numbers that reach over one are bounded anew."""

BENDS: dict[str, Sequence[float]] = {"relu6": (0.0, 6.0), "hardsigmoid": (-3.0, 3.0)}


def _crossing(state: Pass, layer: LayerView) -> torch.Tensor:
    """Which of the numbers that arrive are bounded across a bend: (rows, *shape)."""
    bounds = state.arriving(layer)[0]
    assert isinstance(bounds, Bounds)
    crossing = torch.zeros_like(bounds.low, dtype=torch.bool)
    for bend in _bends(layer):
        crossing |= (bounds.low < bend) & (bounds.high > bend)
    return crossing & state.alive.reshape(-1, *[1] * (crossing.dim() - 1))


def _refine(state: Pass, layer: LayerView, check: Check) -> None:
    """Bounds the numbers that arrive across a bend through all layers before, and puts the better bounds in place."""
    source = layer.inputs[0]
    stage = state.stages.get(source)
    if not isinstance(stage, Stage) or stage.affine is None:  # a cut has nothing to be traced through
        return
    crossing = _crossing(state, layer)
    if not bool(crossing.any()):
        return
    low, high = relaxation.bound_numbers(state, source, crossing, check)
    better = stage.bounds.meet(Bounds(low, high))
    state.stages[source] = replace(stage, bounds=better)


def _bends(layer: LayerView) -> Sequence[float]:
    if layer.kind == "hardtanh":
        return (float(layer.arguments["min_val"]), float(layer.arguments["max_val"]))
    return BENDS.get(layer.kind, (0.0,))
