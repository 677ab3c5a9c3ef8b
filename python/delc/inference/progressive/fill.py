"""Numbers of which only the leading bits are known, at their likely place: approximate answers are made from these.

The middle of a box is too far out where a box covers a factor of two or four, because small weights are more frequent.
How the known prefixes are distributed says how the numbers inside of each are: between neighbouring boxes the density
is taken to change exponentially, and each number is put at the mean of that density within its box.
"""

from __future__ import annotations

import torch

from delc.inference.progressive.boxes import Box

MOST_PREFIXES = 4096
"""Finer prefixes are so narrow that their middle is as good."""

STRAIGHT = 1e-3
"""Densities that change less than this over a box are flat."""


def filled(prefix: torch.Tensor, box: Box, known_bits: int) -> torch.Tensor:
    """float32 numbers of which the first ``known_bits`` bits are those of ``prefix``, and which lie in the box."""
    if box.exact or known_bits > 12 or prefix.element_size() != 4:
        return box.centre
    pattern = prefix.contiguous().view(torch.int32)
    codes = (pattern >> (32 - known_bits)) & ((1 << (known_bits - 1)) - 1)  # without the sign
    found, places, counts = torch.unique(codes.flatten(), return_inverse=True, return_counts=True)
    if len(found) < 2 or len(found) > MOST_PREFIXES:
        return box.centre
    low = (found << (32 - known_bits)).int().view(torch.float32).double()
    width = 2 * ((found << (32 - known_bits)) | (1 << (31 - known_bits))).int().view(torch.float32).double() - 2 * low
    width = _true_width(found, known_bits, low, width)
    share = _mean_place(counts.double() / width, low + width / 2, width)
    sizes = (low + share * width).float()[places].reshape(prefix.shape)
    inside = torch.where(torch.isfinite(sizes), sizes, box.centre.abs())
    return torch.copysign(inside, prefix)


def _true_width(codes: torch.Tensor, known_bits: int, low: torch.Tensor, fallback: torch.Tensor) -> torch.Tensor:
    """From one prefix to the next; a box may cover several exponents."""
    following = ((codes + 1) << (32 - known_bits)).clamp(max=0x7F7FFFFF).int().view(torch.float32).double()
    width = following - low
    return torch.where(width > 0, width, fallback)


def _mean_place(density: torch.Tensor, middle: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Where in each box the mean lies, from 0 to 1, when the density is exp(slope · place) between the boxes."""
    log = density.log()
    slopes = (log[1:] - log[:-1]) / (middle[1:] - middle[:-1])
    before, after = torch.cat([slopes[:1], slopes]), torch.cat([slopes, slopes[-1:]])
    change = ((before + after) / 2 * width).clamp(-30.0, 30.0)
    steep = change.abs() > STRAIGHT
    safe = torch.where(steep, change, 1.0)
    mean = 1 / (1 - torch.exp(-safe)) - 1 / safe
    return torch.where(steep, mean, 0.5 + change / 12)
