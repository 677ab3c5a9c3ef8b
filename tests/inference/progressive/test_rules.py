"""Every kind of layer with a rule: what float32 computes lies within the bounds, for any parameters in the boxes."""

from __future__ import annotations

import pytest
import torch

from delc.inference.progressive import margins, relaxation
from delc.inference.progressive.propagation import forward
from delc.inference.progressive.stages import REFUSALS, RULES, Stage
from delc.networks.kinds import KINDS, Example, Value
from support.progressive import boxed_network, network, random_inputs

ROWS = 7

IMAGE = Value((3, 8, 8))

FURTHER = [
    ("conv2d", Example({"out_channels": 4, "kernel_size": 3, "padding": "same", "groups": 2}, (Value((4, 6, 6)),))),
    ("conv2d", Example({"out_channels": 4, "kernel_size": 2, "stride": 2, "dilation": 2}, (Value((3, 8, 8)),))),
    ("conv2d", Example({"out_channels": 2, "kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (IMAGE,))),
    ("conv_transpose2d", Example({"out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1}, (IMAGE,))),
    ("max_pool2d", Example({"kernel_size": 3, "stride": 2, "padding": 1}, (Value((3, 8, 8)),))),
    ("max_pool2d", Example({"kernel_size": 2, "stride": 3, "dilation": 2, "ceil_mode": True}, (Value((3, 9, 9)),))),
    ("avg_pool2d", Example({"kernel_size": 3, "padding": 1, "ceil_mode": True}, (Value((3, 8, 8)),))),
    ("gelu", Example({"approximate": "tanh"})),
    ("softplus", Example({"beta": 2.0, "threshold": 3.0})),
    ("elu", Example({"alpha": 0.5})),
    ("leaky_relu", Example({"negative_slope": -0.5})),
    ("hardtanh", Example({"min_val": -0.1, "max_val": 0.2})),
    ("add", Example({"constant": 0.1})),
    ("multiply", Example({"constant": -1.7})),
    ("divide", Example({"constant": 0.3})),
    ("subtract", Example({"constant": 0.3})),
    ("batch_norm1d", Example({}, (Value((16,)),))),
    ("layer_norm", Example({"normalized_shape": [6, 16]}, (Value((6, 16)),))),
    ("multihead_attention", Example({"num_heads": 2, "causal": True}, (Value((12, 8)),))),
    ("multihead_attention", Example({"num_heads": 2}, (Value((6, 8)), Value((5, 4)), Value((5, 6))))),
    ("multihead_attention", Example({"num_heads": 2, "padding_index": 0}, (Value((12, 8)), Value((12,), "int64", 3)))),
    ("transformer_encoder_layer", Example({"nhead": 2, "norm_first": True, "activation": "gelu"}, (Value((6, 8)),))),
    ("transformer_encoder_layer", Example({"nhead": 2, "padding_index": 0}, (Value((6, 8)), Value((6,), "int64", 3)))),
    ("positional_encoding", Example({"method": "sinusoidal"}, (Value((12, 8)),))),
    ("normalize", Example({"p": 1.0, "dim": 1}, (IMAGE,))),
    ("local_response_norm", Example({"size": 4, "alpha": 0.5, "beta": 2.0, "k": 0.1}, (Value((6, 5)),))),
    ("rnn", Example({"hidden_size": 8, "nonlinearity": "relu"}, (Value((5, 4)),))),
    ("gru", Example({"hidden_size": 8, "num_layers": 2, "bidirectional": True}, (Value((5, 4)),))),
    ("lstm", Example({"hidden_size": 8, "output": "last", "padding_index": 0, "bidirectional": True},
                     (Value((6, 4)), Value((6,), "int64", 3)))),
    ("gru", Example({"hidden_size": 8, "padding_index": 0}, (Value((6, 4)), Value((6,), "int64", 3)))),
]  # fmt: skip

CASES = [(name, kind.example) for name, kind in KINDS.items() if name in RULES] + FURTHER


def test_all_kinds_of_layers_have_a_rule() -> None:
    assert set(KINDS) == set(RULES)
    assert set(REFUSALS) <= set(RULES)


def around_the_layer(kind: str, example: Example, seed: int) -> list[dict[str, object]]:
    """The layer behind one that makes its numbers uncertain, where it takes numbers."""
    layers: list[dict[str, object]] = []
    names = ["input"] if len(example.inputs) == 1 else list("abcd"[: len(example.inputs)])
    sources = []
    for name, value in zip(names, example.inputs, strict=True):
        if value.dtype == "int64" or not value.shape:
            sources.append(name)
            continue
        layers.append(
            {
                "kind": "linear",
                "name": f"{name}_mixed",
                "inputs": [name],
                "arguments": {"out_features": value.shape[-1]},
            }
        )
        sources.append(f"{name}_mixed")
    layers.append({"kind": kind, "name": "tested", "inputs": sources, "arguments": dict(example.arguments)})
    return layers


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
    built = network(around_the_layer(kind, example, 1), *example.inputs, seed=1)
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
