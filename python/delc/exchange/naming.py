"""Names of parameters in files and in a network.

A layer's name has no dots, so a module "encoder.0" inside a module is the layer "encoder-0"; files have the dots.
"""

from __future__ import annotations

from collections.abc import Iterable


def layer_name(path: str) -> str:
    """The layer that a module's path becomes."""
    return path.replace(".", "-")


def dotted(name: str) -> str:
    """A parameter's name as modules have it: encoder.0.weight for encoder-0.weight."""
    layer, dot, parameter = name.partition(".")
    return layer.replace("-", ".") + dot + parameter


def by_any_name(names: Iterable[str]) -> dict[str, str]:
    """The network's name of each parameter, by that name and by the one with dots."""
    known = list(names)
    return {dotted(name): name for name in known} | {name: name for name in known}
