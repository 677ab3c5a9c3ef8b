"""What a user may write for a network: an architecture's name, an architecture with arguments, or layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from delc.networks.architectures import architecture
from delc.networks.arguments import shorten
from delc.networks.graph import Network
from delc.server.errors import InvalidParameter
from delc.server.inputs import InputSpec


def network_from(value: Any, inputs: Mapping[str, InputSpec], outputs: int) -> Network:
    """The network that ``value`` defines for these inputs and outputs; sizes are not yet filled in.

    ``value`` is decoded JSON or JSON text: ``"mlp"``, ``{"architecture": "mlp", "hidden": [32]}``,
    ``[{"kind": "linear"}, …]`` or ``{"layers": […]}``. ``InvalidParameter`` says what is wrong with anything else.
    """
    if isinstance(value, str):
        if not value.lstrip().startswith(("[", "{", '"')):
            return architecture(value.strip(), {}, inputs, outputs)
        value = _decode(value)
    if isinstance(value, str):
        return architecture(value, {}, inputs, outputs)
    if isinstance(value, Mapping) and "architecture" in value:
        return _architecture(value, inputs, outputs)
    return Network.parse(value)


def _architecture(value: Mapping[str, Any], inputs: Mapping[str, InputSpec], outputs: int) -> Network:
    name, nested = value["architecture"], value.get("arguments")
    if not isinstance(name, str):
        raise InvalidParameter(f'"architecture" is {shorten(name)}', detail='Expected is a name, such as "mlp".')
    if nested is not None and not isinstance(nested, Mapping):
        raise InvalidParameter(
            f'"arguments" of architecture {name} is {shorten(nested)}', detail="Expected is an object."
        )
    flat = {key: argument for key, argument in value.items() if key not in ("architecture", "arguments")}
    return architecture(name, {**(nested or {}), **flat}, inputs, outputs)


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidParameter(
            "the network definition is not JSON",
            detail=str(error),
            hint="Give a JSON list of layers, or an architecture's name (docs/layers.md).",
        ) from None
    except RecursionError:
        raise InvalidParameter("the network definition is nested too deeply") from None
