"""Changes to a network by layer: other arguments, another kind, layers put in or taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from delc.networks import Network
from delc.networks.arguments import INFERRED, shorten
from delc.networks.kinds import find_kind
from delc.server.errors import InvalidParameter, unknown

Entry = dict[str, Any]


def change_network(network: Network, changes: Mapping[str, Any]) -> Network:
    """The network with the changes; sizes that follow from others are left open.

    ``changes``, by layer: ``{"p": 0.5}`` sets arguments, ``{"kind": "gelu"}`` makes it another kind, None takes it
    out, and ``{"kind": "relu", "after": "fc1"}`` puts a new layer after one that is there.
    """
    entries = open_entries(network)
    for name, change in changes.items():
        if change is None:
            _remove(entries, name)
        elif not isinstance(change, Mapping):
            raise InvalidParameter(
                f'the change of layer "{name:.63}" is {shorten(change)}',
                detail='Allowed are an object, such as {"p": 0.5}, and null, which takes the layer out.',
            )
        elif name in entries and "after" not in change:
            entries[name] = _changed(entries[name], dict(change))
        else:
            _insert(entries, name, dict(change))
    return Network.parse(list(entries.values()))


def open_entries(network: Network) -> dict[str, Entry]:
    """The layers by name, without the arguments that follow from what arrives at them."""
    return {layer.name: _open(layer.to_json()) for layer in network}


def _open(entry: Entry) -> Entry:
    inferred = {argument.name for argument in find_kind(entry["kind"]).arguments if argument.default is INFERRED}
    arguments = {name: value for name, value in entry["arguments"].items() if name not in inferred}
    return {**entry, "arguments": arguments}


def _changed(entry: Entry, change: Entry) -> Entry:
    kind = change.pop("kind", entry["kind"])
    kept = entry["arguments"] if kind == entry["kind"] else {}
    return {**entry, "kind": kind, "arguments": {**kept, **change}}


def _remove(entries: dict[str, Entry], name: str) -> None:
    if name not in entries:
        raise unknown("layer", name, entries, kind=InvalidParameter, where="to be taken out")
    removed = entries.pop(name)
    if len(removed["inputs"]) != 1:
        raise InvalidParameter(
            f'layer "{name}" reads {len(removed["inputs"])} layers, so that none can stand in its place',
            hint="Change the layers that read it, or train the network that you mean.",
        )
    _redirect(entries, name, removed["inputs"][0])


def _insert(entries: dict[str, Entry], name: str, change: Entry) -> None:
    before = change.pop("after", None)
    if name in entries:
        raise InvalidParameter(f'layer "{name}" exists already, so it cannot be put in', hint="Choose another name.")
    if "kind" not in change or before is None:
        error = unknown("layer", name, entries, kind=InvalidParameter)
        error.hint = error.hint or 'A new layer says its kind and its place: {"kind": "relu", "after": "fc1"}.'
        raise error
    if before not in entries:
        raise unknown("layer", str(before), entries, kind=InvalidParameter, where=f'in "after" of layer "{name:.63}"')
    _redirect(entries, before, name)
    entries[name] = {"name": name, "kind": change.pop("kind"), "arguments": change, "inputs": [before]}


def _redirect(entries: dict[str, Entry], old: str, new: str) -> None:
    for entry in entries.values():
        entry["inputs"] = [new if source == old else source for source in entry["inputs"]]
