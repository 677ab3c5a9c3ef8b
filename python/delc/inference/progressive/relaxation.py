"""Linear bounds: a combination of one layer's numbers, traced back through the maps of all layers before.

A combination Λ·output equals Λ·(output of the maps for the centres) ± sum over the layers of |Λ there|·noise there. The
noises of different layers are independent, and a product of weights keeps its signs on the way: that is what plain
intervals lose. Rows whose bounds are not finite give NaN, which no comparison takes for a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from delc.inference.progressive import costs, rounding
from delc.inference.progressive.stages import Incoming, LayerView, Pull, Stage

if TYPE_CHECKING:
    from delc.inference.progressive.propagation import Pass

LINES_BYTES = 16 * 1024 * 1024
"""Lines are traced back in portions whose widest layer takes about this much."""

INFLATION = 1 + 2.0**-20
"""Covers float64's rounding in the sums; that in the products is far below the float32 part of each layer's noise."""


@dataclass(frozen=True)
class Pairs:
    """Lines that combine two of the numbers that a layer gives, (rows, ``width``): ``places`` and ``factors``, each
    (lines, 2).
    """

    places: torch.Tensor
    factors: torch.Tensor
    width: int

    def dense(self) -> torch.Tensor:
        """The lines with all their zeros: (lines, width)."""
        lines = torch.zeros((len(self.places), self.width), dtype=torch.float64)
        return lines.scatter_add_(1, self.places, self.factors)

    def of(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(lines, 2): the two terms of each, of values (rows, width)."""
        return self.factors * values[rows.unsqueeze(1), self.places]


Combinations = torch.Tensor | Pairs


def trace(
    state: Pass, layer: str, lines: Combinations, rows: torch.Tensor, check: Callable[[], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(centre, radius), each (lines,), of combinations (lines, *shape) of a layer's output for those rows (lines,)."""
    radius = torch.zeros(len(rows), dtype=torch.float64)
    centre = _sum(lines, state.centres[layer], rows)
    for view, line in walk(state, layer, lines, rows, check):
        stage = state.stage(view.name)
        noise = stage.bounds.radius if stage.affine is None else stage.noise
        if noise is not None:
            radius += _size(line, noise, rows)
    return centre, radius * INFLATION


def _sum(lines: Combinations, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(lines,): what the lines make of values (rows, *shape)."""
    return (lines.of(values, rows) if isinstance(lines, Pairs) else lines * values[rows]).flatten(1).sum(1)


def _size(lines: Combinations, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(lines,): the same of the lines' magnitudes, and values >= 0."""
    if isinstance(lines, Pairs):
        return lines.of(values, rows).abs().sum(1)
    return (lines.abs() * values[rows]).flatten(1).sum(1)


def _pulled(stage: Stage, pull: Pull, lines: Combinations, rows: torch.Tensor) -> torch.Tensor:
    """The lines one layer further back."""
    if not isinstance(lines, Pairs):
        return pull(lines, rows)
    if stage.pick is None:
        return pull(lines.dense(), rows)
    found = stage.pick(lines.places[:, 0]) * lines.factors[:, :1]
    return found.add_(stage.pick(lines.places[:, 1]).mul_(lines.factors[:, 1:]))


def walk(
    state: Pass, layer: str, lines: Combinations, rows: torch.Tensor, check: Callable[[], None]
) -> Iterator[tuple[LayerView, Combinations]]:
    """Each layer that the lines reach, from the last to the first, with the coefficients of its output."""
    wanted: dict[str, Combinations] = {layer: lines}
    for view in reversed(state.order):
        line = wanted.pop(view.name, None)
        if line is None:
            continue
        check()
        yield view, line
        stage = state.stage(view.name)
        if isinstance(line, Pairs) and view.kind in WITHOUT_EFFECT and stage.noise is None:
            wanted[view.inputs[0]] = line
            continue
        for source, pull in zip(_read(state, view.inputs), stage.pulls, strict=False):
            if source in state.inputs or pull is None:
                continue
            found = _pulled(stage, pull, line, rows)
            before = wanted.get(source)
            assert not isinstance(before, Pairs)  # only the last layer has them, and nothing reads it
            wanted[source] = found if before is None else before + found


WITHOUT_EFFECT = frozenset({"identity", "dropout", "alpha_dropout"})


def merge(state: Pass, layer: str, lines: Combinations, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``trace``, but only through the one layer, with plain bounds of what arrives there."""
    views = {view.name: view for view in state.order}
    layer = _behind(state, layer)
    stage = state.stage(layer)
    if stage.affine is None:
        return _sum(lines, stage.bounds.centre, rows), _size(lines, stage.bounds.radius, rows) * INFLATION
    arriving = [value for value in state.arriving(views[layer]) if not isinstance(value, torch.Tensor)]
    if layer not in state.middles:
        state.middles[layer] = stage.affine([bounds.centre for bounds in arriving])
    centre = _sum(lines, state.middles[layer], rows)
    radius = torch.zeros_like(centre)
    if stage.noise is not None:
        radius += _size(lines, stage.noise, rows)
    for bounds, pull in zip(arriving, stage.pulls, strict=False):
        if pull is not None and bool((bounds.low != bounds.high).any()):
            radius += _size(_pulled(stage, pull, lines, rows), bounds.radius, rows)
    return centre, radius * INFLATION


def _read(state: Pass, sources: tuple[str, ...]) -> list[str]:
    """The sources that are numbers, as ``pulls`` counts them."""
    return [
        source for source in sources if not isinstance(state.inputs.get(source, state.stages.get(source)), torch.Tensor)
    ]


def bound_numbers(
    state: Pass, layer: str, chosen: torch.Tensor, check: Callable[[], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounds of the numbers of a layer that ``chosen`` (rows, *shape) marks; infinite elsewhere."""
    low = torch.full(chosen.shape, -torch.inf, dtype=torch.float64)
    high = torch.full(chosen.shape, torch.inf, dtype=torch.float64)
    flat = chosen.flatten(1)
    rows, places = flat.nonzero(as_tuple=True)
    shape = chosen.shape[1:]
    portion = lines_at_once(state)
    for start in range(0, len(rows), portion):
        check()
        some, where = rows[start : start + portion], places[start : start + portion]
        lines = torch.zeros((len(some), flat.shape[1]), dtype=torch.float64)
        lines[torch.arange(len(some)), where] = 1.0
        centre, radius = trace(state, layer, lines.reshape(-1, *shape), some, check)
        slack = rounding.FLOAT64_SLACK * centre.abs()
        low.view(len(low), -1)[some, where] = centre - radius - slack
        high.view(len(high), -1)[some, where] = centre + radius + slack
    return low, high


def lines_at_once(state: Pass, pairs: str | None = None) -> int:
    """How many lines a portion has; ``pairs``: the layer whose numbers they combine two by two."""
    dearest = max((_flops(view, stage) for view, stage in _dense(state, pairs)), default=1)
    return max(1, int(min(LINES_BYTES / (8 * widest(state, pairs)), costs.PORTION_FLOPS / max(dearest, 1))))


def widest(state: Pass, pairs: str | None = None) -> int:
    """The most numbers that a line has in a layer."""
    found = max((_numbers_of(stage) for _, stage in _dense(state, pairs)), default=1)
    if pairs is None:
        return max(found, 1)
    views = {view.name: view for view in state.order}
    arriving = [value[0].numel() for value in map(_low, state.arriving(views[_behind(state, pairs)])) if len(value)]
    return max(found, 4, *arriving)


def _low(value: Incoming) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else value.low


def _dense(state: Pass, pairs: str | None) -> list[tuple[LayerView, Stage]]:
    """The layers that lines with all their zeros go through."""
    spared: set[str] = set()
    if pairs is not None:
        last = _behind(state, pairs)
        stage = state.stage(last)
        if stage.pick is not None or not stage.pulls:
            names = [view.name for view in state.order]
            spared = set(names[names.index(last) :])
    stages = ((view, state.stages[view.name]) for view in state.order if view.name not in spared)
    return [(view, stage) for view, stage in stages if isinstance(stage, Stage)]


def _behind(state: Pass, layer: str) -> str:
    """The layer itself, or the one before it that has an effect."""
    views = {view.name: view for view in state.order}
    while views[layer].kind in WITHOUT_EFFECT and views[layer].inputs[0] in views:
        layer = views[layer].inputs[0]
    return layer


def _numbers_of(stage: Stage) -> int:
    """Those that one row has."""
    return stage.bounds.low[0].numel()


def _flops(view: LayerView, stage: Stage) -> int:
    """Operations that take a line back through the layer: each weight counts wherever it is used."""
    if not stage.pulls:
        return 0
    return sum(
        2 * box.centre.numel() * max(1, _numbers_of(stage) // len(box.centre))
        for box in view.boxes.values()
        if box.centre.dim() > 1 and len(box.centre)
    )
