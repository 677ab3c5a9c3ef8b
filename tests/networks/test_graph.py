"""The graph of layers: its order, what is asked of it, and the graphs that are refused."""

from __future__ import annotations

import copy
import pickle

import pytest

from delc.networks import Layer, Network
from delc.server.errors import InvalidParameter, UndefinedObject


def diamond() -> Network:
    """Two branches that are added."""
    return Network.parse(
        [
            {"name": "stem", "kind": "relu"},
            {"name": "left", "kind": "tanh", "inputs": "stem"},
            {"name": "right", "kind": "sigmoid", "inputs": "stem"},
            {"name": "sum", "kind": "add", "inputs": ["left", "right"]},
        ]
    )


def test_layers_are_put_behind_what_they_read() -> None:
    network = Network.parse(
        [
            {"name": "c", "kind": "relu", "inputs": "b"},
            {"name": "a", "kind": "relu", "inputs": "input"},
            {"name": "b", "kind": "relu", "inputs": "a"},
        ]
    )
    assert network.names == ("a", "b", "c")


def test_an_order_that_works_is_kept() -> None:
    assert diamond().names == ("stem", "left", "right", "sum")


def test_consumers_ancestors_and_outputs() -> None:
    network = diamond()
    assert network.consumers("stem") == ("left", "right")
    assert network.consumers("input") == ("stem",)
    assert network.consumers("sum") == ()
    assert network.ancestors("left") == {"stem", "left"}
    assert network.outputs == ("sum",)
    assert network.output.name == "sum"
    assert network.inputs == ("input",)
    assert "left" in network
    assert len(network) == 4


def test_a_layer_that_reads_another_twice_is_its_consumer_once() -> None:
    network = Network.parse([{"name": "double", "kind": "add", "inputs": ["input", "input"]}])
    assert network.consumers("input") == ("double",)


def test_unknown_layer_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UndefinedObject) as error:
        diamond().layer("lef")
    assert error.value.message == 'unknown layer "lef"'
    assert error.value.hint == 'Did you mean "left"?'


def test_a_cycle_is_an_error_that_names_its_layers() -> None:
    with pytest.raises(InvalidParameter) as error:
        Network.parse(
            [
                {"name": "a", "kind": "add", "inputs": ["input", "c"]},
                {"name": "b", "kind": "relu", "inputs": "a"},
                {"name": "c", "kind": "relu", "inputs": "b"},
            ]
        )
    assert error.value.message == 'the network has a cycle through layer "a"'
    assert error.value.detail == 'Layer "a" reads "c" reads "b" reads "a".'


def test_a_layer_that_reads_itself_is_a_cycle() -> None:
    with pytest.raises(InvalidParameter, match='a cycle through layer "a"'):
        Network.parse([{"name": "a", "kind": "relu", "inputs": "a"}])


def test_layers_that_lead_nowhere_are_named() -> None:
    network = Network.parse(
        [{"kind": "relu"}, {"kind": "tanh", "inputs": "input"}, {"kind": "sigmoid", "inputs": "input"}]
    )
    assert network.outputs == ("relu1", "tanh1", "sigmoid1")
    with pytest.raises(InvalidParameter) as error:
        _ = network.output
    assert error.value.message == 'layers "relu1", "tanh1" of the network lead nowhere'


def test_a_layer_without_inputs_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="reads nothing"):
        Network((Layer("a", "relu", {}, ()),))


def test_a_network_cannot_be_changed() -> None:
    layer = Network.parse([{"kind": "dropout", "p": 0.5}]).layers[0]
    with pytest.raises(AttributeError):
        layer.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        layer.arguments["p"] = 0.1  # type: ignore[index]


def test_a_network_can_be_copied_and_compared() -> None:
    network = diamond()
    assert copy.deepcopy(network) == network
    assert pickle.loads(pickle.dumps(network)) == network  # noqa: S301 - our own bytes
    assert network == diamond()
    assert network != Network(network.layers[:2])
    assert hash(network) == hash(diamond())


def test_a_long_chain_is_no_recursion() -> None:
    network = Network.parse(["relu"] * 10_000)
    assert network.names[-1] == "relu10000"
    assert len(network.ancestors("relu10000")) == 10_000
