"""Linear bounds: a combination of one layer's numbers, traced back through the maps of all layers before.

A combination Λ·output equals Λ·(output of the maps for the centres) ± sum over the layers of |Λ there|·noise there. The
noises of different layers are independent, and a product of weights keeps its signs on the way: that is what plain
intervals lose. Rows whose bounds are not finite give NaN, which no comparison takes for a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from delc.inference.progressive import costs, rounding
from delc.inference.progressive.stages import LayerView, Stage

if TYPE_CHECKING:
    from delc.inference.progressive.propagation import Pass

LINES_BYTES = 16 * 1024 * 1024
"""Lines are traced back in portions whose widest layer takes about this much."""

INFLATION = 1 + 2.0**-20
"""Covers float64's rounding in the sums; that in the products is far below the float32 part of each layer's noise."""


def trace(
    state: Pass, layer: str, lines: torch.Tensor, rows: torch.Tensor, check: Callable[[], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(centre, radius), each (lines,), of combinations (lines, *shape) of a layer's output for those rows (lines,)."""
    radius = torch.zeros(len(lines), dtype=torch.float64)
    centre = (lines * state.centres[layer][rows]).flatten(1).sum(1)
    for view, line in walk(state, layer, lines, rows, check):
        stage = state.stage(view.name)
        noise = stage.bounds.radius if stage.affine is None else stage.noise
        if noise is not None:
            radius += (line.abs() * noise[rows]).flatten(1).sum(1)
    return centre, radius * INFLATION


def walk(
    state: Pass, layer: str, lines: torch.Tensor, rows: torch.Tensor, check: Callable[[], None]
) -> Iterator[tuple[LayerView, torch.Tensor]]:
    """Each layer that the lines reach, from the last to the first, with the coefficients of its output."""
    wanted = {layer: lines}
    for view in reversed(state.order):
        line = wanted.pop(view.name, None)
        if line is None:
            continue
        check()
        yield view, line
        for source, pull in zip(_read(state, view.inputs), state.stage(view.name).pulls, strict=False):
            if source in state.inputs or pull is None:
                continue
            found = pull(line, rows)
            wanted[source] = wanted[source] + found if source in wanted else found


WITHOUT_EFFECT = frozenset({"identity", "dropout", "alpha_dropout"})


def merge(state: Pass, layer: str, lines: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``trace``, but only through the one layer, with plain bounds of what arrives there."""
    views = {view.name: view for view in state.order}
    while views[layer].kind in WITHOUT_EFFECT and views[layer].inputs[0] in views:
        layer = views[layer].inputs[0]
    stage = state.stage(layer)
    if stage.affine is None:
        centre = (lines * stage.bounds.centre[rows]).flatten(1).sum(1)
        return centre, (lines.abs() * stage.bounds.radius[rows]).flatten(1).sum(1) * INFLATION
    arriving = [value for value in state.arriving(views[layer]) if not isinstance(value, torch.Tensor)]
    middle = stage.affine([bounds.centre for bounds in arriving])
    centre = (lines * middle[rows]).flatten(1).sum(1)
    radius = torch.zeros_like(centre)
    if stage.noise is not None:
        radius += (lines.abs() * stage.noise[rows]).flatten(1).sum(1)
    for bounds, pull in zip(arriving, stage.pulls, strict=False):
        if pull is not None:
            radius += (pull(lines, rows).abs() * bounds.radius[rows]).flatten(1).sum(1)
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


def lines_at_once(state: Pass) -> int:
    """How many lines a portion has."""
    stages = [(view, state.stages[view.name]) for view in state.order]
    dearest = max((_flops(view, stage) for view, stage in stages if isinstance(stage, Stage)), default=1)
    return max(1, int(min(LINES_BYTES / (8 * max(widest(state), 1)), costs.PORTION_FLOPS / max(dearest, 1))))


def widest(state: Pass) -> int:
    """The most numbers that one row has in a layer."""
    return max((_numbers_of(stage) for stage in state.stages.values() if isinstance(stage, Stage)), default=1)


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
