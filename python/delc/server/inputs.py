"""What a network reads: the one form in which features describe their tensors and networks take them.

A plain data class; it lies on the ground floor because rooms beside each other share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InputDtype = Literal["float32", "int64"]


@dataclass(frozen=True)
class InputSpec:
    """One input tensor of a network.

    ``shape`` is that of one row (without the rows): ``(30,)`` for 30 numbers, ``(1, 8, 8)`` for an image, ``()`` for
    one category code, ``(64,)`` for 64 tokens. ``dtype`` is ``float32`` for numbers and ``int64`` for codes and tokens.
    For codes and tokens ``categories`` says how many different ones there are (codes run from 0 to ``categories`` - 1,
    padding and "unknown" included), and ``dimensions`` how long their learned embedding is to be; None leaves that to
    the network.
    """

    shape: tuple[int, ...]
    dtype: InputDtype = "float32"
    categories: int | None = None
    dimensions: int | None = None
