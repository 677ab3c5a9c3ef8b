"""The room's SQL functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from delc.networks import KINDS, InputSpec, network_from, resolve
from delc.server.errors import InvalidParameter


def layer_kinds() -> Iterator[dict[str, Any]]:
    """One row for each kind of layer."""
    for name, kind in sorted(KINDS.items()):
        arguments = {argument.name: argument.text for argument in kind.arguments}
        yield {"kind": name, "arguments": json.dumps(arguments), "description": kind.text}


def check_network(network: str, input_shape: list[int], outputs: int) -> Iterator[dict[str, Any]]:
    """The resolved layers of a network definition."""
    if network is None or input_shape is None or outputs is None or None in input_shape:
        raise InvalidParameter("network, input_shape and outputs must be given, and none of them be NULL")
    inputs = {"input": InputSpec(tuple(input_shape))}
    for layer in resolve(network_from(network, inputs, outputs), inputs, outputs).layers:
        yield {
            "position": layer.position,
            "name": layer.name,
            "kind": layer.kind,
            "arguments": json.dumps(dict(layer.arguments)),
            "inputs": list(layer.inputs),
            "output_shape": list(layer.output_shape),
            "parameters": layer.parameters,
        }
