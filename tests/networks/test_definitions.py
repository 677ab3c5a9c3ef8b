"""What users write: the forms that are understood, and the errors for all others."""

from __future__ import annotations

from typing import Any

import pytest

from delc.networks import InputSpec, Network, network_from
from delc.server.errors import DelcError, DuplicateObject, InvalidParameter, LimitExceeded

INPUTS = {"input": InputSpec((16,))}


def test_a_list_of_layers_reads_from_first_to_last() -> None:
    network = Network.parse([{"kind": "linear", "out_features": 8}, {"kind": "relu"}, {"kind": "linear"}])
    assert [(layer.name, layer.inputs) for layer in network] == [
        ("linear1", ("input",)),
        ("relu1", ("linear1",)),
        ("linear2", ("relu1",)),
    ]


def test_a_string_is_a_layer_without_arguments() -> None:
    assert Network.parse(["relu", "flatten"]) == Network.parse([{"kind": "relu"}, {"kind": "flatten"}])


def test_arguments_may_lie_beside_the_kind_or_in_their_own_object() -> None:
    flat = Network.parse([{"kind": "linear", "out_features": 8, "bias": False}])
    assert flat == Network.parse([{"kind": "linear", "arguments": {"out_features": 8, "bias": False}}])
    assert flat == Network.parse([{"kind": "linear", "arguments": {"out_features": 8}, "bias": False}])


def test_an_object_with_layers_is_the_same_as_the_list() -> None:
    assert Network.parse({"layers": ["relu"]}) == Network.parse(["relu"])


def test_a_lone_input_need_not_be_a_list() -> None:
    assert Network.parse([{"kind": "relu", "inputs": "review"}]).layers[0].inputs == ("review",)


def test_names_leave_the_number_of_dimensions_out_and_avoid_names_given() -> None:
    network = Network.parse(
        [
            {"kind": "conv2d", "out_channels": 2, "kernel_size": 3},
            {"kind": "relu", "name": "conv2"},
            {"kind": "conv2d", "out_channels": 2, "kernel_size": 3},
        ]
    )
    assert network.names == ("conv1", "conv2", "conv3")


def test_an_architecture_is_a_name_an_object_or_json_text() -> None:
    plain = network_from("mlp", INPUTS, 3)
    assert network_from('"mlp"', INPUTS, 3) == plain
    assert network_from({"architecture": "mlp", "hidden": [128, 64]}, INPUTS, 3) == plain
    assert network_from({"architecture": "mlp", "arguments": {"hidden": [128, 64]}}, INPUTS, 3) == plain
    assert network_from('{"architecture": "mlp"}', INPUTS, 3) == plain
    assert network_from('[{"kind": "linear"}]', INPUTS, 3) == Network.parse(["linear"])


NONSENSE: list[tuple[Any, str]] = [
    ([], "the network has no layers"),
    ({}, "the network definition is an object without layers"),
    ({"layers": ["relu"], "name": "x"}, 'the network definition is an object with the key "name"'),
    (7, "the network definition is 7"),
    (None, "the network definition is null"),
    ({"layers": {"kind": "relu"}}, 'the network definition is {"kind": "relu"}'),
    ([7], "layer 1 of the network is 7"),
    ([{"name": "x"}], 'layer 1 ("x") has no kind'),
    ([{"type": "relu"}], "layer 1 has no kind"),
    ([{"kind": 3}], "the kind of layer 1 is 3"),
    ([{"kind": "relu", "name": 3}], "the name of layer 1 is 3"),
    ([{"kind": "relu", "name": "input"}], 'a layer is named "input"'),
    ([{"kind": "relu", "name": "training"}], 'a layer is named "training"'),
    ([{"kind": "relu", "name": "a.b"}], '"a.b" cannot be the name of a layer'),
    ([{"kind": "relu", "name": ""}], '"" cannot be the name of a layer'),
    ([{"kind": "relu", "name": " a"}], '" a" cannot be the name of a layer'),
    ([{"kind": "relu", "name": "a" * 64}], f'"{"a" * 64}" cannot be the name of a layer'),
    ([{"kind": "relu", "name": "ü" * 32}], f'"{"ü" * 32}" cannot be the name of a layer'),
    ([{"kind": "relu", "inputs": 3}], "the inputs of layer 1 are 3"),
    ([{"kind": "relu", "inputs": []}], "the inputs of layer 1 are []"),
    ([{"kind": "relu", "arguments": 3}], '"arguments" of layer 1 (relu) is 3'),
    ([{"kind": "relu", "slope": 3}], 'unknown argument "slope" of layer "relu1" (relu)'),
    ([{"kind": "gelu", "approximate": "exact"}], 'argument "approximate" of layer "gelu1" (gelu) is "exact"'),
    (
        [{"kind": "dropout", "arguments": {"p": 0.5}, "p": 0.5}],
        'argument "p" of layer 1 (dropout) is given twice',
    ),
    ([{"kind": "dropout", "p": 1.5}], 'argument "p" of layer "dropout1" (dropout) is 1.5'),
    ([{"kind": "dropout", "p": True}], 'argument "p" of layer "dropout1" (dropout) is true'),
    ([{"kind": "dropout", "p": float("nan")}], 'argument "p" of layer "dropout1" (dropout) is nan'),
    ([{"kind": "dropout", "p": 10**5000}], 'argument "p" of layer "dropout1" (dropout) is a number too long to show'),
    ([{"kind": "dropout", "p": 10**400}], 'argument "p" of layer "dropout1" (dropout) is 1000'),
    ([{"kind": "linear", "out_features": "8"}], 'argument "out_features" of layer "linear1" (linear) is "8"'),
    ([{"kind": "linear", "out_features": 0}], 'argument "out_features" of layer "linear1" (linear) is 0'),
    ([{"kind": "linear", "out_features": 8.5}], 'argument "out_features" of layer "linear1" (linear) is 8.5'),
    ([{"kind": "linear", "out_features": 10**12}], 'argument "out_features" of layer "linear1" (linear) is 10000'),
    ([{"kind": "linear", "bias": 1}], 'argument "bias" of layer "linear1" (linear) is 1'),
    ([{"kind": "max_pool2d", "kernel_size": [2]}], 'argument "kernel_size" of layer "max_pool1" (max_pool2d) is [2]'),
    (
        [{"kind": "conv1d", "kernel_size": 2, "padding": "full"}],
        'argument "padding" of layer "conv1" (conv1d) is "full"',
    ),
]


@pytest.mark.parametrize(("definition", "message"), NONSENSE, ids=[message[:40] for _, message in NONSENSE])
def test_wrong_definition_is_an_error_that_names_the_value(definition: Any, message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        Network.parse(definition)
    assert error.value.message.startswith(message)


def test_error_of_an_argument_says_what_is_allowed_and_what_it_means() -> None:
    with pytest.raises(InvalidParameter) as error:
        Network.parse([{"kind": "conv2d", "name": "first", "kernel_size": [3, 0], "out_channels": 4}])
    assert str(error.value) == (
        'argument "kernel_size" of layer "first" (conv2d) is [3, 0]\n'
        "DETAIL: Allowed is an integer of at least 1, or a list of 2 of them.\n"
        "HINT: kernel_size: size of the window."
    )


def test_error_of_an_unknown_argument_names_the_nearest() -> None:
    with pytest.raises(InvalidParameter) as error:
        Network.parse([{"kind": "linear", "out_feature": 4}])
    assert error.value.hint == 'Did you mean "out_features"?'
    assert error.value.detail == "Known are: bias, in_features, out_features."


def test_type_instead_of_kind_is_pointed_out() -> None:
    with pytest.raises(InvalidParameter) as error:
        Network.parse([{"type": "relu"}])
    assert error.value.hint == 'Write "kind" instead of "type".'


def test_a_name_used_twice_is_an_error() -> None:
    with pytest.raises(DuplicateObject, match='the name "a" is used by more than one layer'):
        Network.parse([{"kind": "relu", "name": "a"}, {"kind": "relu", "name": "a"}])


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(LimitExceeded, match="the network has 10001 layers"):
        Network.parse(["relu"] * 10_001)


def test_a_deeply_nested_definition_is_an_error() -> None:
    with pytest.raises(InvalidParameter):
        network_from("[" * 100_000 + "]" * 100_000, INPUTS, 3)
    value: Any = 3
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidParameter, match="layer 1 of the network is"):
        Network.parse(value)
    with pytest.raises(InvalidParameter, match='argument "shape"'):
        Network.parse([{"kind": "reshape", "shape": value}])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mpl", 'unknown architecture "mpl"'),
        ({"architecture": ["mlp"]}, '"architecture" is ["mlp"]'),
        ({"architecture": "mlp", "arguments": 3}, '"arguments" of architecture mlp is 3'),
        ({"architecture": "mlp", "hiden": [3]}, 'unknown argument "hiden" of architecture mlp'),
        ({"architecture": "mlp", "hidden": 3}, 'argument "hidden" of architecture mlp is 3'),
        ({"architecture": "mlp", "layers": []}, 'unknown argument "layers" of architecture mlp'),
        ("[1, ", "the network definition is not JSON"),
    ],
)
def test_wrong_architecture_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(DelcError) as error:
        network_from(value, INPUTS, 3)
    assert error.value.message.startswith(message)
