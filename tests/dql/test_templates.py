"""Templates: every kind of layer of the network format can be put in, joining ones among them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from delc.dql.conditions_parser import ConditionReader
from delc.dql.reading import Reader
from delc.dql.surgery import NewLayer, insert, replace
from delc.dql.templates import layer_of, read_template
from delc.networks import KINDS, InputSpec, Network, resolve
from delc.networks.kinds import FLOAT, TOKENS, Kind
from support.cluster import Connection
from support.workplace import failure, message

Ask = Callable[..., list[dict[str, Any]]]


def put_in(kind: Kind, others: list[str], reads: int) -> NewLayer:
    """The layer that a template of the kind makes, with the arguments of the manual's example."""
    given = {**kind.example.arguments, **({"with": others} if others else {})}
    arguments = "".join(f", {name} = {json.dumps(value)}" for name, value in given.items())
    wanted = read_template(ConditionReader(Reader(f'{kind.name.upper()}("new"{arguments})')).template())
    name, made = layer_of(wanted, len(kind.example.inputs[0].shape), reads)
    return NewLayer("new", name, made, wanted.other_inputs())


def of_example(kind: Kind) -> tuple[Network, dict[str, InputSpec]]:
    """A network of the kind alone, and its inputs."""
    inputs = {
        f"in{place}": InputSpec(value.shape, "int64" if value.dtype == TOKENS else "float32", value.categories)
        for place, value in enumerate(kind.example.inputs)
    }
    old = {"name": "old", "kind": kind.name, "arguments": kind.example.arguments, "inputs": list(inputs)}
    return Network.parse([old]), inputs


def before(kind: Kind) -> tuple[Network, list[str]]:
    """Layers that give what the kind reads: "first", and the names of the others."""
    numbers, *more = kind.example.inputs
    if any(value.dtype == TOKENS for value in more):
        vectors = {"embedding_dim": numbers.shape[-1], "num_embeddings": 10}
        return Network.parse([{"name": "first", "kind": "embedding", "arguments": vectors, "inputs": ["in1"]}]), ["in1"]
    names = ["first", *(f"side{place}" for place in range(len(more)))]
    layers = [{"name": name, "kind": "identity", "inputs": [f"in{place}"]} for place, name in enumerate(names)]
    return Network.parse(layers), names[1:]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_kind_is_put_in_the_place_of_a_layer(kind: Kind) -> None:
    network, inputs = of_example(kind)
    made = replace(network, "old", put_in(kind, [], len(inputs)))
    assert made.names == ("new",)
    assert resolve(made, inputs).output_shape == resolve(network, inputs).output_shape


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.example.inputs[0].dtype == FLOAT],
                         ids=lambda kind: kind.name)  # fmt: skip
def test_every_kind_that_reads_numbers_is_put_in_after_a_layer(kind: Kind) -> None:
    alone, inputs = of_example(kind)
    network, others = before(kind)
    made = insert(network, "first", put_in(kind, others, 1))
    assert made.layer("new").inputs == ("first", *others)
    needed = {name: spec for name, spec in inputs.items() if name in made.inputs}
    assert resolve(made, needed).output_shape == resolve(alone, inputs).output_shape


@pytest.mark.parametrize("join", ["ADD", "SUBTRACT", "MULTIPLY", "DIVIDE", "CONCAT"])
def test_joining_layers_name_the_others_that_they_read(ask: Ask, work: Connection, join: str) -> None:
    changed = f'm["conv2"].insert = {join}("join", with = "relu1")'
    query = f'construct n from m where m.name = "alexnet_3" mutate {changed}'
    (made,) = ask(query)
    assert made["detail"].startswith(f"join ({join.lower()}) with relu1 after conv2; ")
    edges = "SELECT from_layer FROM delc.layer_edges WHERE version_id = %s AND to_layer = %s ORDER BY position"
    read = [source for (source,) in work.execute(edges, [made["version_id"], "join"])]
    assert read == ["conv2", "relu1"]
    assert work.execute(edges, [made["version_id"], "relu2"]).fetchall() == [("join",)]
    (found,) = ask(f'select m where m["*"] has {join}(with = "relu*")')
    assert found["model"] == made["model"]
    assert ask(f'select m where m["*"] has {join}(with = "pool*")') == []


def test_captures_name_other_inputs_too(ask: Ask) -> None:
    (made,) = ask(
        'construct n from m where m.name = "alexnet_3"'
        ' mutate m["relu[2]($1)"].insert = ADD("sum$1", with = ["conv$1", "relu1"])'
    )
    assert made["detail"].startswith("sum2 (add) with conv2, relu1 after relu2; weights kept: ")


def test_joins_can_be_deleted_by_what_they_read(ask: Ask) -> None:
    made = 'construct n from m where m.name = "alexnet_3" mutate m["relu2"].insert = ADD("sum", with = "conv2")'
    changes = 'q["relu2"].delete = ADD(with = "fc6") and q["fc6"].delete = RELU'
    (other,) = ask(f"construct p from q in ({made}) mutate {changes}")
    assert "sum" not in other["detail"]
    (gone,) = ask(f'construct p from q in ({made}) mutate q["relu2"].delete = ADD(with = "conv2")')
    assert gone["detail"].startswith("without the edge from relu2 to sum, and so without")


@pytest.mark.parametrize(
    ("written", "said", "under"),
    [
        ('ADD("sum", with = "fc6")',
         'alexnet_3@1: "sum" cannot read "fc6", which comes after it: the network would go in a circle', "with"),
        ('ADD("sum", with = "rellu1")', 'alexnet_3@1: unknown layer "rellu1"', "with"),
        ('ADD("sum", with = 3)', "with names the other layers that ADD reads", "with"),
        ('ADD("sum", wih = "relu1")', 'unknown argument of ADD "wih"', "wih"),
        ('RELU("sum", with = "relu1")', "relu reads one layer, and not 2", "with"),
        ("MASKED_MEAN", "masked_mean reads 2 layers", "MASKED"),
        ('ADD("sum", with = "relu$1")', "$1 is not captured by the selector", "with"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_refused_with_their_place(work: Connection, written: str, said: str, under: str) -> None:
    query = f'construct n from m where m.name = "alexnet_3" mutate m["conv2"].insert = {written}'
    found = message(failure(work, "SELECT delc.dql(%s)", query)).removeprefix("delc: ").splitlines()
    assert found[0].startswith(said)
    assert found[2][found[3].index("^") :].startswith(under)


def test_shapes_that_do_not_fit_are_refused(work: Connection) -> None:
    query = 'construct n from m where m.name = "alexnet_2" mutate m["conv2"].insert = ADD("sum", with = "conv1")'
    assert 'layer "sum" (add) cannot take the shape' in message(failure(work, "SELECT delc.dql(%s)", query))
