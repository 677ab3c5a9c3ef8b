"""Which parameters are read further than the others, because that costs next to nothing.

What is unknown of an early layer grows through all the layers behind it, and early layers, convolutions above all, have
few parameters. So the smallest parameters, as long as they are a small part of the whole, are read one plane ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

SMALL = 2000
"""Values that take at most so many stored bytes lie in their rows, so nothing is saved by reading a part of them."""

AHEAD_SHARE = 0.1
"""The part of all stored bytes that is read ahead."""

AHEAD_BITS = 8


def read_ahead(stored: Mapping[str, int]) -> frozenset[str]:
    """The names of the parameters that are read ahead, from the stored bytes of each."""
    limit, total, found = AHEAD_SHARE * sum(stored.values()), 0, set()
    for name, size in sorted(stored.items(), key=lambda item: (item[1], item[0])):
        total += size
        if total > limit:
            break
        found.add(name)
    return frozenset(found)
