"""Building: the same seed gives the same bits, and stored parameters come back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from delc.networks import BuiltNetwork, InputSpec, Network, build, load_state, network_from, restore
from delc.server.errors import InvalidParameter

INPUTS = {"input": InputSpec((6,))}
MLP = Network.parse([{"kind": "linear", "out_features": 5}, "relu", "linear"])


def built(seed: int = 0) -> BuiltNetwork:
    return build(MLP, INPUTS, 3, seed)


def test_parameters_are_named_after_their_layers() -> None:
    assert list(built().module.state_dict()) == ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = built(5).module.state_dict(), built(5).module.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(
        built(5).module.state_dict()["linear1.weight"], built(6).module.state_dict()["linear1.weight"]
    )


def test_parameters_are_those_that_plain_torch_initialises() -> None:
    torch.manual_seed(5)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    for ours, theirs in zip(built(5).module.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    built(5)
    assert torch.equal(torch.rand(3), expected)


def test_a_seed_of_more_than_64_bits_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="seed is 9223372036854775808"):
        built(2**63)


@pytest.mark.parametrize(
    ("definition", "spec"),
    [
        ("mlp", InputSpec((6,))),
        ("cnn", InputSpec((8, 8))),
        ("resnet_small", InputSpec((8, 8))),
        ({"architecture": "text_classifier", "encoder": "transformer"}, InputSpec((5,), "int64", 20)),
        ({"architecture": "sequence_classifier", "cell": "lstm"}, InputSpec((5, 2))),
    ],
)
def test_a_network_restored_from_its_parameters_gives_the_same(definition: object, spec: InputSpec) -> None:
    inputs = {"input": spec}
    original = build(network_from(definition, inputs, 3), inputs, 3)
    original.module.eval()
    parsed = Network.parse(original.network.to_json())
    rows = torch.randn(4, *spec.shape) if spec.dtype == "float32" else torch.randint(0, 20, (4, *spec.shape))
    for copied in (False, True):
        again = restore(parsed, inputs, original.module.state_dict(), copy=copied)
        assert torch.equal(again.module(rows), original.module(rows))
        assert not again.module.training
        assert all(not parameter.is_meta for parameter in again.module.parameters())


def test_restoring_shares_memory_unless_a_copy_is_asked_for() -> None:
    state = built().module.state_dict()
    shared = restore(built().network, INPUTS, state).module.state_dict()
    copied = restore(built().network, INPUTS, state, copy=True).module.state_dict()
    assert shared["linear1.weight"].data_ptr() == state["linear1.weight"].data_ptr()
    assert copied["linear1.weight"].data_ptr() != state["linear1.weight"].data_ptr()


def test_restored_parameters_can_be_trained() -> None:
    module = restore(built().network, INPUTS, built().module.state_dict(), copy=True).module
    module(torch.randn(2, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_missing_parameters_are_named() -> None:
    module, state = built().module, dict(built().module.state_dict())
    state["linear_1.weight"] = state.pop("linear1.weight")
    with pytest.raises(InvalidParameter) as error:
        load_state(module, state)
    assert error.value.message == "parameters of the network are missing: linear1.weight"
    assert error.value.detail == "Given but not expected: linear_1.weight."


def test_parameters_too_many_are_named() -> None:
    module, state = built().module, dict(built().module.state_dict())
    state["linear3.weight"] = torch.zeros(1)
    with pytest.raises(InvalidParameter, match=r"parameters are not in the network: linear3\.weight"):
        load_state(module, state)


def test_a_parameter_of_another_shape_is_an_error_and_changes_nothing() -> None:
    module, state = built().module, {name: tensor + 1 for name, tensor in built().module.state_dict().items()}
    before = copy.deepcopy(module.state_dict())
    state["linear2.weight"] = torch.zeros(3, 4)
    with pytest.raises(InvalidParameter) as error:
        load_state(module, state)
    assert error.value.message == 'parameter "linear2.weight" has the shape (3, 4)'
    assert error.value.detail == "The network expects (3, 5)."
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_parameters_of_another_dtype_are_converted() -> None:
    module, state = built().module, {name: tensor.double() for name, tensor in built().module.state_dict().items()}
    for copied in (True, False):
        load_state(module, state, copy=copied)
        assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
