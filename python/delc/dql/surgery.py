"""Operations on a network: split an edge, take out a layer or an edge, put another layer in its place, cut a part out.

All of them take and give whole networks; sizes that follow from others are left open and worked out anew afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delc.models.changes import Entry, open_entries
from delc.networks import Network
from delc.networks.graph import INPUT
from delc.networks.kinds import find_kind
from delc.server.errors import InvalidParameter, unknown


@dataclass(frozen=True)
class NewLayer:
    """A layer that is put in. ``others`` are the layers and inputs that it reads besides those of its place."""

    name: str
    kind: str
    arguments: Mapping[str, Any]
    others: tuple[str, ...] = ()


def insert(network: Network, node: str, layer: NewLayer) -> Network:
    """A new layer after ``node``: it reads the node, and what read the node reads it."""
    entries = open_entries(network)
    _check_free(entries, layer.name)
    _check_others(network, node, layer)
    _redirect(entries, node, [layer.name])
    entries[layer.name] = _entry(layer, [node, *layer.others])
    return _network(entries)


def delete(network: Network, node: str) -> Network:
    """The network without a layer; what read it reads what it read."""
    entries = open_entries(network)
    inputs = entries.pop(node)["inputs"]
    if len(inputs) > 1:
        raise InvalidParameter(
            f'layer "{node}" reads {len(inputs)} layers, so that none can stand in its place',
            hint=f'Delete one of its edges instead: m["{inputs[0]}"].delete = {network.layer(node).kind.upper()}.',
        )
    _redirect(entries, node, inputs)
    return _network(entries)


def delete_edge(network: Network, node: str, reader: str) -> Network:
    """The network without the edge from ``node`` to ``reader``: one that reads several layers does without this one,
    any other goes. A sum or the like of which one input is left goes too, and so do layers that lead nowhere then.
    """
    left = [source for source in network.layer(reader).inputs if source != node]
    if not left:
        return delete(network, reader)
    entries = open_entries(network)
    entries[reader]["inputs"] = left
    end = network.output.name
    if len(left) == 1 and find_kind(entries[reader]["kind"]).least <= 1 and _is_join(entries[reader]):
        entries.pop(reader)
        _redirect(entries, reader, left)
        end = left[0] if end == reader else end
    return _network(_without_dead_ends(entries, end))


def replace(network: Network, node: str, layer: NewLayer) -> Network:
    """The network with another layer in the place of one."""
    entries = open_entries(network)
    inputs = [*entries.pop(node)["inputs"], *layer.others]
    _check_free(entries, layer.name)
    _check_others(network, node, layer, is_replaced=True)
    kind = find_kind(layer.kind)
    if kind.most is not None and len(inputs) > kind.most:
        raise InvalidParameter(f'layer "{node}" reads {len(inputs)} layers; {layer.kind} takes {kind.most}')
    _redirect(entries, node, [layer.name])
    entries[layer.name] = _entry(layer, inputs)
    return _network(entries)


@dataclass(frozen=True)
class Cut:
    """A part of a network. ``arrays`` are the layers before it whose outputs it reads: one of them alone as "input",
    otherwise each by its name; ``inputs`` are those of the whole network's inputs that it reads. ``dropped`` are the
    layers that are not in it.
    """

    network: Network
    arrays: tuple[str, ...]
    inputs: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def reads(self) -> dict[str, str]:
        """Its inputs → what of the whole network arrives there."""
        if self.arrays and not self.inputs and len(self.arrays) == 1:
            return {INPUT: self.arrays[0]}
        return {name: name for name in (*self.inputs, *self.arrays)}


def cut(network: Network, starts: Sequence[str], end: str) -> Cut:
    """Every layer on a path from one of ``starts`` to ``end``, and the branches beside them that ``end`` needs.

    What lies before ``starts`` is cut off, also where a branch leads from there around them: its output is then one
    more array that the part reads.
    """
    needed = network.ancestors(end)
    reached = _descendants(network, starts) & needed
    if not reached:
        names = ", ".join(f'"{name}"' for name in starts)
        raise InvalidParameter(f'no path leads from {names} to "{end}"', hint="Swap input and output?")
    before = {name for start in starts for name in network.ancestors(start)} - reached
    part, read = set(reached), set()
    waiting = [name for layer in reached for name in network.layer(layer).inputs]
    while waiting:
        name = waiting.pop()
        if name in before or name not in network:
            read.add(name)
        elif name not in part:
            part.add(name)
            waiting += network.layer(name).inputs
    entries = {name: entry for name, entry in open_entries(network).items() if name in part}
    arrays = tuple(name for name in network.names if name in read)
    inputs = tuple(name for name in network.inputs if name in read)
    dropped = tuple(name for name in network.names if name not in part)
    result = Cut(_network(entries), arrays, inputs, dropped)
    if INPUT in result.reads and arrays:
        _redirect(entries, arrays[0], [INPUT])
        return Cut(_network(entries), arrays, inputs, dropped)
    return result


def _descendants(network: Network, starts: Sequence[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(network.consumers(name))
    return found


def _without_dead_ends(entries: dict[str, Entry], end: str) -> dict[str, Entry]:
    """Without the layers, backwards, that lead to no other one, except for the last one."""
    while True:
        read = {source for entry in entries.values() for source in entry["inputs"]}
        kept = {name: entry for name, entry in entries.items() if name in read or name == end}
        if len(kept) == len(entries):
            return kept
        entries = kept


def _is_join(entry: Entry) -> bool:
    return entry["kind"] in ("add", "concat", "multiply", "stack") and not entry["arguments"].get("constant")


def _check_free(entries: Mapping[str, Entry], name: str) -> None:
    if name in entries:
        raise InvalidParameter(
            f'layer "{name}" exists already, so it cannot be put in',
            hint="Choose another name, or leave the name out for one that is free.",
        )


def _check_others(network: Network, node: str, layer: NewLayer, *, is_replaced: bool = False) -> None:
    """Raises where a layer that is to be read as well does not exist, or comes after the new one."""
    later = _descendants(network, [node]) - (set() if is_replaced else {node})
    for other in layer.others:
        if other not in network and other not in network.inputs:
            raise unknown("layer", other, [*network.names, *network.inputs], kind=InvalidParameter)
        if other in later:
            raise InvalidParameter(
                f'"{layer.name}" cannot read "{other}", which comes after it: the network would go in a circle',
                hint=f'Name a layer that does not depend on "{node}", or put the new one after "{other}".',
            )


def _entry(layer: NewLayer, inputs: Sequence[str]) -> Entry:
    return {"name": layer.name, "kind": layer.kind, "arguments": dict(layer.arguments), "inputs": list(inputs)}


def _redirect(entries: Mapping[str, Entry], old: str, new: Sequence[str]) -> None:
    for entry in entries.values():
        entry["inputs"] = [name for source in entry["inputs"] for name in (new if source == old else [source])]


def _network(entries: Mapping[str, Entry]) -> Network:
    return Network.parse(list(entries.values()))
