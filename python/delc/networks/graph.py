"""A network as a graph of layers: the immutable form that is stored, compared, cut and built.

A layer names its kind, its arguments and the layers (or inputs of the network) that it reads. ``Network.parse`` takes
the JSON that users write, ``Network.to_json`` gives it back with nothing left implicit.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from delc.networks.arguments import accept_given, shorten, shorten_name
from delc.networks.kinds import find_kind
from delc.server.errors import DuplicateObject, InvalidParameter, LimitExceeded, unknown

INPUT = "input"
"""The name by which a layer reads the network's input where it has only one."""

RESERVED = {
    INPUT: "This name stands for the network's input.",
    "training": "Every torch module says by this name whether it is being trained.",
}
"""Names that no layer may have."""

MOST_LAYERS = 10_000
MOST_NAME_BYTES = 63

_NAME = re.compile(r"[\w-]+")
_OWN_KEYS = ("name", "kind", "arguments", "inputs")


@dataclass(frozen=True)
class Layer:
    """One node of the graph: its name, its kind, its arguments (read-only) and the names of what it reads, in order."""

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    inputs: tuple[str, ...] = (INPUT,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        object.__setattr__(self, "inputs", tuple(self.inputs))

    def __deepcopy__(self, memo: dict[int, Any]) -> Layer:
        return self

    def __reduce__(self) -> tuple[type[Layer], tuple[Any, ...]]:
        return Layer, (self.name, self.kind, dict(self.arguments), self.inputs)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "arguments": dict(self.arguments),
            "inputs": list(self.inputs),
        }

    def __str__(self) -> str:
        return f'layer "{self.name}" ({self.kind})'


@dataclass(frozen=True)
class Network:
    """Layers in an order in which each comes after what it reads.

    The order given is kept where it is such an order already; otherwise layers move back as little as needed. Names are
    unique, 1 to 63 bytes of letters, digits, "_" and "-", and none is reserved. A name that a layer reads and that no
    layer has is an input of the network. Cycles raise ``InvalidParameter``, a name used twice ``DuplicateObject``.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _check_names(self.layers)
        object.__setattr__(self, "layers", _in_reading_order(tuple(self.layers)))

    @staticmethod
    def parse(definition: Any) -> Network:
        """The network that decoded JSON defines: a list of layers, or an object whose "layers" is that list.

        A layer is ``{"kind": …, "name": …, "inputs": […], "arguments": {…}}``; only the kind is needed, and a string
        stands for a layer of that kind. Arguments may also lie beside the kind. A layer without a name is called after
        its kind with a number, one without inputs reads the layer before it (the first: "input"). Kinds and arguments
        are checked here, sizes when the network is built.
        """
        return Network(_parse_layers(_layer_list(definition)))

    def to_json(self) -> dict[str, Any]:
        """The network as JSON that ``parse`` reads back as an equal network."""
        return {"layers": [layer.to_json() for layer in self.layers]}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The layers' names in order."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The names that layers read and no layer has: the inputs of the network, in the order of first use."""
        read = (source for layer in self.layers for source in layer.inputs)
        return tuple(dict.fromkeys(source for source in read if source not in self._by_name))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The layers that no other layer reads; a network that can be trained has one."""
        return tuple(name for name in self.names if not self.consumers(name))

    @property
    def output(self) -> Layer:
        """The one layer that no other layer reads; ``InvalidParameter`` when there are several."""
        if len(self.outputs) == 1:
            return self.layer(self.outputs[0])
        *others, last = self.outputs
        names = ", ".join(f'"{name}"' for name in others)
        raise InvalidParameter(
            f"{'layers' if len(others) > 1 else 'layer'} {names} of the network "
            f"{'lead' if len(others) > 1 else 'leads'} nowhere",
            detail=f'No layer reads {names}, and the network\'s output is its last layer, "{last}".',
            hint="Remove such layers, or let a later layer read them, for example one of the kinds concat and add.",
        )

    def layer(self, name: str) -> Layer:
        """The layer of that name; ``UndefinedObject`` with the nearest name when there is none."""
        if name not in self._by_name:
            raise unknown("layer", shorten_name(name), self.names)
        return self._by_name[name]

    def consumers(self, name: str) -> tuple[str, ...]:
        """The names of the layers that read this layer or input, in order."""
        return self._consumers.get(name, ())

    def ancestors(self, name: str) -> frozenset[str]:
        """The names of all layers from which a path leads to the layer ``name``, that layer included."""
        found: set[str] = set()
        waiting = [self.layer(name).name]
        while waiting:
            current = waiting.pop()
            if current not in found and current in self._by_name:
                found.add(current)
                waiting.extend(self._by_name[current].inputs)
        return frozenset(found)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _consumers(self) -> dict[str, tuple[str, ...]]:
        readers: dict[str, dict[str, None]] = {}
        for layer in self.layers:
            for source in layer.inputs:
                readers.setdefault(source, {})[layer.name] = None
        return {source: tuple(names) for source, names in readers.items()}


def _check_names(layers: Sequence[Layer]) -> None:
    if not layers:
        raise InvalidParameter("the network has no layers", hint='Give at least one, for example [{"kind": "linear"}].')
    if len(layers) > MOST_LAYERS:
        raise LimitExceeded(f"the network has {len(layers)} layers", detail=f"Allowed are up to {MOST_LAYERS}.")
    for layer in layers:
        _check_name(layer.name)
        if not layer.inputs:
            raise InvalidParameter(f"{layer} reads nothing", hint='Name a layer or "input" in its inputs.')
    repeated = [name for name, times in Counter(layer.name for layer in layers).items() if times > 1]
    if repeated:
        raise DuplicateObject(
            f'the name "{repeated[0]}" is used by more than one layer',
            hint="Leave names out where they do not matter: such layers are called after their kind with a number.",
        )


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise InvalidParameter(f'a layer is named "{name}"', detail=RESERVED[name], hint="Choose another.")
    if not _NAME.fullmatch(name) or len(name.encode("utf-8", "replace")) > MOST_NAME_BYTES:
        raise InvalidParameter(
            f'"{shorten_name(name)}" cannot be the name of a layer',
            detail=f'Allowed are letters, digits, "_" and "-", {MOST_NAME_BYTES} bytes at most.',
        )


def _in_reading_order(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers sorted so that each comes after what it reads; among those that may come next, the first given."""
    position = {layer.name: at for at, layer in enumerate(layers)}
    waits_for = [{source for source in layer.inputs if source in position} for layer in layers]
    readers: dict[str, list[int]] = {}
    for at, sources in enumerate(waits_for):
        for source in sources:
            readers.setdefault(source, []).append(at)
    ready = [at for at, sources in enumerate(waits_for) if not sources]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        at = heapq.heappop(ready)
        order.append(at)
        for reader in readers.get(layers[at].name, ()):
            waits_for[reader].discard(layers[at].name)
            if not waits_for[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(layers):
        _raise_cycle(layers, {layers[at].name: waits_for[at] for at in range(len(layers)) if waits_for[at]})
    return tuple(layers[at] for at in order)


def _raise_cycle(layers: Iterable[Layer], waits_for: Mapping[str, set[str]]) -> None:
    """Every layer left waits for another one left: walking from any of them comes back to where it has been."""
    path = [next(layer.name for layer in layers if layer.name in waits_for)]
    while path.count(path[-1]) == 1:
        path.append(min(waits_for[path[-1]]))
    cycle = path[path.index(path[-1]) :]
    arrows = " reads ".join(f'"{name}"' for name in cycle[:12])
    raise InvalidParameter(
        f'the network has a cycle through layer "{cycle[0]}"',
        detail=f"Layer {arrows}{' …' if len(cycle) > 12 else ''}.",
        hint="A layer can read only layers that do not depend on it; sequences are what rnn, lstm and gru are for.",
    )


def _layer_list(definition: Any) -> list[Any]:
    if isinstance(definition, Mapping):
        others = [key for key in definition if key != "layers"]
        if "layers" not in definition or others:
            raise InvalidParameter(
                "the network definition is an object "
                + (f'with the key "{shorten_name(others[0])}"' if others else "without layers"),
                detail='Expected is a list of layers, {"layers": [...]} or {"architecture": name, ...}.',
            )
        definition = definition["layers"]
    if not isinstance(definition, list | tuple):
        raise InvalidParameter(
            f"the network definition is {shorten(definition)}",
            detail='Expected is a list of layers, such as [{"kind": "linear", "out_features": 32}, {"kind": "relu"}].',
        )
    if len(definition) > MOST_LAYERS:
        raise LimitExceeded(f"the network has {len(definition)} layers", detail=f"Allowed are up to {MOST_LAYERS}.")
    return list(definition)


def _parse_layers(entries: list[Any]) -> tuple[Layer, ...]:
    parsed = [_parse_entry(position, entry) for position, entry in enumerate(entries, start=1)]
    names = _fill_names([(name, kind) for name, kind, _, _ in parsed])
    layers = []
    for position, (name, (_, kind, given, inputs)) in enumerate(zip(names, parsed, strict=True)):
        arguments = accept_given(f'layer "{shorten_name(name)}" ({kind})', find_kind(kind).arguments, given)
        before = names[position - 1] if position else INPUT
        layers.append(Layer(name, kind, arguments, inputs if inputs is not None else (before,)))
    return tuple(layers)


def _parse_entry(position: int, entry: Any) -> tuple[str | None, str, dict[str, Any], tuple[str, ...] | None]:
    """Name, kind, arguments and inputs of one entry of the list; name and inputs are None when not given."""
    if isinstance(entry, str):
        entry = {"kind": entry}
    if not isinstance(entry, Mapping):
        raise InvalidParameter(
            f"layer {position} of the network is {shorten(entry)}",
            detail='Expected is an object with a "kind", such as {"kind": "linear", "out_features": 32}.',
        )
    name = entry.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidParameter(f"the name of layer {position} is {shorten(name)}", detail="Allowed is a string.")
    where = f"layer {position}" if name is None else f'layer {position} ("{shorten_name(name)}")'
    kind = _kind_of(where, entry)
    return name, kind, _arguments_of(f"{where} ({kind})", entry), _inputs_of(where, entry)


def _kind_of(where: str, entry: Mapping[str, Any]) -> str:
    kind = entry.get("kind")
    if isinstance(kind, str):
        return find_kind(kind, where=f"of {where}").name
    if kind is not None:
        raise InvalidParameter(f"the kind of {where} is {shorten(kind)}", detail="Allowed is a string.")
    raise InvalidParameter(
        f"{where} has no kind",
        hint='Write "kind" instead of "type".' if "type" in entry else 'Add, for example, "kind": "linear".',
    )


def _arguments_of(where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    arguments = entry.get("arguments")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise InvalidParameter(
            f'"arguments" of {where} is {shorten(arguments)}',
            detail='Expected is an object, such as {"out_features": 32}.',
        )
    nested = dict(arguments or {})
    flat = {key: value for key, value in entry.items() if key not in _OWN_KEYS}
    twice = [key for key in nested if key in flat]
    if twice:
        raise InvalidParameter(
            f'argument "{shorten_name(twice[0])}" of {where} is given twice',
            hint='Give it either inside "arguments" or beside the kind.',
        )
    return nested | flat


def _inputs_of(where: str, entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    inputs = entry.get("inputs")
    if inputs is None:
        return None
    names = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidParameter(
            f"the inputs of {where} are {shorten(inputs)}",
            detail="Allowed is the name of a layer or of an input of the network, or a list of such names.",
        )
    return tuple(names)


def _fill_names(given: Sequence[tuple[str | None, str]]) -> list[str]:
    """A name for each layer: the one given, or the kind without its number of dimensions (conv2d: conv1, conv2, …)."""
    taken = {name for name, _ in given if name is not None}
    numbers: Counter[str] = Counter()
    names = []
    for name, kind in given:
        stem = re.sub(r"[123]d$", "", kind)
        while name is None:
            numbers[stem] += 1
            candidate = f"{stem}{numbers[stem]}"
            name = candidate if candidate not in taken else None
        names.append(name)
    return names
