"""The numbers of a parameter of which the leading bits were read, in memory that a deeper reading goes on with.

Of the bits of a number that are unknown, the first is one and the others are zero: that is the middle of what the
number may be, so bounds and guesses use the memory as it is. Further planes take these bits' place, and with the last
plane the memory has the numbers themselves.
"""

from __future__ import annotations

import numpy as np
import torch

from delc.inference.progressive.boxes import EXPONENT_BITS, Box, box_of_prefix
from delc.server import tensors

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Numbers:
    """Those of a parameter, in parts of so many numbers; ``known``: leading bits of each part that are known."""

    def __init__(self, counts: list[int], shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.shape = shape
        self.known = [0] * len(counts)
        self._flat: torch.Tensor = tensors.fresh(sum(counts), dtype)
        self._starts = np.cumsum([0, *counts]).tolist()

    @property
    def bytes(self) -> int:
        """The memory they take."""
        return self._flat.numel() * self._flat.element_size()

    @property
    def bits(self) -> int:
        """Bits of each number that are known."""
        return min(self.known)

    @property
    def whole(self) -> torch.Tensor:
        """The memory itself, in the parameter's shape."""
        return self._flat.reshape(self.shape)

    def part(self, number: int) -> torch.Tensor:
        """The memory of a part, flat."""
        return self._flat[self._starts[number] : self._starts[number + 1]]

    def put(self, number: int, prefix: torch.Tensor, known: int) -> None:
        """Puts a part's numbers in, of which the unknown bits are zero."""
        part = self.part(number)
        part.copy_(prefix.reshape(-1))
        unknown = 8 * part.element_size() - known
        if unknown > 0:
            integers = part.view(_INTEGERS[part.element_size()]).numpy()
            np.bitwise_or(integers, integers.dtype.type(1 << (unknown - 1)), out=integers)
        self.known[number] = known

    def prefix(self, known: int) -> torch.Tensor:
        """The numbers with all but so many leading bits zero; on memory of their own unless all are known."""
        unknown = 8 * self._flat.element_size() - known
        if unknown <= 0:
            return self.whole
        integers = self._flat.view(_INTEGERS[self._flat.element_size()]).numpy()
        found = np.bitwise_and(integers, integers.dtype.type(-1 << unknown))
        return torch.from_numpy(found).view(self._flat.dtype).reshape(self.shape)

    def box(self) -> Box:
        """The box they lie in; its centre is this memory where that is possible."""
        known, dtype = self.bits, self._flat.dtype
        if known >= 8 * dtype.itemsize:
            return Box(self.whole)
        if dtype == torch.float32 and known > EXPONENT_BITS[dtype] and len(set(self.known)) == 1:
            return Box(self.whole, step=2.0 ** (EXPONENT_BITS[dtype] - known))
        return box_of_prefix(self.prefix(known), known)
