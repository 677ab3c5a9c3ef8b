"""Bounds of convolutions with large weights: products of a large matrix with the windows that each output reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from delc.inference.progressive import rounding
from delc.inference.progressive.boxes import Box
from delc.inference.progressive.large_products import LargeMatrix, Parts
from delc.inference.progressive.stages import Bounds, LayerView, Stage, per_row, row_largest

WINDOWS_BYTES = 64 * 1024 * 1024
"""Windows are laid out for so many rows at a time that they take about this much."""

KINDS = frozenset({"conv1d", "conv2d"})


def is_wide(kind: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a convolution reads all channels at once, in windows that torch can lay out."""
    return kind in KINDS and bool(arguments["groups"] == 1)


class Windows:
    """The windows that a convolution's outputs read: (rows, channels, *places) → (rows, outputs' places, inputs)."""

    def __init__(self, layer: LayerView, shape: torch.Size) -> None:
        module = layer.module
        self._pads = module._reversed_padding_repeated_twice
        self._mode = "constant" if layer.arguments["padding_mode"] == "zeros" else layer.arguments["padding_mode"]
        flat = len(module.kernel_size) == 1
        one = (1,) if flat else ()
        self._flat, self._kernel = flat, (*one, *module.kernel_size)
        self._stride, self._dilation = (*one, *module.stride), (*one, *module.dilation)
        padded = functional.pad(torch.empty(shape, device="meta"), self._pads)
        self.places = tuple(
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation in zip(
                padded.shape[2:], module.kernel_size, module.stride, module.dilation, strict=True
            )
        )

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Laid out one beside the other."""
        padded = functional.pad(values, self._pads, mode=self._mode)
        if self._flat:
            padded = padded.unsqueeze(2)
        return functional.unfold(padded, self._kernel, self._dilation, 0, self._stride).transpose(1, 2)

    def shaped(self, outputs: torch.Tensor) -> torch.Tensor:
        """(rows, places, channels) → (rows, channels, *places)."""
        return outputs.transpose(1, 2).reshape(len(outputs), -1, *self.places)


def large_convolution(
    layer: LayerView,
    arriving: Bounds,
    matrix: LargeMatrix,
    bias: Box | None,
    maps: Callable[[], tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]],
) -> Stage:
    """The stage of such a convolution. ``maps``: itself and its transpose in float64, without a bias, for traces."""
    windows = Windows(layer, arriving.low.shape)
    middle, noise, spread = (windows.shaped(found) for found in _products(windows, arriving, matrix))
    largest = row_largest(arriving.magnitude)
    noise = noise + per_row(rounding.underflow(matrix.terms, largest, matrix.largest), noise)
    sums = largest * matrix.largest * matrix.terms
    shift: torch.Tensor | float = 0.0
    if bias is not None:
        shape = [-1, *[1] * (middle.dim() - 2)]
        shift = bias.wide().reshape(shape)
        noise = noise + (bias.spread() + rounding.gamma(matrix.terms) * bias.largest()).reshape(shape)
        sums = sums + float(bias.largest().max())
    noise = torch.where(per_row(sums < rounding.LARGEST, noise), noise, torch.inf)
    middle = middle + shift
    return Stage(
        Bounds.around(middle, noise + spread),
        noise,
        lambda centres: maps()[0](centres[0]) + shift,
        (lambda lines, rows: maps()[1](lines),),
    )


def _products(windows: Windows, arriving: Bounds, matrix: LargeMatrix) -> list[torch.Tensor]:
    """What ``LargeMatrix.bounds`` gives, (rows, places, channels), for a few rows at a time."""
    parts = Parts.of(arriving)
    rows = len(parts.centre)
    places = max(1, torch.Size(windows.places).numel())
    portion = max(1, WINDOWS_BYTES // (3 * 4 * places * matrix.terms))
    found: list[tuple[torch.Tensor, ...]] = []
    for start in range(0, max(rows, 1), portion):
        some_rows = parts.rows(start, portion)
        found.append(matrix.of_parts(some_rows.map(windows.of)))
    return [torch.cat(some) for some in zip(*found, strict=True)]
