"""Traces go in portions that end often enough for a cancel, or the end of time, to be noticed."""

from __future__ import annotations

import pytest
import torch

from delc.inference.progressive import costs, methods, relaxation
from delc.inference.progressive.decisions import order_decision
from delc.inference.progressive.methods import Method
from delc.inference.progressive.propagation import forward
from delc.networks.kinds import Value
from support.progressive import boxed_network, network

WIDTH = 512


def test_a_portion_takes_no_more_operations_in_a_layer_than_allowed() -> None:
    built = network([{"kind": "linear", "out_features": WIDTH}, {"kind": "relu"}], Value((WIDTH,)))
    state = forward(boxed_network(built, 16), {"input": torch.zeros(1, WIDTH)}, centres=True)
    lines = relaxation.lines_at_once(state)
    assert 1 <= lines <= costs.PORTION_FLOPS / (2 * WIDTH * WIDTH)
    assert lines * WIDTH * 8 <= relaxation.LINES_BYTES


def test_a_convolution_counts_each_weight_wherever_it_is_used() -> None:
    layers = [{"kind": "conv2d", "out_channels": 64, "kernel_size": 3, "padding": 1}, {"kind": "flatten"}]
    built = network(layers, Value((64, 32, 32)))
    state = forward(boxed_network(built, 16), {"input": torch.zeros(1, 64, 32, 32)}, centres=True)
    assert relaxation.lines_at_once(state) <= costs.PORTION_FLOPS / (2 * 64 * 64 * 9 * 32 * 32)


def test_bounds_are_the_same_in_portions_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    built = network(
        [{"kind": "linear", "out_features": 24}, {"kind": "relu"}, {"kind": "linear", "out_features": 5}], Value((8,))
    )
    rows = torch.randn((6, 8), generator=torch.Generator().manual_seed(1))
    net, guess = boxed_network(built, 16), built.module(rows)
    whole = methods.attempt(net, Method.REFINED, {"input": rows}, guess, order_decision(1))
    monkeypatch.setattr(costs, "PORTION_FLOPS", 1.0)
    single = methods.attempt(net, Method.REFINED, {"input": rows}, guess, order_decision(1))
    torch.testing.assert_close(single.evidence.low, whole.evidence.low)
    assert bool((single.evidence.proven == whole.evidence.proven).all())
