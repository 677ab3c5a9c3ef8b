"""Pools and reductions that take the largest or the smallest number.

Both are monotone, so their bounds are those of the ends, without rounding. As a map they pick the number with the
largest lower bound; where it beats the upper bounds of all others, that is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from delc.inference.progressive.stages import (
    Affine,
    Bounds,
    Incoming,
    LayerView,
    Pull,
    Stage,
    cut,
    numbers,
    rule,
)
from delc.networks.kinds import per_dimension


@rule("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """The largest number of each window."""
    arriving = numbers(inputs[0])
    bounds = Bounds(layer.module(arriving.low), layer.module(arriving.high))
    windows = Windows(layer, arriving.low.shape, bounds.low.shape)
    return picking(arriving, bounds, windows)


class Windows:
    """The windows that a pool slides over (rows, channels, *space)."""

    def __init__(self, layer: LayerView, shape: torch.Size, output: torch.Size) -> None:
        dimensions = len(shape) - 2
        self.kernel, self.stride, self.padding, self.dilation = (
            per_dimension(layer.arguments[name], dimensions)
            for name in ("kernel_size", "stride", "padding", "dilation")
        )
        self.pads: list[int] = []
        self.space, self.output = shape[2:], output[2:]
        for at in reversed(range(dimensions)):
            reach = (self.output[at] - 1) * self.stride[at] + self.dilation[at] * (self.kernel[at] - 1) + 1
            self.pads += [self.padding[at], max(0, reach - self.padding[at] - self.space[at])]

    def of(self, values: torch.Tensor, filling: float) -> torch.Tensor:
        """(rows, channels, *output, window): what each window sees; ``filling`` outside."""
        found = functional.pad(values, self.pads, value=filling)
        for at in range(len(self.space)):
            span = self.dilation[at] * (self.kernel[at] - 1) + 1
            found = found.unfold(2 + at, span, self.stride[at])[..., :: self.dilation[at]]
            found = found.narrow(2 + at, 0, self.output[at])
        return found.flatten(2 + len(self.space))

    def places(self) -> torch.Tensor:
        """(1, 1, *output, window): where in a channel each window's numbers are."""
        count = 1
        for size in self.space:
            count *= size
        flat = torch.arange(count, dtype=torch.float64).reshape(1, 1, *self.space)
        return self.of(flat, 0.0).long()


def picking(arriving: Bounds, bounds: Bounds, windows: Windows) -> Stage:
    """The map that takes one number of each window."""
    low, high = windows.of(arriving.low, -torch.inf), windows.of(arriving.high, -torch.inf)
    best = low.argmax(-1, keepdim=True)
    others = high.scatter(-1, best, -torch.inf).amax(-1)
    excess = (others - low.gather(-1, best).squeeze(-1)).clamp(min=0)
    places = windows.places().expand(low.shape).gather(-1, best).squeeze(-1)
    shape, at = arriving.low.shape[1:], places.flatten(2)
    half = excess / 2

    def affine(centres: Sequence[torch.Tensor]) -> torch.Tensor:
        return centres[0].flatten(2).gather(2, at).reshape(places.shape) + half

    def pull(lines: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        found = torch.zeros((len(lines), *shape), dtype=lines.dtype).flatten(2)
        return found.scatter_add(2, at[rows], lines.flatten(2)).reshape(len(lines), *shape)

    noise = half if bool((half != 0).any()) else None
    return Stage(bounds, noise, affine, (pull,))


@rule("global_max_pool")
def global_max_pool(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """The largest number of each channel."""
    arriving = numbers(inputs[0])
    low, high = arriving.low.flatten(2), arriving.high.flatten(2)
    best = low.argmax(2, keepdim=True)
    excess = (high.scatter(2, best, -torch.inf).amax(2) - low.gather(2, best).squeeze(2)).clamp(min=0)
    half, shape = excess / 2, arriving.low.shape[1:]
    affine: Affine = lambda centres: centres[0].flatten(2).gather(2, best).squeeze(2) + half  # noqa: E731
    empty = (shape[0], low.shape[2])

    def spread(lines: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        found = torch.zeros((len(lines), *empty), dtype=lines.dtype)
        return found.scatter_add(2, best[rows], lines.unsqueeze(2)).reshape(len(lines), *shape)

    pull: Pull = spread
    return Stage(Bounds(low.amax(2), high.amax(2)), half, affine, (pull,))


@rule("max", "min", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def extreme(layer: LayerView, inputs: Sequence[Incoming]) -> Stage:
    """By its bounds alone."""
    arriving = numbers(inputs[0])
    return cut(layer.module(arriving.low), layer.module(arriving.high))
