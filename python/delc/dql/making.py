"""Slice and construct: new versions of models, with the weights of layers that survive."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

from delc.dql import surgery
from delc.dql.carrying import Carried, carry
from delc.dql.problems import Place, QueryError, problem
from delc.dql.readers import readers_like
from delc.dql.selecting import is_named, matching, nodes
from delc.dql.selectors import fill, read_selector
from delc.dql.sources import Made, range_of
from delc.dql.surgery import NewLayer
from delc.dql.syntax import Change, Construct, Literal, Node, Slice
from delc.dql.templates import Wanted, layer_of, read_template
from delc.exchange.interface import Description, array_of_shape, features_of_inputs, target_of
from delc.features import FittedFeatures, FittedTarget
from delc.features.fitted_target import target_from_json
from delc.log.runs import Run
from delc.models import deriving, names, versions
from delc.models.names import LONGEST_NAME
from delc.models.parents import Parent
from delc.models.versions import ModelVersion
from delc.networks import Network, layer_giving_outputs, resolve
from delc.networks.graph import INPUT, RESERVED
from delc.networks.joining import free_name
from delc.networks.kinds import TOKENS, Value
from delc.networks.resolution import ResolvedNetwork
from delc.server import interrupts, progress, queries
from delc.server.errors import DelcError, InvalidParameter
from delc.server.inputs import InputDtype, InputSpec
from delc.server.memory import MemoryWatch

SLICED, CONSTRUCTED = "sliced", "constructed"


@dataclass(frozen=True)
class Draft:
    """A network that a query makes of a version, checked and not yet stored. ``put_in`` are layers that take no weights
    from the version, whatever its layers are called.
    """

    source: ModelVersion
    name: str
    relation: str
    network: Network
    features: FittedFeatures
    target: FittedTarget
    changes: tuple[str, ...]
    keeps_data: bool
    put_in: frozenset[str] = frozenset()

    @property
    def outputs(self) -> int | None:
        """How many numbers it gives per row."""
        return self.target.outputs


@dataclass(frozen=True)
class NewModel:
    """A version that was made."""

    version_id: int
    title: str
    source: str
    relation: str
    detail: str

    def in_words(self) -> str:
        """What it is, for when it is no longer there."""
        return f"{self.title}, which was not kept ({self.relation} from {self.source}: {self.detail})"


def drafts(query: Slice | Construct, made: Made, chain: tuple[str, ...]) -> list[Draft]:
    """The networks that a query makes, one for each version that it matches."""
    source = range_of(query.source, chain)
    mutated = [query.input, query.output] if isinstance(query, Slice) else [change.node for change in query.changes]
    found = matching(source.variable, source, query.where, made, mutated)
    result = []
    for version_id in found:
        interrupts.check()
        version = versions.resolve(title_of(version_id))
        draft = (
            _sliced(query, source.variable, version)
            if isinstance(query, Slice)
            else _constructed(query, source.variable, version)
        )
        if draft is not None:
            result.append(draft)
    return result


def store(run: Run, draft: Draft, text: str, seed: int, watch: MemoryWatch) -> NewModel:
    """Makes the version; ``text`` is the query, which its lineage tells."""
    name = deriving.check_new_name(draft.name, "dql")
    run.add_input(model_version_id=draft.source.id)
    try:
        carried = carry(draft.network, draft.source, draft.features, draft.outputs, seed, watch, renewed=draft.put_in)
    except DelcError as error:
        raise type(error)(f"{draft.source}: {error.message}", detail=error.detail, hint=error.hint) from None
    detail = describe(draft, carried)
    version_id = versions.reserve_id()
    deriving.store_state(version_id, carried.built, carried.built.module.state_dict())
    meaning = replace(
        draft.source,
        task=draft.target.task,
        features=draft.features.to_json(),
        target=draft.target.to_json(),
    )
    title = deriving.create(
        run,
        name,
        version_id,
        meaning,
        [Parent(draft.source.id, draft.relation, text)],
        detail,
        network=carried.built.network,
        dataset_version_id=draft.source.dataset_version_id if draft.keeps_data else None,
    )
    progress.notice(f"{title}: {detail}")
    return NewModel(version_id, title, str(draft.source), draft.relation, detail)


def describe(draft: Draft, carried: Carried) -> str:
    """What is other than in the source, and where the weights come from."""
    parts = list(draft.changes)
    if carried.fresh:
        parts.append(f"re-initialised: {', '.join(carried.fresh)}")
    if carried.kept:
        parts.append(f"weights kept: {', '.join(carried.kept)}")
    return "; ".join(parts)


def new_name(pattern: Literal | None, variable: str, source: ModelVersion) -> str:
    """The name of what is made of a version: the pattern with ``$name`` filled in, by default ``$name-variable``."""
    wanted = f"$name-{variable}" if pattern is None else str(pattern.value)
    values = {"$name": source.name, "$version": str(source.number)}
    filled = re.sub(r"\$(?:name|version)", lambda found: values[found.group()], wanted)
    if pattern is None and len(filled.encode()) > LONGEST_NAME:
        room = LONGEST_NAME - len(f"-{variable}".encode())
        filled = source.name.encode()[:room].decode("utf-8", "ignore").rstrip() + f"-{variable}"
    try:
        return names.parse(filled).model if filled == names.parse(filled).model else _refuse_name(filled)
    except DelcError as error:
        if pattern is None:
            raise
        raise problem(pattern.place, error.message, hint=error.detail) from None


def _refuse_name(name: str) -> str:
    raise InvalidParameter(f'"{name}" names a version, but a new one is made', detail="Name the model alone.")


def title_of(version_id: int) -> str:
    """What the version of that id is called."""
    with queries.as_owner():
        title: str = queries.value(
            "SELECT model.name || '@' || version.number FROM delc.model_versions AS version"
            " JOIN delc.models AS model ON model.id = version.model_id WHERE version.id = $1",
            version_id,
        )
    return title


def _at(place: Place, version: ModelVersion, error: DelcError) -> QueryError:
    """An error of the network as one of the query, with the place of the change that led to it."""
    if isinstance(error, QueryError):
        return error
    hint = " ".join(part for part in (error.detail, error.hint) if part) or None
    return problem(place, f"{version}: {error.message}", hint=hint)


# Slices


def _sliced(query: Slice, variable: str, version: ModelVersion) -> Draft | None:
    starts = [name for name, _ in nodes(variable, version.id, query.input, query.where)]
    ends = [name for name, _ in nodes(variable, version.id, query.output, query.where)]
    if not starts or not ends:
        missing = query.output if starts else query.input
        progress.notice(f"{version} has no layer {missing}, so nothing is sliced from it")
        return None
    if len(ends) > 1:
        raise problem(
            query.output.place,
            f"{query.output} stands for {len(ends)} layers of {version}, but a model has one output",
            hint=f"Name one of them: {', '.join(ends[:8])}.",
        )
    network = Network.parse(version.network)
    try:
        part = surgery.cut(network, starts, ends[0])
        return _slice_draft(query, version, network, part, ends[0])
    except DelcError as error:
        raise _at(query.input.place, version, error) from None


def _slice_draft(query: Slice, version: ModelVersion, network: Network, part: surgery.Cut, end: str) -> Draft:
    features = FittedFeatures.from_json(version.features)
    known = resolve(network, features.input_specs())
    changes = [f"without {', '.join(part.dropped)}" if part.dropped else "the whole network"]
    if part.arrays:
        features = _features_of_arrays(known, part)
        changes.append(_arrays_in_words(known, part))
    target = target_from_json(version.target)
    sliced = part.network
    if not _gives_the_outputs(network, end):
        shape = known.values[end].shape
        if len(shape) != 1:
            name = free_name("flatten_output", {*sliced.names, *sliced.inputs, *RESERVED})
            sliced = surgery.insert(sliced, end, NewLayer(name, "flatten", {}))
            changes.append(f"{name} after {end}, because a model gives numbers side by side")
        outputs = resolve(sliced, features.input_specs()).output_shape[0]
        target = target_of(Description(task="regression", target=[f"{end}_{i + 1}" for i in range(outputs)]), outputs)
        changes.append(f"its outputs are the {outputs} numbers of {end}")
    resolve(sliced, features.input_specs(), target.outputs)
    name = new_name(query.name, query.variable, version)
    keeps_data = not part.arrays and _gives_the_outputs(network, end)
    return Draft(version, name, SLICED, sliced, features, target, tuple(changes), keeps_data)


def _features_of_arrays(known: ResolvedNetwork, part: surgery.Cut) -> FittedFeatures:
    """What arrives where the part begins, as arrays that go in as they are."""
    arriving = {name: known.values[what] for name, what in part.reads.items()}
    if list(part.reads) == [INPUT]:
        return array_of_shape(INPUT, arriving[INPUT].shape)
    return features_of_inputs(
        {name: InputSpec(value.shape, _dtype(value), value.categories) for name, value in arriving.items()}
    )


def _dtype(value: Value) -> InputDtype:
    return "int64" if value.dtype == TOKENS else "float32"


def _arrays_in_words(known: ResolvedNetwork, part: surgery.Cut) -> str:
    shapes = [f"{what}, {list(known.values[what].shape)}" for what in part.arrays]
    if not part.inputs and len(shapes) == 1:
        return f"its input is the output of {shapes[0]}"
    own = [f"the network's {name}" for name in part.inputs]
    return f"its inputs are {', '.join([*own, *(f'the output of {shape}' for shape in shapes)])}"


def _gives_the_outputs(network: Network, end: str) -> bool:
    """Whether the layer still gives what the target means: the last one, or one with pointwise layers after it."""
    head = layer_giving_outputs(network)
    return end == network.output.name or (head is not None and head.name in network.ancestors(end))


# Construct


def _constructed(query: Construct, variable: str, version: ModelVersion) -> Draft | None:
    network = Network.parse(version.network)
    features = FittedFeatures.from_json(version.features)
    changes: list[str] = []
    put_in: set[str] = set()
    for change in query.changes:
        chosen = dict(nodes(variable, version.id, change.node.start(), query.where))
        if not is_named(change.node, query.where):
            chosen |= _captured(change.node, network, put_in)
        found = _walked(network, change.node.steps, chosen)
        if not found:
            progress.notice(f"{version} has no layer {change.node}, so nothing is changed there")
        for node, captured in found.items():
            try:
                before, (network, done) = network, _change(version, network, change, node, captured, features)
            except DelcError as error:
                raise _at(change.place, version, error) from None
            changes += done
            put_in |= _new_names(change, before, network, node)
    if not changes:
        progress.notice(f"no layer of {version} is one that mutate names, so nothing is made of it")
        return None
    target = target_from_json(version.target)
    try:
        resolve(network, features.input_specs(), target.outputs)
    except DelcError as error:
        raise _at(query.changes[0].place, version, error) from None
    name = new_name(query.name, query.variable, version)
    return Draft(version, name, CONSTRUCTED, network, features, target, tuple(changes), True, frozenset(put_in))


def _captured(node: Node, network: Network, names: Collection[str]) -> dict[str, dict[int, str]]:
    """Layers, of those named, that a node's selector stands for, with what it captures."""
    selector = read_selector(node.selector, node.selector_place)
    found = {name: selector.match(name) for name in network.names if name in names}
    return {name: captured for name, captured in found.items() if captured is not None}


def _walked(network: Network, steps: Sequence[str], starts: dict[str, dict[int, str]]) -> dict[str, dict[int, str]]:
    """The layers that steps along the edges lead to from layers that are still there, in the order of the network."""
    result: dict[str, dict[int, str]] = {}
    for start in (name for name in network.names if name in starts):
        reached = [start]
        for step in steps:
            ways = [network.consumers(name) if step == "next" else network.layer(name).inputs for name in reached]
            reached = [name for way in ways for name in way if name in network]
        for name in sorted(set(reached), key=network.names.index):
            result.setdefault(name, starts[start])
    return result


def _new_names(change: Change, before: Network, after: Network, node: str) -> set[str]:
    """The layers that a change has put in."""
    names = set(after.names) - set(before.names)
    return {*names, node} if change.action == "replace" and node in after else names


def _change(
    version: ModelVersion,
    network: Network,
    change: Change,
    node: str,
    captured: dict[int, str],
    features: FittedFeatures,
) -> tuple[Network, list[str]]:
    """The network with one change at one node, and the change in words."""
    if node not in network:
        return network, []
    if change.action == "delete":
        return _delete(network, change, node, captured, features)
    assert change.template is not None
    wanted = read_template(change.template)
    layer = _new_layer(network, change, node, wanted, captured, features)
    words = f"{layer.name} ({layer.kind})" + (f" with {', '.join(layer.others)}" if layer.others else "")
    try:
        if change.action == "insert":
            return surgery.insert(network, node, layer), [f"{words} after {node}"]
        return surgery.replace(network, node, layer), [f"{words} instead of {node}"]
    except DelcError as error:
        if wanted.others is None or layer.name in network:
            raise
        raise _at(wanted.others.place, version, error) from None


def _delete(
    network: Network, change: Change, node: str, captured: dict[int, str], features: FittedFeatures
) -> tuple[Network, list[str]]:
    if change.template is None:
        return surgery.delete(network, node), [f"without {node}"]
    wanted = _filled(read_template(change.template), captured)
    like = readers_like(network, node, wanted, features.input_specs())
    changes = []
    for reader in network.consumers(node):
        if reader in like and node in network and reader in network:
            cut_off = len(set(network.layer(reader).inputs)) > 1
            before, network = network, surgery.delete_edge(network, node, reader)
            gone = ", ".join(name for name in before.names if name not in network)
            if cut_off:
                so = f", and so without {gone}" if gone else ""
                changes.append(f"without the edge from {node} to {reader}{so}")
            else:
                changes.append(f"without {reader} after {node}")
    return network, changes


def _filled(wanted: Wanted, captured: dict[int, str]) -> Wanted:
    """A template with what the selector has captured in its names."""
    if wanted.name is not None:
        wanted = replace(wanted, name=fill(wanted.name, captured, wanted.template.place))
    if wanted.others is not None:
        place = wanted.others.place
        values = tuple(fill(each, captured, place) for each in wanted.other_inputs())
        wanted = replace(wanted, others=replace(wanted.others, values=values))
    return wanted


def _new_layer(
    network: Network, change: Change, node: str, wanted: Wanted, captured: dict[int, str], features: FittedFeatures
) -> NewLayer:
    assert change.template is not None
    resolved = resolve(network, features.input_specs())
    reads = (node,) if change.action == "insert" else network.layer(node).inputs
    arriving = resolved.values.get(reads[0]) or next(iter(resolved.values.values()))
    kind, arguments = layer_of(wanted, len(arriving.shape), len(reads))
    place = change.template.place if wanted.others is None else wanted.others.place
    others = tuple(fill(each, captured, place) for each in wanted.other_inputs())
    name = node if change.action == "replace" else _free(kind, network)
    if wanted.name is not None:
        name = fill(wanted.name, captured, change.template.place)
    return NewLayer(name, kind, arguments, others)


def _free(kind: str, network: Network) -> str:
    """A name for a layer that says its kind."""
    taken = {*network.names, *network.inputs, *RESERVED}
    return next(name for number in count(1) if (name := f"{kind}{number}") not in taken)
