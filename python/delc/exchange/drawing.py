"""A network in the making, whose layers are named by what they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from delc.networks import Layer, Network
from delc.networks.graph import RESERVED
from delc.networks.joining import free_name

_NOT_IN_NAMES = re.compile(r"[^\w-]+")
LONGEST = 55


class Drawing:
    """Collects layers."""

    def __init__(self, inputs: Sequence[str] = ()) -> None:
        self._layers: list[Layer] = []
        self._taken = {*RESERVED, *inputs}

    def add(self, wanted: str | None, kind: str, arguments: Mapping[str, Any], inputs: Sequence[str]) -> str:
        """Adds a layer; returns its name, which is the one wanted where that is free."""
        base = _NOT_IN_NAMES.sub("_", wanted or f"{kind}1")[:LONGEST] or kind
        name = free_name(base, self._taken)
        self._layers.append(Layer(name, kind, dict(arguments), tuple(inputs)))
        return name

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        return next(layer for layer in self._layers if layer.name == name)

    def give_bias(self, name: str) -> bool:
        """Turns on the bias of a linear layer that has none and that nothing reads yet; says whether it did."""
        for place, layer in enumerate(self._layers):
            if name in layer.inputs:
                return False
            if layer.name == name and layer.kind == "linear" and layer.arguments.get("bias") is False:
                self._layers[place] = Layer(name, "linear", {**layer.arguments, "bias": True}, layer.inputs)
                return not any(name in other.inputs for other in self._layers)
        return False

    def network(self) -> Network:
        """The network so far, as checked as one that a user writes."""
        return Network.parse([layer.to_json() for layer in self._layers])
