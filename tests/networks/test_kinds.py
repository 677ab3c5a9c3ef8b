"""Every kind of layer: it builds, runs, and gives the shape that its rule says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from delc.networks import KINDS, InputSpec, Network, build, resolve
from delc.networks.graph import Layer
from delc.networks.kinds import TOKENS, Value, find_kind
from delc.server.errors import InvalidParameter

ROWS = 3


def one_layer(kind: str, arguments: dict[str, Any], values: Sequence[Value]) -> tuple[Network, dict[str, InputSpec]]:
    """A network of one layer that reads inputs with these shapes."""
    names = tuple(f"in{number}" for number in range(len(values)))
    inputs = {
        name: InputSpec(value.shape, "int64" if value.dtype == TOKENS else "float32", value.categories)
        for name, value in zip(names, values, strict=True)
    }
    return Network((Layer("only", kind, arguments, names),)), inputs


def sample(inputs: dict[str, InputSpec], rows: int = ROWS) -> dict[str, torch.Tensor]:
    """Random tensors for these inputs."""
    return {
        name: torch.randn(rows, *spec.shape)
        if spec.dtype == "float32"
        else torch.randint(0, spec.categories or 2, (rows, *spec.shape))
        for name, spec in inputs.items()
    }


def check_shape(kind: str, arguments: dict[str, Any], values: Sequence[Value]) -> torch.Tensor:
    """Build and run the layer; its output has the inferred shape."""
    network, inputs = one_layer(kind, arguments, values)
    built = build(network, inputs)
    output = built.module(sample(inputs))
    assert tuple(output.shape) == (ROWS, *built.resolved.output_shape)
    return output


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_kind_gives_the_inferred_shape_in_training(kind: Any) -> None:
    output = check_shape(kind.name, kind.example.arguments, kind.example.inputs)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_kind_gives_the_inferred_shape_for_one_row_in_prediction(kind: Any) -> None:
    network, inputs = one_layer(kind.name, kind.example.arguments, kind.example.inputs)
    built = build(network, inputs)
    built.module.eval()
    with torch.inference_mode():
        output = built.module(sample(inputs, rows=1))
    assert tuple(output.shape) == (1, *built.resolved.output_shape)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_kind_treats_each_row_by_itself_in_prediction(kind: Any) -> None:
    network, inputs = one_layer(kind.name, kind.example.arguments, kind.example.inputs)
    module = build(network, inputs).module.eval()
    rows = sample(inputs)
    with torch.inference_mode():
        together = module(rows)
        alone = torch.cat([module({name: rows[name][at : at + 1] for name in rows}) for at in range(ROWS)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_resolved_arguments_of_a_kind_are_accepted_again(kind: Any) -> None:
    network, inputs = one_layer(kind.name, kind.example.arguments, kind.example.inputs)
    resolved = resolve(network, inputs)
    parsed = Network.parse(resolved.network.to_json())
    assert parsed == resolved.network
    assert resolve(parsed, inputs).layers == resolved.layers


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_arguments_of_a_kind_do_not_hide_a_layers_own_keys(kind: Any) -> None:
    assert not {argument.name for argument in kind.arguments} & {"name", "kind", "inputs", "arguments"}


VARIANTS: list[tuple[str, dict[str, Any], list[Value]]] = [
    ("linear", {"out_features": 4, "bias": False}, [Value((5, 6, 7))]),
    ("conv1d", {"out_channels": 4, "kernel_size": 4, "padding": "same", "dilation": 2}, [Value((3, 9))]),
    ("conv2d", {"out_channels": 4, "kernel_size": [3, 5], "stride": [2, 1], "padding": [1, 0]}, [Value((2, 9, 8))]),
    ("conv2d", {"out_channels": 4, "kernel_size": 3, "groups": 2, "padding": "valid"}, [Value((2, 9, 8))]),
    ("conv2d", {"out_channels": 4, "kernel_size": 3, "padding": 2, "padding_mode": "reflect"}, [Value((2, 3, 8))]),
    ("conv2d", {"out_channels": 4, "kernel_size": 3, "padding": 3, "padding_mode": "circular"}, [Value((2, 3, 8))]),
    ("conv2d", {"out_channels": 4, "kernel_size": 3, "padding": 9, "padding_mode": "replicate"}, [Value((2, 3, 8))]),
    (
        "conv_transpose2d",
        {"out_channels": 4, "kernel_size": 3, "stride": 2, "output_padding": 1, "padding": 1},
        [Value((2, 3, 8))],
    ),
    ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, [Value((2, 8, 6))]),
    ("max_pool1d", {"kernel_size": 2, "dilation": 3, "stride": 1}, [Value((2, 8))]),
    ("avg_pool3d", {"kernel_size": [1, 2, 3], "ceil_mode": True}, [Value((2, 4, 5, 7))]),
    ("adaptive_max_pool2d", {"output_size": [3, 9]}, [Value((2, 8, 6))]),
    ("batch_norm1d", {}, [Value((5,))]),
    ("batch_norm1d", {"affine": False, "track_running_stats": False}, [Value((5, 7))]),
    ("group_norm", {"num_groups": 3}, [Value((6,))]),
    ("layer_norm", {"normalized_shape": [4, 5]}, [Value((3, 4, 5))]),
    ("prelu", {"num_parameters": 3}, [Value((3, 8))]),
    ("glu", {"dim": 1}, [Value((6, 8))]),
    ("softmax", {"dim": 1}, [Value((6, 8))]),
    ("embedding", {"embedding_dim": 5, "padding_idx": 0}, [Value((), TOKENS, 9)]),
    ("lstm", {"hidden_size": 5, "num_layers": 2, "dropout": 0.5, "bidirectional": True}, [Value((6, 3))]),
    ("gru", {"hidden_size": 5, "bidirectional": True, "output": "last"}, [Value((6, 3))]),
    ("gru", {"hidden_size": 5, "padding_index": 0}, [Value((6, 3)), Value((6,), TOKENS, 9)]),
    (
        "lstm",
        {"hidden_size": 5, "padding_index": 0, "output": "last", "bidirectional": True},
        [Value((6, 3)), Value((6,), TOKENS, 9)],
    ),
    ("rnn", {"hidden_size": 5, "nonlinearity": "relu", "bias": False}, [Value((6, 3))]),
    ("multihead_attention", {"num_heads": 2}, [Value((6, 4)), Value((3, 5))]),
    ("multihead_attention", {"num_heads": 2}, [Value((6, 4)), Value((3, 5)), Value((3, 7))]),
    ("multihead_attention", {"num_heads": 2, "causal": True}, [Value((6, 4))]),
    ("multihead_attention", {"num_heads": 2, "padding_index": 0}, [Value((6, 4)), Value((6,), TOKENS, 3)]),
    (
        "multihead_attention",
        {"num_heads": 2, "padding_index": 0, "causal": True},
        [Value((6, 4)), Value((6,), TOKENS, 3)],
    ),
    ("transformer_encoder_layer", {"nhead": 2, "causal": True, "norm_first": True}, [Value((6, 4))]),
    ("transformer_encoder_layer", {"nhead": 2, "padding_index": 0}, [Value((6, 4)), Value((6,), TOKENS, 3)]),
    ("positional_encoding", {}, [Value((6, 5))]),
    ("positional_encoding", {"method": "learned", "max_length": 9}, [Value((6, 5))]),
    ("flatten", {"start_dim": 2}, [Value((3, 4, 5))]),
    ("flatten", {}, [Value(())]),
    ("unflatten", {"dim": -1, "sizes": [2, 4]}, [Value((3, 8))]),
    ("reshape", {"shape": [-1, 6]}, [Value((3, 8))]),
    ("permute", {"dims": [-1, 1, 2]}, [Value((3, 4, 5))]),
    ("transpose", {"dim0": -1, "dim1": 1}, [Value((3, 4, 5))]),
    ("unsqueeze", {"dim": -1}, [Value((3, 4))]),
    ("squeeze", {"dim": 2}, [Value((3, 1))]),
    ("select", {"dim": -1, "index": 2}, [Value((3, 4))]),
    ("slice", {"dim": 2, "start": -3, "step": 2}, [Value((3, 4))]),
    ("concat", {"dim": -1}, [Value((3, 4)), Value((3, 2)), Value((3, 1))]),
    ("stack", {"dim": -1}, [Value((3, 4)), Value((3, 4))]),
    ("pad", {"pad": [1, 2], "value": 0.5}, [Value((3, 4))]),
    ("upsample", {"scale_factor": 3, "mode": "bilinear"}, [Value((3, 4, 2))]),
    ("upsample", {"mode": "linear"}, [Value((3, 4))]),
    ("add", {"constant": 2}, [Value((3, 4))]),
    ("add", {}, [Value((3, 4)), Value((3, 1)), Value((1, 4))]),
    ("multiply", {}, [Value((3, 1, 1)), Value((3, 4, 4))]),
    ("subtract", {"constant": 2.5}, [Value(())]),
    ("divide", {"constant": 2.5}, [Value((3,))]),
    ("mean", {"dim": -1}, [Value((3, 4))]),
    ("max", {"dim": [1, 2], "keepdim": True}, [Value((3, 4))]),
    ("min", {"dim": [1, 2]}, [Value((3, 4))]),
    ("normalize", {"p": 1, "dim": 1}, [Value((3, 4))]),
]


@pytest.mark.parametrize(("kind", "arguments", "values"), VARIANTS)
def test_arguments_change_the_shape_as_inferred(kind: str, arguments: dict[str, Any], values: list[Value]) -> None:
    check_shape(kind, arguments, values)


def check_rule_agrees_with_torch(kind: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Where the rule refuses, nothing is claimed; where it gives a shape, torch gives the same."""
    network, inputs = one_layer(kind, arguments, [Value(shape)])
    try:
        resolve(network, inputs)
    except InvalidParameter:
        return
    check_shape(kind, arguments, [Value(shape)])


small = st.integers(1, 4)


@settings(max_examples=150, deadline=None)
@given(size=st.integers(1, 9), kernel=small, stride=small, padding=st.integers(0, 3), dilation=small)
def test_rule_of_convolutions_agrees_with_torch(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    arguments = {"out_channels": 2, "kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    check_rule_agrees_with_torch("conv1d", arguments, (1, size))
    check_rule_agrees_with_torch("conv_transpose1d", arguments, (1, size))


@settings(max_examples=150, deadline=None)
@given(size=st.integers(1, 9), kernel=small, stride=small, padding=st.integers(0, 3), ceil_mode=st.booleans())
def test_rule_of_pools_agrees_with_torch(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> None:
    arguments = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    check_rule_agrees_with_torch("max_pool2d", arguments, (1, size, 5))
    check_rule_agrees_with_torch("avg_pool2d", arguments, (1, size, 5))


@settings(max_examples=150, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), max_size=3),
    start=st.integers(-5, 5),
    end=st.integers(-5, 5),
    index=st.integers(-5, 5),
)
def test_rules_of_dimensions_agree_with_torch(shape: list[int], start: int, end: int, index: int) -> None:
    for kind, arguments in (
        ("flatten", {"start_dim": start, "end_dim": end}),
        ("transpose", {"dim0": start, "dim1": end}),
        ("unsqueeze", {"dim": start}),
        ("squeeze", {"dim": start}),
        ("select", {"dim": start, "index": index}),
        ("slice", {"dim": start, "start": index, "end": end}),
        ("mean", {"dim": [start, end]}),
    ):
        check_rule_agrees_with_torch(kind, arguments, tuple(shape))


@pytest.mark.parametrize(
    ("kind", "arguments", "values"),
    [
        ("linear", {"out_features": 4}, [Value((5, 6))]),
        ("conv2d", {"out_channels": 4, "kernel_size": 3, "groups": 2}, [Value((2, 9, 8))]),
        ("conv_transpose1d", {"out_channels": 4, "kernel_size": 3, "stride": 2}, [Value((2, 9))]),
        ("multihead_attention", {"num_heads": 2, "dropout": 0.1}, [Value((6, 4))]),
        ("multihead_attention", {"num_heads": 2, "dropout": 0.1}, [Value((6, 4)), Value((3, 5)), Value((3, 7))]),
        ("transformer_encoder_layer", {"nhead": 2}, [Value((6, 4))]),
    ],
)
def test_flops_are_those_that_torch_counts(kind: str, arguments: dict[str, Any], values: list[Value]) -> None:
    """Attention has a dropout here because torch does not count its fused form, which it takes without."""
    network, inputs = one_layer(kind, arguments, values)
    built = build(network, inputs)
    with FlopCounterMode(display=False) as counter:
        built.module(sample(inputs))
    assert built.flops(ROWS) == counter.get_total_flops()


def test_flops_of_a_recurrent_layer_are_those_of_its_matrices() -> None:
    network, inputs = one_layer("lstm", {"hidden_size": 5}, [Value((6, 3))])
    assert resolve(network, inputs).flops() == 6 * 2 * 4 * 5 * (3 + 5)


@pytest.mark.parametrize(
    ("written", "name"),
    [("Conv2d", "conv2d"), ("BatchNorm1d", "batch_norm1d"), ("ReLU", "relu"), ("MultiheadAttention",) * 2],
)
def test_class_names_of_torch_are_understood(written: str, name: str) -> None:
    assert find_kind(written) is find_kind(name)


def test_unknown_kind_is_an_error_with_the_nearest_and_all_known() -> None:
    with pytest.raises(InvalidParameter) as error:
        Network.parse([{"kind": "liner"}])
    assert error.value.message == 'unknown layer kind "liner" of layer 1'
    assert error.value.hint == 'Did you mean "linear"?'
    assert error.value.detail is not None
    assert all(kind in error.value.detail for kind in KINDS)


def test_padding_does_not_change_what_a_recurrent_layer_gives() -> None:
    network, inputs = one_layer(
        "gru",
        {"hidden_size": 5, "padding_index": 0, "output": "last", "bidirectional": True},
        [Value((6, 3)), Value((6,), TOKENS, 9)],
    )
    module = build(network, inputs).module.eval()
    rows = sample(inputs)
    rows["in1"] = torch.tensor([[4, 5, 6, 0, 0, 0]] * ROWS)
    first = module(rows)
    rows["in0"][:, 3:] = 100.0
    torch.testing.assert_close(module(rows), first)


@pytest.mark.parametrize("kind", ["multihead_attention", "transformer_encoder_layer"])
def test_padding_does_not_change_what_attention_gives_elsewhere(kind: str) -> None:
    heads = "num_heads" if kind == "multihead_attention" else "nhead"
    network, inputs = one_layer(kind, {heads: 2, "padding_index": 0}, [Value((6, 4)), Value((6,), TOKENS, 9)])
    module = build(network, inputs).module.eval()
    rows = sample(inputs)
    rows["in1"] = torch.tensor([[4, 5, 6, 0, 0, 0]] * ROWS)
    first = module(rows)[:, :3]
    rows["in0"][:, 3:] = 100.0
    torch.testing.assert_close(module(rows)[:, :3], first)


@pytest.mark.parametrize("kind", ["gru", "multihead_attention", "transformer_encoder_layer", "masked_mean"])
def test_a_text_of_padding_only_gives_finite_numbers(kind: str) -> None:
    needed = {
        "gru": {"hidden_size": 4},
        "multihead_attention": {"num_heads": 2},
        "transformer_encoder_layer": {"nhead": 2},
    }
    arguments = {**needed.get(kind, {}), "padding_index": 0}
    network, inputs = one_layer(kind, arguments, [Value((6, 4)), Value((6,), TOKENS, 9)])
    for module in (build(network, inputs).module.train(), build(network, inputs).module.eval()):
        rows = sample(inputs)
        rows["in1"] = torch.zeros_like(rows["in1"])
        assert torch.isfinite(module(rows)).all()


@pytest.mark.parametrize("kind", ["multihead_attention", "transformer_encoder_layer"])
def test_causal_attention_does_not_look_ahead(kind: str) -> None:
    heads = "num_heads" if kind == "multihead_attention" else "nhead"
    network, inputs = one_layer(kind, {heads: 2, "causal": True}, [Value((6, 4))])
    module = build(network, inputs).module.eval()
    rows = sample(inputs)
    first = module(rows)[:, :3]
    rows["in0"][:, 3:] = 100.0
    torch.testing.assert_close(module(rows)[:, :3], first)
