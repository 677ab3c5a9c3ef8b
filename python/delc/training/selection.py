"""Layers by name or pattern, as in "freeze" and "replace"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from delc.server.errors import InvalidParameter, unknown


def select_layers(patterns: Sequence[str | None], layers: Iterable[str], where: str) -> list[str]:
    """The layers that one of the patterns names, in their order: ``conv*``, ``fc[12]``, or a name as it is.

    Raises InvalidParameter with the nearest name for a pattern that names none.
    """
    known = list(layers)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InvalidParameter(f"a layer is NULL {where}", hint="Name layers, or patterns such as conv*.")
        if not any(fnmatchcase(layer, pattern) for layer in known):
            raise unknown("layer", pattern, known, kind=InvalidParameter, where=where)
    return [layer for layer in known if any(fnmatchcase(layer, str(pattern)) for pattern in patterns)]
