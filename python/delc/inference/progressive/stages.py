"""What is known of one layer's output for a batch of rows: bounds, and an affine form of its inputs.

The affine form says: output = map(inputs) ± noise, where ``map`` is affine and the same for every parameter in the
boxes, and ``noise`` is a number for each element. Uncertain parameters, float32 rounding and the bend of an activation
all are noise. Zonotopes (DeepZ: Singh et al. 2018) and linear relaxations with parallel bounds (CROWN: Zhang et al.
2018, arXiv 1811.00866) have this form in common; going back through the maps costs one product for each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from delc.inference.progressive import rounding
from delc.inference.progressive.boxes import Boxes

Pull = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The transposed map: lines (lines, *output shape) and the row of each (lines,) → (lines, *input shape)."""

Affine = Callable[[Sequence[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Bounds:
    """low <= value <= high, float64 (rows, *shape), for what the float32 pass computes."""

    low: torch.Tensor
    high: torch.Tensor

    @property
    def centre(self) -> torch.Tensor:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> torch.Tensor:
        """Half the width."""
        return (self.high - self.low) / 2

    @property
    def magnitude(self) -> torch.Tensor:
        """The largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    @staticmethod
    def around(centre: torch.Tensor, radius: torch.Tensor) -> Bounds:
        """Centre ± radius."""
        return Bounds(centre - radius, centre + radius)

    def meet(self, other: Bounds) -> Bounds:
        """Both hold. NaN on either side stays NaN."""
        return Bounds(torch.maximum(self.low, other.low), torch.minimum(self.high, other.high))

    def rows(self, chosen: torch.Tensor) -> Bounds:
        """The bounds of some rows."""
        return Bounds(self.low[chosen], self.high[chosen])


Incoming = Bounds | torch.Tensor
"""What arrives at a layer: bounds of numbers, or tokens, which are known (int64)."""


@dataclass(frozen=True)
class Stage:
    """A layer's output. ``noise`` None: none. ``pulls``: for each input, None where the map does not read it.

    ``pick``: what the map's transposed makes of single outputs, by their places (lines,) → (lines, inputs), on memory
    of its own; None where it is not simply a row of a matrix.

    Without a map (``affine`` None) the layer is a cut: its output is the middle of its bounds, their radius is noise.
    """

    bounds: Bounds
    noise: torch.Tensor | None = None
    affine: Affine | None = None
    pulls: tuple[Pull | None, ...] = ()
    pick: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class LayerView:
    """A layer as the rules see it: its kind, complete arguments, its module and the boxes of its parameters."""

    name: str
    kind: str
    arguments: dict[str, Any]
    module: Any
    boxes: Boxes
    inputs: tuple[str, ...] = ()
    cache: dict[Any, Any] = field(default_factory=dict)

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` makes from the parameters alone, made once."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]


Rule = Callable[[LayerView, Sequence[Incoming]], Stage | torch.Tensor]
"""From what arrives to the stage; tokens that are only moved stay tokens."""

RULES: dict[str, Rule] = {}
"""By kind of layer. A network with a layer of another kind is read in full."""

Refusal = Callable[[LayerView], str | None]
REFUSALS: dict[str, Refusal] = {}
"""Why a layer of the kind, with these arguments or on this machine, has no rule after all."""


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Registers a rule for kinds of layers."""

    def register(function: Rule) -> Rule:
        for kind in kinds:
            assert kind not in RULES, kind
            RULES[kind] = function
        return function

    return register


def numbers(incoming: Incoming) -> Bounds:
    """What arrives, which is no tokens."""
    assert isinstance(incoming, Bounds)
    return incoming


def per_row(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(rows,) shaped so that it broadcasts over (rows, *shape)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def row_largest(values: torch.Tensor) -> torch.Tensor:
    """The largest element of each row: (rows,)."""
    return values.reshape(len(values), -1).amax(1)


def within_range(bounds: Bounds) -> torch.Tensor:
    """Rows whose numbers float32 holds with room for a rounding, (rows,). NaN and infinity are not."""
    if not bounds.low[0:1].numel():
        return torch.ones(len(bounds.low), dtype=torch.bool)
    rows = len(bounds.low)
    low, high = bounds.low.reshape(rows, -1).amin(1), bounds.high.reshape(rows, -1).amax(1)
    return (low > -rounding.LARGEST) & (high < rounding.LARGEST)


def guarded(bounds: Bounds, *peaks: torch.Tensor) -> Bounds:
    """The bounds; for rows in which float32 may overflow on the way to these numbers, NaN, which proves nothing.

    ``peaks`` (rows, …): upper ends of the magnitudes of everything that the full pass may compute in between. A rule
    whose result may be finite where they are not (a norm, a gate, a product of three) has to name them; the numbers
    themselves are looked at too. NaN stays NaN through all rules, and ``propagation.forward`` drops the row.
    """
    possible = within_range(bounds)
    for peak in peaks:
        possible = possible & (row_largest(peak) < rounding.LARGEST)
    if bool(possible.all()):
        return bounds
    kept = per_row(possible, bounds.low)
    return Bounds(torch.where(kept, bounds.low, torch.nan), torch.where(kept, bounds.high, torch.nan))


def cut(low: torch.Tensor, high: torch.Tensor) -> Stage:
    """A stage that is known by its bounds alone."""
    return Stage(Bounds(low, high))
