"""Every kind of layer with a rule: what float32 computes lies within the bounds, for any parameters in the boxes."""

from __future__ import annotations

import pytest
import torch

from delc.inference.progressive import margins, relaxation
from delc.inference.progressive.propagation import forward
from delc.inference.progressive.stages import REFUSALS, RULES, Stage
from delc.networks.kinds import KINDS, Example, Value
from support.layer_cases import CASES, around_the_layer
from support.progressive import boxed_network, network, random_inputs

ROWS = 7

def test_all_kinds_of_layers_have_a_rule() -> None:
    assert set(KINDS) == set(RULES)
    assert set(REFUSALS) <= set(RULES)


def stir(built: object, seed: int) -> None:
    """Parameters and statistics of many sizes, statistics positive."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in built.module.state_dict().items():  # type: ignore[attr-defined]
        if not value.is_floating_point():
            continue
        fresh = torch.randn(value.shape, generator=generator) / max(1, value.shape[-1] if value.dim() else 1) ** 0.5
        value.copy_(fresh.abs() + 0.1 if "running_var" in name else fresh)


@pytest.mark.parametrize(("kind", "example"), CASES, ids=[f"{name}-{at}" for at, (name, _) in enumerate(CASES)])
@pytest.mark.parametrize("bits", [12, 16, 24, 32])
def test_what_float32_computes_lies_within_the_bounds(kind: str, example: Example, bits: int) -> None:
    built = network(around_the_layer(kind, example), *example.inputs, seed=1)
    stir(built, 2)
    net = boxed_network(built, bits)
    if net.missing is not None:
        assert kind == "upsample", net.missing
        return
    generator = torch.Generator().manual_seed(3)
    for scale in (1.0, 30.0, 1e-3):
        inputs = random_inputs(built.resolved.inputs, ROWS, generator, scale)
        found = built.module(inputs).double()
        state = forward(net, inputs, centres=True)
        bounds = state.output.bounds
        assert bool((bounds.low[state.alive] <= found[state.alive]).all())
        assert bool((found[state.alive] <= bounds.high[state.alive]).all())
        assert bool(state.alive.all()) or bits == 12 or kind in ("divide", "rnn")  # by what may be zero; many steps
        check_traces(state, found)


def check_traces(state: object, found: torch.Tensor) -> None:
    """Combinations of the outputs, traced back and merged, hold the combination of what was computed."""
    flat = found.flatten(1)
    generator = torch.Generator().manual_seed(4)
    lines = torch.randn((5 * ROWS, *found.shape[1:]), generator=generator, dtype=torch.float64)
    lines[: 2 * ROWS] = 0
    lines.flatten(1)[torch.arange(2 * ROWS), torch.arange(2 * ROWS) % flat.shape[1]] = 1
    rows = torch.arange(ROWS).repeat(5)
    value = (lines.flatten(1) * flat[rows]).sum(1)
    alive = state.alive[rows]  # type: ignore[attr-defined]
    for centre, radius in (
        relaxation.trace(state, "tested", lines, rows, lambda: None),  # type: ignore[arg-type]
        relaxation.merge(state, "tested", lines, rows),  # type: ignore[arg-type]
    ):
        assert bool(((value - centre).abs() <= radius * (1 + 1e-12) + 1e-12 * value.abs())[alive].all())


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "relu6", "hardtanh", "prelu", "abs"])
def test_refined_bounds_hold_and_are_no_wider(kind: str) -> None:
    layers: list[dict[str, object]] = []
    for _ in range(3):
        layers += [{"kind": "linear", "out_features": 24}, {"kind": kind}]
    built = network([*layers, {"kind": "linear", "out_features": 5}], Value((12,)), seed=5)
    net = boxed_network(built, 14)
    inputs = random_inputs(built.resolved.inputs, 40, torch.Generator().manual_seed(6), 2.0)
    found = built.module(inputs).double()
    plain, refined = forward(net, inputs), forward(net, inputs, refine=True)
    assert bool((refined.output.bounds.low <= found).all())
    assert bool((found <= refined.output.bounds.high).all())
    assert bool((refined.output.bounds.radius <= plain.output.bounds.radius * (1 + 1e-9)).all())
    assert float(refined.output.bounds.radius.mean()) < float(plain.output.bounds.radius.mean())
    assert isinstance(refined.output, Stage)
    guess = refined.output.bounds.centre
    lines = margins.order_lines(guess, 1)
    merged = margins.bound_margins(plain, lines, relaxed=False)
    traced = margins.bound_margins(refined, lines, relaxed=True)
    assert float((traced.high - traced.low).mean()) < float((merged.high - merged.low).mean())
