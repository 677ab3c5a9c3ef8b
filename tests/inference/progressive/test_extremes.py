"""Bounds hold where float32 rounds constants, overflows on the way to a number, or picks another pixel than float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from delc.inference.progressive.methods import Method
from delc.inference.progressive.propagation import Pass, forward
from delc.networks import BuiltNetwork
from delc.networks.kinds import Value
from support.extremes import extreme, outside, wrongly_certified
from support.progressive import boxed_network, network


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 2**40))
def test_bounds_hold_for_numbers_of_every_size(seed: int) -> None:
    assert outside(extreme(seed)) <= 0


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**40), st.sampled_from(list(Method)))
def test_no_certified_label_is_wrong_for_numbers_of_every_size(seed: int, method: Method) -> None:
    assert wrongly_certified(extreme(seed), method)[1] == 0


def linear(name: str, count: int) -> dict[str, Any]:
    return {"kind": "linear", "name": name, "out_features": count}


def rows(*shape: int) -> torch.Tensor:
    """Normal numbers, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def passed(built: BuiltNetwork, inputs: torch.Tensor, bits: int = 16) -> Pass:
    """Bounds; whatever float32 computes lies within those of rows that are certified at all."""
    net = boxed_network(built, bits)
    assert net.missing is None
    state = forward(net, {"input": inputs})
    found, bounds = built.module(inputs).double(), state.output.bounds
    held = ((bounds.low <= found) & (found <= bounds.high)).flatten(1).all(1)
    assert bool(held[state.alive].all())
    return state


@pytest.mark.parametrize("factor", [2, 3, 7, 41, 47, 55, 61])
def test_upsampled_numbers_are_those_that_float32_picks(factor: int) -> None:
    built = network([linear("mixed", 9), {"kind": "upsample", "scale_factor": factor}], Value((2, 9)))
    assert bool(passed(built, rows(20, 2, 9)).alive.all())


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm", "group_norm", "instance_norm1d"])
@pytest.mark.parametrize("size", [1e15, 1e17, 1e19, 2e19, 1e25])
def test_norms_whose_squares_overflow_prove_nothing(kind: str, size: float) -> None:
    arguments = {"num_groups": 2} if kind == "group_norm" else {}
    built = network([linear("mixed", 16), {"kind": kind, "arguments": arguments}], Value((4, 16)))
    state = passed(built, rows(20, 4, 16) * size)
    assert bool(state.alive.any()) == (size < 1e19)


@pytest.mark.parametrize("above", [1e-2, 1e-4, 1e-6, 0.0, -1e-3])
def test_a_variance_near_minus_eps_is_taken_as_it_is(above: float) -> None:
    built = network([linear("mixed", 64), {"kind": "batch_norm1d", "name": "norm", "eps": 0.1}], Value((8,)))
    built.module.state_dict()["norm.running_var"].fill_(-0.1 + above)
    for bits in (16, 24, 32):
        assert not bool(passed(built, rows(20, 8), bits).alive.any()) or above > 0


def test_a_product_of_three_overflows_where_two_of_them_do() -> None:
    layers = [linear("a", 4), {**linear("b", 4), "inputs": ["input"]}, {**linear("c", 4), "inputs": ["input"]}]
    built = network([*layers, {"kind": "multiply", "inputs": ["a", "b", "c"]}], Value((8,)))
    for name, size in (("a", 1e30), ("b", 1e20), ("c", 1e-30)):
        built.module.state_dict()[f"{name}.weight"].mul_(size)
    assert not bool(passed(built, rows(20, 8)).alive.any())


@pytest.mark.parametrize("layer", [
    {"kind": "multiply", "constant": 1e-46}, {"kind": "multiply", "constant": 1e-40},
    {"kind": "divide", "constant": 1e39}, {"kind": "leaky_relu", "negative_slope": 1e-46},
    {"kind": "celu", "alpha": 1e-40}, {"kind": "pad", "pad": [0, 1], "value": 1e-46},
    {"kind": "softplus", "threshold": 200.0},
])  # fmt: skip
def test_constants_that_float32_does_not_hold_have_no_bounds_and_are_named(layer: dict[str, Any]) -> None:
    reason = boxed_network(network([linear("mixed", 8), layer], Value((8,))), 16).missing
    assert reason is not None
    assert layer["kind"] in reason
    assert "bounds are for magnitudes" in reason or "exponential may overflow" in reason


@pytest.mark.parametrize("size", [1e36, 5e37, 1e38])
def test_hardswish_overflows_before_it_divides(size: float) -> None:
    built = network([linear("mixed", 8), {"kind": "hardswish"}], Value((8,)))
    passed(built, rows(50, 8).abs() * size)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("size", [1e18, 1e36, 1e38, 3e38])
def test_gates_do_not_hide_what_overflows_before_them(kind: str, size: float) -> None:
    built = network([{"kind": kind, "name": "tested", "hidden_size": 5, "num_layers": 2}], Value((4, 8)))
    for name, value in built.module.state_dict().items():
        if "_ih_l0" in name:
            value.copy_(rows(*value.shape).clamp(-1, 1) * size)
    state = passed(built, rows(20, 4, 8))
    assert bool(state.alive.any()) == (size < 1e38)


@pytest.mark.parametrize("size", [1e10, 1e19, 1e20, 1e30])
def test_attention_whose_scores_overflow_proves_nothing(size: float) -> None:
    built = network([{"kind": "multihead_attention", "num_heads": 2, "name": "tested"}], Value((3, 8)))
    built.module.state_dict()["tested.in_proj_weight"][:16].mul_(size)
    for bits in (16, 32):
        state = passed(built, rows(20, 3, 8), bits)
        assert not bool(state.alive.any()) or size < 1e19


def test_a_padding_value_is_the_float32_that_torch_makes_of_it() -> None:
    built = network([linear("mixed", 4), {"kind": "pad", "pad": [1, 2], "value": 0.1}], Value((3, 4)))
    assert bool(passed(built, rows(20, 3, 4)).alive.all())
