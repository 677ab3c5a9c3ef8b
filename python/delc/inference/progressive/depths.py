"""How far parameters are read, and which of them one depth further than the others, because that costs little.

What is unknown of a layer's parameters moves the outputs by about as much as what is unknown of another's, however few
they are. So after the first depth the smallest parameters are read on first: as many as one plane or half plane more of
them takes a small part of all stored bytes. That depth in between counts as one bit more.

Where one parameter makes up most of the bytes, a depth before the first reads half a plane less of it: many rows need
no more. It counts as one bit less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMALL = 2000
"""Values that take at most so many stored bytes lie in their rows, so nothing is saved by reading a part of them."""

FIRST_BITS = 16
"""The depth from which answers can be settled: of one byte, even the exponent is not known."""

AHEAD_SHARE = 0.08
"""The part of all stored bytes that is read ahead."""

AHEAD_BITS = FIRST_BITS + 1
"""The depth at which that is read."""


BEHIND_SHARE = 0.6
"""A parameter with this part of all stored bytes and more is read behind the others."""

BEHIND_KNOWN = 12
"""Bits that are known of it then: with fewer, nothing is settled."""

BEHIND_BITS = FIRST_BITS - 1
"""The depth at which it is."""


def known_bits(depth: int) -> int:
    """The bits that are known of every number at a depth."""
    return {AHEAD_BITS: FIRST_BITS, BEHIND_BITS: BEHIND_KNOWN}.get(depth, depth)


@dataclass(frozen=True)
class Depths:
    """Up to where a parameter is read (``ends``, bytes) for each of the depths (``bits``) at which a plane ends."""

    bits: Sequence[int]
    ends: Sequence[int]

    @property
    def step(self) -> int:
        """Bytes from the first depth to the next."""
        first = max(1, sum(bits <= FIRST_BITS for bits in self.bits))
        return self.ends[min(first, len(self.ends) - 1)] - self.ends[first - 1]


def read_behind(parameters: Mapping[str, Depths]) -> str | None:
    """The name of the parameter that is read behind the others, if there is one."""
    whole = sum(depths.ends[-1] for depths in parameters.values())
    for name, depths in parameters.items():
        if BEHIND_KNOWN in depths.bits and depths.ends[-1] >= max(BEHIND_SHARE * whole, SMALL + 1):
            return name
    return None


def read_ahead(parameters: Mapping[str, Depths]) -> frozenset[str]:
    """The names of the parameters that are read ahead; those that are small are not, they are read whole."""
    left = AHEAD_SHARE * sum(depths.ends[-1] for depths in parameters.values())
    found = set()
    for name, depths in sorted(parameters.items(), key=lambda item: (item[1].ends[-1], item[0])):
        if depths.ends[-1] > SMALL and depths.step <= left:
            left -= depths.step
            found.add(name)
    return frozenset(found)
