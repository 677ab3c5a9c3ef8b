"""Several inputs: by name, and categories that are joined to the numbers by themselves."""

from __future__ import annotations

import pytest
import torch

from delc.networks import InputSpec, Network, build, resolve
from delc.server.errors import InvalidParameter, UndefinedObject

NUMBERS = InputSpec((5,))
CITY = InputSpec((), "int64", 30)
COLOUR = InputSpec((1,), "int64", 4, dimensions=3)
REVIEW = InputSpec((12,), "int64", 100)


def test_categories_are_embedded_and_put_beside_the_numbers() -> None:
    inputs = {"input": NUMBERS, "city": CITY, "colour": COLOUR}
    network = resolve(Network.parse(["linear"]), inputs, 2).network
    assert network.inputs == ("city", "colour", "input")
    assert network.layer("features").inputs == ("input", "embedding1", "flat2")
    assert network.layer("linear1").inputs == ("features",)
    assert network.layer("linear1").arguments["in_features"] == 5 + 15 + 3
    assert network.layer("embedding1").arguments["num_embeddings"] == 30


def test_a_network_of_joined_inputs_runs() -> None:
    inputs = {"input": NUMBERS, "city": CITY, "colour": COLOUR}
    module = build(Network.parse(["linear"]), inputs, 2).module
    rows = {
        "input": torch.randn(7, 5),
        "city": torch.randint(0, 30, (7,)),
        "colour": torch.randint(0, 4, (7, 1)),
    }
    assert module(rows).shape == (7, 2)


def test_a_joined_network_is_resolved_to_itself() -> None:
    inputs = {"input": NUMBERS, "city": CITY, "colour": COLOUR}
    once = resolve(Network.parse(["linear"]), inputs, 2).network
    assert resolve(Network.parse(once.to_json()), inputs, 2).network == once


def test_categories_without_numbers_are_features_too() -> None:
    network = resolve(Network.parse(["linear"]), {"city": CITY}, 2).network
    assert network.layer("features").inputs == ("embedding1",)


def test_names_of_layers_put_in_front_avoid_those_that_are_taken() -> None:
    definition = Network.parse([{"kind": "linear", "name": "features", "out_features": 4}, "linear"])
    network = resolve(definition, {"input": NUMBERS, "embedding1": CITY}, 2).network
    assert network.names == ("embedding1_2", "features_2", "features", "linear1")


def test_inputs_that_the_definition_names_are_left_to_it() -> None:
    definition = Network.parse(
        [
            {"name": "town", "kind": "embedding", "embedding_dim": 2, "inputs": "city"},
            {"name": "all", "kind": "concat", "inputs": ["town", "input"]},
            {"kind": "linear"},
        ]
    )
    network = resolve(definition, {"input": NUMBERS, "city": CITY}, 2).network
    assert network.names == ("town", "all", "linear1")


def test_the_only_input_is_read_as_input_whatever_its_name() -> None:
    definition = Network.parse([{"kind": "embedding", "embedding_dim": 4}, {"kind": "mean", "dim": 1}, "linear"])
    network = resolve(definition, {"review": REVIEW}, 2).network
    assert network.layers[0].inputs == ("review",)


def test_an_unknown_input_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UndefinedObject) as error:
        resolve(Network.parse([{"kind": "relu", "inputs": "inputs"}]), {"input": NUMBERS})
    assert error.value.message == 'unknown input "inputs" of layer "relu1" (relu)'
    assert error.value.hint == 'Did you mean "input"?'


def test_an_input_that_is_not_read_is_an_error() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolve(Network.parse(["linear"]), {"input": NUMBERS, "review": REVIEW}, 2)
    assert error.value.message == 'the network does not read the input "review"'


def test_categories_beside_an_image_are_an_error() -> None:
    with pytest.raises(InvalidParameter, match="categories cannot be joined to an input of shape"):
        resolve(Network.parse(["flatten", "linear"]), {"input": InputSpec((1, 8, 8)), "city": CITY}, 2)


def test_a_layer_with_the_name_of_an_input_is_an_error() -> None:
    definition = Network.parse([{"kind": "linear", "name": "city"}])
    with pytest.raises(InvalidParameter, match=r'layer "city" \(linear\) has the name of an input'):
        resolve(definition, {"input": NUMBERS, "city": CITY}, 2)


@pytest.mark.parametrize("inputs", [{}, {"input": InputSpec((0,))}, {"input": InputSpec((3, 0))}])
def test_no_inputs_and_empty_inputs_are_errors(inputs: dict[str, InputSpec]) -> None:
    with pytest.raises(InvalidParameter):
        resolve(Network.parse(["linear"]), inputs, 2)
