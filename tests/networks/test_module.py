"""Running a network: chains, graphs, activations of a layer."""

from __future__ import annotations

import copy

import pytest
import torch

from delc.networks import InputSpec, Network, NetworkModule, build, network_from
from delc.server.errors import InvalidParameter, UndefinedObject

INPUTS = {"input": InputSpec((6,))}
RESIDUAL = [
    {"name": "first", "kind": "linear", "out_features": 6},
    {"name": "second", "kind": "linear", "out_features": 6},
    {"name": "sum", "kind": "add", "inputs": ["second", "first", "input"]},
    {"name": "output", "kind": "linear"},
]


def residual() -> NetworkModule:
    return build(Network.parse(RESIDUAL), INPUTS, 3).module


def test_a_chain_gives_what_its_layers_give_one_after_the_other() -> None:
    module = build(Network.parse([{"kind": "linear", "out_features": 5}, "relu", "linear"]), INPUTS, 3).module
    rows = torch.randn(4, 6)
    layers = dict(module.named_children())
    expected = layers["linear2"](torch.relu(layers["linear1"](rows)))
    assert torch.equal(module(rows), expected)
    assert torch.equal(module({"input": rows}), expected)


def test_a_graph_gives_what_its_layers_give() -> None:
    module, rows = residual(), torch.randn(4, 6)
    layers = dict(module.named_children())
    first = layers["first"](rows)
    expected = layers["output"](layers["second"](first) + first + rows)
    assert torch.equal(module(rows), expected)


def test_activations_are_those_of_the_layer() -> None:
    module, rows = residual(), torch.randn(4, 6)
    first = dict(module.named_children())["first"](rows)
    assert torch.equal(module.activations(rows, "first"), first)
    assert torch.equal(module.activations({"input": rows}, "output"), module(rows))


def test_activations_of_an_unknown_layer_are_an_error() -> None:
    with pytest.raises(UndefinedObject, match='unknown layer "sun"'):
        residual().activations(torch.randn(4, 6), "sun")


def test_only_the_layers_that_are_needed_run() -> None:
    inputs = {"input": InputSpec((6,)), "review": InputSpec((4,), "int64", 10)}
    definition = [
        {"name": "numbers", "kind": "linear", "out_features": 4},
        {"name": "words", "kind": "embedding", "embedding_dim": 4, "inputs": "review"},
        {"name": "pooled", "kind": "mean", "dim": 1},
        {"name": "both", "kind": "concat", "inputs": ["numbers", "pooled"]},
        {"name": "output", "kind": "linear"},
    ]
    module = build(Network.parse(definition), inputs, 2).module
    assert module.activations({"input": torch.randn(3, 6)}, "numbers").shape == (3, 4)


def test_a_missing_input_is_an_error() -> None:
    with pytest.raises(InvalidParameter) as error:
        residual()({"inputs": torch.randn(4, 6)})
    assert error.value.message == 'the input "input" of the network is missing'


def test_one_tensor_for_several_inputs_is_an_error() -> None:
    inputs = {"input": InputSpec((6,)), "city": InputSpec((), "int64", 10)}
    module = build(Network.parse(["linear"]), inputs, 2).module
    with pytest.raises(InvalidParameter, match="the network has 2 inputs, but one tensor was given"):
        module(torch.randn(4, 6))


@pytest.mark.parametrize(
    ("definition", "layer"),
    [
        ([{"kind": "linear", "out_features": 4}, "relu", "linear"], "relu1"),
        ([{"kind": "linear", "out_features": 4}, "relu", "dropout", "linear", "log_softmax"], "dropout1"),
        (["linear"], "linear1"),
        (RESIDUAL, "sum"),
    ],
)
def test_a_row_is_embedded_by_what_the_last_linear_layer_reads(definition: list[object], layer: str) -> None:
    assert build(Network.parse(definition), INPUTS, 3).module.embedding_layer() == layer


@pytest.mark.parametrize("name", ["forward", "half", "type", "network", "__class__", "_plans", "eval"])
def test_any_name_will_do_for_a_layer(name: str) -> None:
    module = build(Network.parse([{"kind": "linear", "name": name}]), INPUTS, 3).module
    assert list(module.state_dict()) == [f"{name}.weight", f"{name}.bias"]
    assert module.eval()(torch.randn(2, 6)).shape == (2, 3)


def test_gradients_reach_every_parameter() -> None:
    module = residual()
    module(torch.randn(4, 6)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_a_copy_is_independent_of_the_original() -> None:
    module, rows = residual(), torch.randn(4, 6)
    duplicate = copy.deepcopy(module)
    assert torch.equal(duplicate(rows), module(rows))
    with torch.no_grad():
        for parameter in duplicate.parameters():
            parameter.zero_()
    assert not torch.equal(duplicate(rows), module(rows))
    assert duplicate(rows).abs().sum() == 0


@pytest.mark.parametrize("architecture_name", ["mlp", "resnet_small"])
def test_without_hooks_the_outputs_are_the_same(architecture_name: str) -> None:
    inputs = {"input": InputSpec((1, 8, 8) if architecture_name == "resnet_small" else (64,))}
    built = build(network_from(architecture_name, inputs, 3), inputs, 3)
    module = built.module.eval()
    rows = torch.rand(1, *inputs["input"].shape)
    assert torch.equal(module.without_hooks()({"input": rows}), module(rows))
