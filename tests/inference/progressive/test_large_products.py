"""Bounds of products with large matrices, in float32 and block by block."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from delc.inference.progressive import decisions, large_convolutions, large_products, methods
from delc.inference.progressive.boxes import Box, box_of_prefix, powers_below
from delc.inference.progressive.large_products import LargeMatrix
from delc.inference.progressive.methods import Method
from delc.inference.progressive.rules_linear import convolution, large_stage
from delc.inference.progressive.stages import Bounds
from delc.networks.kinds import Value
from support.progressive import boxed_network, boxes, cut, network

SCALES = st.sampled_from([1.0, 1e-3, 1e4, 1e15, 1e-20, 1e-38, 1e-44])


def large(box: Box) -> LargeMatrix:
    """As a large matrix, which it must be."""
    found = LargeMatrix.of(box)
    assert found is not None
    return found


def arriving(rows: int, numbers: int, scale: float, width: float, seed: int) -> tuple[torch.Tensor, Bounds]:
    """float32 inputs and bounds around them, which they lie in anywhere."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn((rows, numbers), generator=generator) * scale
    low = inputs.double() - torch.rand(inputs.shape, generator=generator).double() * width * scale
    high = inputs.double() + torch.rand(inputs.shape, generator=generator).double() * width * scale
    return inputs, Bounds(low, high)


@settings(deadline=None, max_examples=25)
@given(SCALES, SCALES, st.sampled_from([0.0, 1e-6, 0.1]), st.sampled_from([9, 12, 16, 20, 24, 32]), st.integers(0, 99))
def test_what_float32_computes_lies_within_the_bounds(
    weights: float, numbers: float, width: float, bits: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((700, 1100), generator=generator) * weights
    bias = torch.randn(700, generator=generator) * weights
    inputs, bounds = arriving(5, 1100, numbers, width, seed)
    stage = large_stage(bounds, large(box_of_prefix(cut(weight, bits), bits)), box_of_prefix(cut(bias, bits), bits))
    found = torch.nn.functional.linear(inputs, weight, bias).double()
    held = (stage.bounds.low <= found) & (found <= stage.bounds.high)
    assert bool((held | stage.bounds.low.isnan() | stage.bounds.low.isinf()).all())


def test_the_bounds_are_hardly_wider_than_those_in_float64() -> None:
    weight = torch.randn((700, 1100), generator=torch.Generator().manual_seed(1))
    box = box_of_prefix(cut(weight, 16), 16)
    _, bounds = arriving(5, 1100, 1.0, 1e-3, 2)
    middle, noise, spread = large(box).bounds(bounds)
    assert bool((noise <= 1.05 * (bounds.magnitude @ (box.spread() + 1e-4 * box.wide().abs()).T)).all())
    assert bool((spread <= 1.001 * (bounds.radius @ box.wide().abs().T)).all())
    assert bool(((middle - bounds.centre @ box.wide().T).abs() <= 0.05 * noise).all())


def test_traces_go_through_the_matrix_in_float64() -> None:
    weight = torch.randn((900, 600), generator=torch.Generator().manual_seed(3))
    matrix = large(Box(weight))
    values = torch.randn((4, 600), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    lines = torch.randn((4, 900), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(matrix.product(values), values @ weight.double().T, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(matrix.pull(lines), lines @ weight.double(), rtol=1e-12, atol=1e-12)


def test_the_power_of_two_below_a_number() -> None:
    numbers = torch.tensor([1.0, -1.99, 2.0, 0.75, 3e38, 1e-45, 0.0])
    assert powers_below(numbers).tolist() == [1.0, 1.0, 2.0, 0.5, 2.0**127, 2.0**-126, 2.0**-126]


def test_small_matrices_and_those_of_other_dtypes_stay_in_float64() -> None:
    assert LargeMatrix.of(Box(torch.zeros(10, 10))) is None
    wide = torch.zeros((800, 800), dtype=torch.float64)
    assert LargeMatrix.of(box_of_prefix(wide, 20)) is None


@pytest.mark.parametrize("bits", [12, 16, 20, 24, 32])
def test_no_label_certified_through_large_matrices_is_wrong(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_products, "FROM", 1)
    certified = 0
    for seed in range(8):
        hidden: list[dict[str, object]] = [{"kind": "linear", "out_features": 40}, {"kind": "relu"}] * 2
        built = network([*hidden, {"kind": "linear", "out_features": 5}], Value((20,)), seed=seed)
        inputs = {"input": torch.randn((200, 20), generator=torch.Generator().manual_seed(seed))}
        middle = {name: box.centre for name, box in boxes(built.module.state_dict(), bits).items()}
        guess, full = torch.func.functional_call(built.module, middle, (inputs,)), built.module(inputs)
        for method in Method:
            net = boxed_network(built, bits)
            proven = methods.attempt(net, method, inputs, guess, decisions.order_decision(1)).evidence.proven
            certified += int(proven.sum())
            assert bool((guess[proven].argmax(1) == full[proven].argmax(1)).all())
    assert certified >= (1000 if bits >= 16 else 0)


CONVOLUTIONS: dict[str, tuple[str, dict[str, object], tuple[int, ...]]] = {
    "plain": ("conv2d", {"kernel_size": 3}, (4, 7, 6)),
    "padded, with strides": ("conv2d", {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 2]}, (4, 7, 6)),
    "same size": ("conv2d", {"kernel_size": 4, "padding": "same"}, (4, 7, 6)),
    "dilated, mirrored": (
        "conv2d",
        {"kernel_size": 2, "dilation": 2, "padding": 1, "padding_mode": "reflect"},
        (4, 7, 6),
    ),
    "in one dimension": ("conv1d", {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, (4, 11)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("what", CONVOLUTIONS)
@pytest.mark.parametrize("bits", [12, 16, 24, 32])
def test_large_convolutions_are_bounded_as_small_ones_are(
    what: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, arguments, shape = CONVOLUTIONS[what]
    built = network([{"kind": kind, "arguments": {"out_channels": 5, **arguments}}], Value(shape), seed=bits)
    inputs, bounds = arriving(3, torch.Size(shape).numel(), 1.0, 1e-3, bits)
    inputs, incoming = inputs.reshape(3, *shape), Bounds(bounds.low.reshape(3, *shape), bounds.high.reshape(3, *shape))
    layer = boxed_network(built, bits).layers[0]
    small = convolution(layer, [incoming])
    monkeypatch.setattr(large_products, "FROM", 1)
    monkeypatch.setattr(large_convolutions, "WINDOWS_BYTES", 1)
    layer = boxed_network(built, bits).layers[0]
    stage = convolution(layer, [incoming])
    assert "large" in layer.cache
    found = built.module(inputs).double()
    assert bool(((stage.bounds.low <= found) & (found <= stage.bounds.high)).all())
    torch.testing.assert_close(stage.bounds.centre, small.bounds.centre, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stage.bounds.radius, small.bounds.radius, rtol=0.05, atol=5e-4)
    assert stage.affine is not None
    assert small.affine is not None
    torch.testing.assert_close(stage.affine([incoming.centre]), small.affine([incoming.centre]))
    lines, rows = torch.randn_like(small.bounds.low), torch.arange(3)
    pulls = [found.pulls[0] for found in (stage, small)]
    torch.testing.assert_close(*(pull(lines, rows) for pull in pulls if pull is not None))
