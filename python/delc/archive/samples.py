"""Pieces of tensors, small enough to try encodings on, and sketches, to tell which tensors are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from delc.archive.scope import Tensor
from delc.server import queries, settings

SAMPLE_ELEMENTS = 32 * 1024
"""Enough for an encoder to settle: sizes per number change by less than two in a hundred beyond."""

LEAST_ELEMENTS = 2 * 1024
"""So many tell still which way is the better one."""

MEMORY_SHARE = 8
"""Of ``delc.memory_limit``, what samples may take together."""

_WIDEST = 8  # bytes of a number

SKETCH_PLACES = 256
_SKETCH_BITS = 12
"""Sign, exponent and few bits of the mantissa: fine-tuned weights keep them, unrelated ones do not share them."""


@dataclass(frozen=True)
class Sample:
    """Neighbouring rows from the middle of a tensor, or all of it, and what share of its numbers they are."""

    numbers: torch.Tensor
    share: float
    sketch: npt.NDArray[np.uint16]


def elements_of(tensors: int) -> int:
    """How many numbers of each of so many tensors, which are compared with one another, may be in memory together."""
    room = settings.memory_limit_bytes() // MEMORY_SHARE
    return max(LEAST_ELEMENTS, min(SAMPLE_ELEMENTS, room // (max(tensors, 1) * _WIDEST)))


def take(tensor: Tensor, elements: int = SAMPLE_ELEMENTS) -> Sample:
    """Reads the tensor and keeps a piece of it, of about so many numbers."""
    with queries.as_owner():
        numbers = torch.as_tensor(queries.value("SELECT delc.restored_tensor($1)", tensor.id))
    piece = middle(numbers, elements)
    share = piece.numel() / numbers.numel() if numbers.numel() else 1.0
    return Sample(piece.clone(), share, sketch(numbers))


def middle(numbers: torch.Tensor, elements: int = SAMPLE_ELEMENTS) -> torch.Tensor:
    """As many whole rows from the middle as make a sample; part of a row where one is longer. Always the same ones."""
    if numbers.numel() <= elements or numbers.dim() == 0:
        return numbers
    width = math.prod(numbers.shape[1:])
    if width > elements:
        flat = numbers.reshape(-1)
        first = (flat.numel() - elements) // 2
        return flat[first : first + elements]
    rows = elements // width
    first = (numbers.shape[0] - rows) // 2
    return numbers[first : first + rows]


def sketch(numbers: torch.Tensor) -> npt.NDArray[np.uint16]:
    """The leading bits of numbers at evenly spread places (places,)."""
    flat = numbers.reshape(-1)
    places = torch.linspace(0, max(flat.numel() - 1, 0), SKETCH_PLACES).round().long()
    chosen = flat[places] if flat.numel() else torch.zeros(SKETCH_PLACES)
    leading: npt.NDArray[np.uint32] = chosen.to(torch.float32).numpy().view(np.uint32)
    return (leading >> np.uint32(32 - _SKETCH_BITS)).astype(np.uint16)
