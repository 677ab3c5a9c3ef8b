"""A model that was made elsewhere becomes a version: checked against its network, stored piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from delc.exchange.chunks import Chunk
from delc.exchange.interface import Description, features_of, features_of_inputs, target_of
from delc.exchange.naming import by_any_name
from delc.exchange.outputs import without_final_activation
from delc.features import FittedFeatures, FittedTarget
from delc.log.runs import Run, running
from delc.models import names, parameters, parents, versions
from delc.models.ownership import require_owner
from delc.networks import Network, ResolvedNetwork, network_from, resolve
from delc.networks.kinds import find_kind
from delc.networks.resolution import make_module
from delc.server import interrupts, progress, queries
from delc.server.errors import Conflict, InvalidData, InvalidParameter, UndefinedObject, nearest
from delc.server.inputs import InputSpec
from delc.server.memory import MemoryWatch

MOST_LISTED = 8

IMPORTED = "imported"
"""How a version that was changed elsewhere and came back is related to the one that it is based on."""


@dataclass(frozen=True)
class OpenSnapshot:
    """A snapshot whose parameters are stored and whose version is still to be made."""

    id: int
    version_id: int


@dataclass(frozen=True)
class Incoming:
    """What a file or a query holds: parameters, and where it says so the network, its inputs and documents.

    ``snapshot``: where the parameters lie already, when they came by COPY.
    """

    chunks: Iterable[Chunk]
    network: Network | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    documents: Mapping[str, object] = field(default_factory=dict)
    snapshot: OpenSnapshot | None = None


@dataclass(frozen=True)
class Expected:
    """A parameter of the network."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    learnable: bool


def import_model(operation: str, model: str, description: Description, read: Callable[[MemoryWatch], Incoming]) -> str:
    """Stores what ``read`` gives as a new version of ``model``; returns its name. Logged as a run of ``operation``."""
    arguments = {"model": model, **description.arguments()}
    with running(operation, subject=str(model), arguments=arguments) as run:
        name = names.parse(model)
        if not name.is_whole:
            raise InvalidParameter(
                f'"{model}" names a version, but importing makes a new one', hint=f'Import into "{name.model}".'
            )
        require_owner(name.model)
        base = _base(name.model, description.based_on)
        if base is not None:
            versions.hold([base])
        progress.report("reading")
        incoming = read(MemoryWatch.begin())
        return _store(run, name.model, description, base, incoming)


def _base(model: str, based_on: str | None) -> versions.ModelVersion | None:
    """The version that is said, or the model's own where it has one."""
    if based_on is not None:
        return versions.resolve(based_on)
    try:
        return versions.resolve(model)
    except UndefinedObject:
        return None


def _store(
    run: Run, model: str, description: Description, base: versions.ModelVersion | None, incoming: Incoming
) -> str:
    features = _features(description, base, incoming)
    resolved, target = _network(description, base, incoming, features)
    expected = parameters_of(resolved)
    progress.report("storing parameters")
    snapshot = incoming.snapshot or open_snapshot()
    version_id = snapshot.version_id
    for name, chunk in _checked(expected, incoming.chunks):
        interrupts.check()
        _put(snapshot, name, chunk, expected[name].learnable)
    number = versions.create(
        model,
        run.username,
        versions.NewVersion(
            id=version_id,
            run_id=run.id,
            dataset_version_id=None,
            task=target.task,
            network=resolved.network.to_json(),
            features=features.to_json(),
            target=target.to_json(),
            options={},
            layers=list(resolved.layers),
            parameters=resolved.parameters,
            message=description.message,
        ),
    )
    if base is not None:
        if base.id > version_id:
            raise Conflict(
                f'"{base}" was made after this import began, so it cannot be what the import is based on',
                hint="Another session was faster: try again.",
            )
        run.add_input(model_version_id=base.id)
        parents.add_parents(version_id, [parents.parent(base, IMPORTED, description.message)])
    run.add_output(model_version_id=version_id)
    return f"{model}@{number}"


def open_snapshot() -> OpenSnapshot:
    """A snapshot without parameters, of a version to come."""
    version_id = versions.reserve_id()
    return OpenSnapshot(parameters.create_snapshot(version_id, epoch=None, is_latest=True), version_id)


def _put(snapshot: OpenSnapshot, name: str, chunk: Chunk, learnable: bool) -> None:
    """Stores a chunk under the network's name; one that is stored gets that name."""
    if chunk.value is not None:
        parameters.add_chunk(snapshot.id, name, chunk.number, chunk.shape, learnable, chunk.value)
    elif name != chunk.name or not learnable:
        number = queries.typed(chunk.number, "integer")
        with queries.as_owner():
            queries.execute(_RENAME, snapshot.id, chunk.name, number, name, learnable)


def _features(description: Description, base: versions.ModelVersion | None, incoming: Incoming) -> FittedFeatures:
    if description.says_inputs:
        return features_of(description)
    if "features" in incoming.documents and description.based_on is None:
        return FittedFeatures.from_json(incoming.documents["features"])
    if base is not None:
        return FittedFeatures.from_json(base.features)
    if incoming.inputs:
        return features_of_inputs(incoming.inputs)
    return features_of(description)


def _network(
    description: Description, base: versions.ModelVersion | None, incoming: Incoming, features: FittedFeatures
) -> tuple[ResolvedNetwork, FittedTarget]:
    """The network with all sizes, and what its outputs mean."""
    specs = features.input_specs()
    network = _definition(description, base, incoming, specs)
    outputs = len(description.labels) if description.labels is not None else None
    resolved = resolve(_renamed_input(network, incoming.inputs, specs), specs, outputs)
    if len(resolved.output_shape) != 1:
        resolve(resolved.network, specs, outputs or 1)  # raises, and says what layers to add
    target = _target(description, base, incoming, resolved.output_shape[0])
    adapted = without_final_activation(resolved.network, target.task)
    return (resolved if adapted is resolved.network else resolve(adapted, specs)), target


def _definition(
    description: Description,
    base: versions.ModelVersion | None,
    incoming: Incoming,
    specs: Mapping[str, InputSpec],
) -> Network:
    if description.network is not None:
        return network_from(description.network, specs, len(description.labels or ()) or 1)
    if incoming.network is not None:
        return incoming.network
    if "network" in incoming.documents and description.based_on is None:
        return Network.parse(incoming.documents["network"])
    if base is not None:
        return Network.parse(base.network)
    raise InvalidParameter(
        "nothing says what network the parameters belong to",
        hint="Give network: its layers as JSON or an architecture's name (docs/layers.md); or based_on: a version with"
        " the same network.",
    )


def _renamed_input(network: Network, told: Mapping[str, InputSpec], specs: Mapping[str, InputSpec]) -> Network:
    """A file's only input goes by the name that the features give it."""
    if len(told) != 1 or len(specs) != 1 or next(iter(told)) == next(iter(specs)):
        return network
    old, new = next(iter(told)), next(iter(specs))
    layers = [layer.to_json() for layer in network]
    for layer in layers:
        layer["inputs"] = [new if source == old else source for source in layer["inputs"]]
    return Network.parse(layers)


def _target(
    description: Description, base: versions.ModelVersion | None, incoming: Incoming, outputs: int
) -> FittedTarget:
    from delc.features import target_from_json

    told = description.labels is not None or description.task is not None or description.target is not None
    document = incoming.documents.get("target") if description.based_on is None else None
    for known in (document, base.target if base is not None else None):
        if known is not None and not told:
            target = target_from_json(known)
            if target.outputs == outputs:
                return target
    return target_of(description, outputs)


def parameters_of(resolved: ResolvedNetwork) -> dict[str, Expected]:
    """The parameters and buffers that the network stores, by name."""
    expected: dict[str, Expected] = {}
    for layer in resolved.network:
        module = make_module(layer, find_kind(layer.kind), dict(layer.arguments), "meta")
        learnable = {name for name, _ in module.named_parameters()}
        for name, tensor in module.state_dict().items():
            expected[f"{layer.name}.{name}"] = Expected(tuple(tensor.shape), tensor.dtype, name in learnable)
    return expected


def _checked(expected: Mapping[str, Expected], chunks: Iterable[Chunk]) -> Iterator[tuple[str, Chunk]]:
    """The chunks with the network's names; an error for any that does not fit, and for those that are missing."""
    aliases = by_any_name(expected)
    done: dict[str, int] = {}
    for chunk in chunks:
        name = aliases.get(chunk.name)
        if name is None:
            raise _unexpected(chunk.name, expected)
        _check_fit(chunk, expected[name])
        _check_order(chunk, done.get(name))
        done[name] = done.get(name, 0) + chunk.elements
        yield name, chunk
    missing = [name for name in expected if name not in done]
    for name in list(missing):
        if name.endswith("num_batches_tracked"):  # a count that other frameworks do not keep
            missing.remove(name)
            yield name, Chunk(name, 0, (), "int64", (), torch.zeros((), dtype=torch.int64))
            done[name] = 1
    if missing:
        raise InvalidData(f"parameters of the network are missing: {_listed(missing)}")
    for name, elements in done.items():
        if elements != math.prod(expected[name].shape):
            raise InvalidData(
                f'parameter "{name}" has {elements} of its {math.prod(expected[name].shape)} numbers',
                hint="A chunk of it is missing or was cut off.",
            )


def _check_fit(chunk: Chunk, expected: Expected) -> None:
    if chunk.shape != expected.shape:
        raise InvalidData(
            f'parameter "{chunk.name}" has the shape {chunk.shape}', detail=f"The network expects {expected.shape}."
        )
    floating = chunk.dtype in ("float64", "float32", "float16", "bfloat16")
    if floating != expected.dtype.is_floating_point:
        raise InvalidData(
            f'parameter "{chunk.name}" is of dtype {chunk.dtype}',
            detail=f"The network expects {str(expected.dtype).removeprefix('torch.')}.",
        )
    if chunk.number == 0 and chunk.piece == chunk.shape:
        return
    if len(chunk.piece) != 1 or chunk.elements == 0:
        raise InvalidData(
            f'chunk {chunk.number} of parameter "{chunk.name}" has the shape {chunk.piece}',
            detail="A chunk is flat: numbers of the whole in row-major order.",
        )


def _check_order(chunk: Chunk, before: int | None) -> None:
    """Chunks of a parameter come one after another, numbered from 0."""
    if (chunk.number == 0) != (before is None):
        raise InvalidData(
            f'parameter "{chunk.name}" comes twice, or its chunk {chunk.number} out of order',
            hint="Order the rows by name and chunk; chunks count from 0.",
        )


def _unexpected(name: str, expected: Mapping[str, Expected]) -> InvalidData:
    match = nearest(name, expected)
    return InvalidData(
        f'parameter "{name[:200]}" is not in the network',
        detail=f"It has: {_listed(list(expected))}." if expected else "It has no parameters.",
        hint=f'Is it "{match}"? Name layers as the parameters call them.' if match else None,
    )


def _listed(names_: list[str]) -> str:
    left = len(names_) - MOST_LISTED
    return ", ".join(names_[:MOST_LISTED]) + (f" and {left} more" if left > 0 else "")


_RENAME = """
    UPDATE delc.snapshot_parameters SET name = $4, learnable = $5 WHERE snapshot_id = $1 AND name = $2 AND chunk = $3
"""
