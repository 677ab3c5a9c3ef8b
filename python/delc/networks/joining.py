"""Which tensors a network reads, and how category inputs beside the main input are joined to it.

Features give one tensor "input" for numbers and, for each category that is embedded, an input of its own with one code
per row. A definition that does not name those inputs itself reads them all through "input": embeddings and a concat
called "features" are put in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from delc.networks.arguments import shorten_name
from delc.networks.graph import INPUT, Layer, Network
from delc.networks.kinds import TOKENS, Value, show_shape
from delc.server.errors import InvalidParameter, unknown
from delc.server.inputs import InputSpec

FEATURES = "features"
MOST_DIMENSIONS = 50


def values_of(inputs: Mapping[str, InputSpec]) -> dict[str, Value]:
    """What each input of the network gives; ``InvalidParameter`` for shapes and dtypes that no network reads."""
    if not inputs:
        raise InvalidParameter("the network has no inputs", hint="Choose at least one feature column.")
    for name, spec in inputs.items():
        if any(size < 1 for size in spec.shape):
            raise InvalidParameter(f'input "{name}" has the empty shape {show_shape(spec.shape)}')
        if spec.dtype not in ("float32", TOKENS):
            raise InvalidParameter(f'input "{name}" is of type {spec.dtype}', detail="Allowed are float32 and int64.")
    return {name: Value(tuple(spec.shape), spec.dtype, spec.categories) for name, spec in inputs.items()}


def joined_inputs(inputs: Mapping[str, InputSpec], named: frozenset[str] = frozenset()) -> list[str]:
    """The inputs with one code per row that are joined to "input", because the definition does not name them."""
    return [name for name, spec in inputs.items() if _is_code(spec) and name != INPUT and name not in named]


def main_value(inputs: Mapping[str, InputSpec]) -> Value | None:
    """What a layer finds when it reads "input" and names no other input, or None when nothing goes by that name."""
    codes = joined_inputs(inputs)
    values = values_of(inputs)
    if not codes:
        name = main_name(inputs)
        return values[name] if name is not None else None
    width = sum(dimensions_for(inputs[name]) for name in codes)
    return Value((width + (values[INPUT].elements if INPUT in values else 0),))


def main_name(inputs: Mapping[str, InputSpec]) -> str | None:
    """The input that "input" stands for: the one of that name, or the only one."""
    if INPUT in inputs:
        return INPUT
    return next(iter(inputs)) if len(inputs) == 1 else None


def dimensions_for(spec: InputSpec) -> int:
    """The length of a category's embedding: as told, or half the number of categories, at most 50."""
    return spec.dimensions or min(MOST_DIMENSIONS, ((spec.categories or 2) + 1) // 2)


def join(network: Network, inputs: Mapping[str, InputSpec]) -> Network:
    """The network reading inputs by their own names, with category inputs embedded and joined where it names none.

    ``UndefinedObject`` for a layer that reads what is neither a layer nor an input; ``InvalidParameter`` for a layer
    that has the name of an input, an input that nothing reads, or categories beside an "input" that is not flat.
    """
    values_of(inputs)
    _check_names(network, inputs)
    codes = joined_inputs(inputs, frozenset(network.inputs))
    front = _front(network, inputs, codes) if codes and INPUT in network.inputs else []
    standing_for_input = front[-1].name if front else main_name(inputs)
    layers = [_reading(layer, standing_for_input) for layer in network] if standing_for_input else list(network)
    joined = Network((*front, *layers)) if front or standing_for_input != INPUT else network
    _check_inputs(joined, inputs)
    return joined


def free_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, with a number behind it where that name is taken; the name returned is taken from then on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _is_code(spec: InputSpec) -> bool:
    return spec.dtype == TOKENS and spec.shape in ((), (1,))


def _reading(layer: Layer, main: str) -> Layer:
    if INPUT not in layer.inputs:
        return layer
    return replace(layer, inputs=tuple(main if source == INPUT else source for source in layer.inputs))


def _front(network: Network, inputs: Mapping[str, InputSpec], codes: list[str]) -> list[Layer]:
    """Embeddings, flattened, and the concat that puts them beside the numbers."""
    taken = {*network.names, *inputs}
    front = []
    sources = [INPUT] if INPUT in inputs else []
    if sources and len(inputs[INPUT].shape) != 1:
        raise InvalidParameter(
            f"categories cannot be joined to an input of shape {show_shape(inputs[INPUT].shape)}",
            detail=f"The categories {', '.join(codes)} are inputs of their own and no layer names them.",
            hint='Name them in a layer\'s "inputs" (an embedding first), or leave these columns out.',
        )
    for number, code in enumerate(codes, start=1):
        name = free_name(f"embedding{number}", taken)
        front.append(Layer(name, "embedding", {"embedding_dim": dimensions_for(inputs[code])}, (code,)))
        if inputs[code].shape:
            front.append(Layer(free_name(f"flat{number}", taken), "flatten", {}, (name,)))
        sources.append(front[-1].name)
    return [*front, Layer(free_name(FEATURES, taken), "concat", {}, tuple(sources))]


def _check_names(network: Network, inputs: Mapping[str, InputSpec]) -> None:
    for name in inputs:
        if name in network:
            raise InvalidParameter(f"{network.layer(name)} has the name of an input of the network", hint="Rename it.")


def _check_inputs(network: Network, inputs: Mapping[str, InputSpec]) -> None:
    for layer in network:
        for source in layer.inputs:
            if source not in network and source not in inputs:
                known = [*inputs, *network.names]
                raise unknown("input", shorten_name(source), known, where=f"of {layer}")
    unread = [name for name in inputs if name not in network.inputs]
    if unread:
        raise InvalidParameter(
            f'the network does not read the input "{unread[0]}"',
            detail=f"Its inputs are {', '.join(inputs)}.",
            hint='Name it in the "inputs" of a layer, or leave that column out of the features.',
        )
