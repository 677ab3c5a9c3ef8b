"""No certified answer differs from that of full precision: random networks, weights and inputs of all sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from delc.features.fitted_target import Regression
from delc.inference.progressive import decisions, methods
from delc.inference.progressive.boxes import box_of_prefix, require_finite
from delc.inference.progressive.decisions import Decision
from delc.inference.progressive.methods import Method
from delc.inference.progressive.rules_elementwise import BENT, SMOOTH, bent_stage, error_of, smooth_stage
from delc.inference.progressive.stages import Bounds, LayerView
from delc.networks.kinds import KINDS, Value
from delc.server.errors import InvalidData
from support.progressive import boxed_network, boxes, cut, network

ACTIVATIONS = st.sampled_from(["relu", "tanh", "gelu", "sigmoid", "leaky_relu", "silu"])
SCALES = st.sampled_from([1.0, 1.0, 1e-3, 30.0, 1e10, 1e18, 1e-20, 1e-38])
ROWS = 64


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], float, float, int, int]:
    """Layers, the sizes of weights and inputs, known bits, and a seed."""
    layers: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 3))):
        layers.append({"kind": "linear", "out_features": draw(st.integers(1, 24))})
        if draw(st.booleans()):
            layers.append({"kind": draw(st.sampled_from(["batch_norm1d", "layer_norm"]))})
        layers.append({"kind": draw(ACTIVATIONS)})
    layers.append({"kind": "linear", "out_features": draw(st.integers(1, 6))})
    if draw(st.booleans()):
        layers.append({"kind": draw(st.sampled_from(["softmax", "log_softmax", "dropout"]))})
    return (
        layers,
        draw(SCALES),
        draw(SCALES),
        draw(st.sampled_from([10, 12, 16, 20, 24, 32])),
        draw(st.integers(0, 999)),
    )


def random_network(layers: list[dict[str, Any]], scale: float, seed: int, *, ties: bool = False) -> Any:
    """Normal weights of a size; with ``ties`` rows of the last layer that are the same."""
    built = network(layers, Value((9,)), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, value in built.module.state_dict().items():
        if not value.is_floating_point():
            continue
        fresh = torch.randn(value.shape, generator=generator) * scale
        value.copy_(fresh.abs() if "running_var" in name else fresh)
    if ties:
        last = [value for name, value in built.module.state_dict().items() if value.is_floating_point()][-2:]
        for value in last:
            value[: max(2, len(value) // 2)] = value[0].clone()
    return built


def wrong(built: Any, inputs: dict[str, torch.Tensor], bits: int, decision: Decision, say: Any) -> tuple[int, int]:
    """(certified, wrong) answers of all methods."""
    net = boxed_network(built, bits)
    assert net.missing is None
    full = say(built.module(inputs))
    middle = network_with(built, {name: box.centre for name, box in boxes(built.module.state_dict(), bits).items()})
    guess = middle(inputs)
    certified = mistaken = 0
    for method in Method:
        proven = methods.attempt(net, method, inputs, guess, decision).evidence.proven
        certified += int(proven.sum())
        mistaken += int((say(guess)[proven] != full[proven]).any(-1).sum())
    return certified, mistaken


def best(outputs: torch.Tensor) -> torch.Tensor:
    """The label that ``predict`` says: (rows, 1)."""
    return outputs.argmax(1, keepdim=True)


def network_with(built: Any, state: dict[str, torch.Tensor]) -> Any:
    """A function that computes with other parameters."""
    return lambda inputs: torch.func.functional_call(built.module, state, (inputs,))


@settings(deadline=None, max_examples=150)
@given(cases(), st.booleans())
def test_no_certified_label_is_wrong(case: tuple[list[dict[str, Any]], float, float, int, int], ties: bool) -> None:
    layers, weights, numbers, bits, seed = case
    built = random_network(layers, weights, seed, ties=ties)
    inputs = {"input": torch.randn((ROWS, 9), generator=torch.Generator().manual_seed(seed + 1)) * numbers}
    _, mistaken = wrong(built, inputs, bits, decisions.order_decision(1), best)
    assert mistaken == 0


@settings(deadline=None, max_examples=60)
@given(cases(), st.integers(2, 4))
def test_no_certified_order_of_several_labels_is_wrong(
    case: tuple[list[dict[str, Any]], float, float, int, int], top: int
) -> None:
    layers, weights, numbers, bits, seed = case
    built = random_network(layers, weights, seed)
    inputs = {"input": torch.randn((ROWS, 9), generator=torch.Generator().manual_seed(seed + 1)) * numbers}

    def ranks(found: torch.Tensor) -> torch.Tensor:
        scores = torch.softmax(found.double(), 1)
        return torch.argsort(-scores, dim=1, stable=True)[:, :top]

    _, mistaken = wrong(built, inputs, bits, decisions.order_decision(top), ranks)
    assert mistaken == 0


@settings(deadline=None, max_examples=60)
@given(cases())
def test_no_certified_set_of_labels_is_wrong(case: tuple[list[dict[str, Any]], float, float, int, int]) -> None:
    layers, weights, numbers, bits, seed = case
    built = random_network(layers, weights, seed)
    inputs = {"input": torch.randn((ROWS, 9), generator=torch.Generator().manual_seed(seed + 1)) * numbers}

    def present(found: torch.Tensor) -> torch.Tensor:
        scores = torch.sigmoid(found.double())
        order = torch.argsort(-scores, dim=1, stable=True)
        return torch.where(scores.gather(1, order) > 0.5, order, -1)

    _, mistaken = wrong(built, inputs, bits, decisions.presence_decision(), present)
    assert mistaken == 0


@settings(deadline=None, max_examples=60)
@given(cases(), st.sampled_from([1e-4, 1e-1, 10.0]))
def test_a_certified_number_is_within_the_tolerance(
    case: tuple[list[dict[str, Any]], float, float, int, int], tolerance: float
) -> None:
    layers, weights, numbers, bits, seed = case
    built = random_network(layers, weights, seed)
    inputs = {"input": torch.randn((ROWS, 9), generator=torch.Generator().manual_seed(seed + 1)) * numbers}
    outputs = built.module(inputs).shape[1]
    target = Regression(
        (), "numbers", "", tuple(map(str, range(outputs))), torch.ones(outputs).numpy(), 2 * torch.ones(outputs).numpy()
    )
    decision = decisions.decision_for(target, None, tolerance)
    net = boxed_network(built, bits)
    state = {name: box.centre for name, box in boxes(built.module.state_dict(), bits).items()}
    guess, full = network_with(built, state)(inputs), target.unscale(built.module(inputs).numpy())
    for method in Method:
        evidence = methods.attempt(net, method, inputs, guess, decision).evidence
        proven = evidence.proven.numpy()
        off = abs(target.unscale(guess.numpy())[proven] - full[proven])
        assert (off <= tolerance).all()


def test_trained_sizes_are_certified_and_not_refused_out_of_caution() -> None:
    layers: list[dict[str, Any]] = [
        {"kind": "linear", "out_features": 32},
        {"kind": "relu"},
        {"kind": "linear", "out_features": 4},
    ]
    built = random_network(layers, 0.3, 4)
    inputs = {"input": torch.randn((1000, 9), generator=torch.Generator().manual_seed(5))}
    certified, mistaken = wrong(built, inputs, 20, decisions.order_decision(1), best)
    assert mistaken == 0
    assert certified > 3 * 950


def test_exact_ties_are_never_certified() -> None:
    layers: list[dict[str, Any]] = [{"kind": "linear", "out_features": 3}]
    built = random_network(layers, 1.0, 6)
    for value in built.module.state_dict().values():
        value.copy_(value[:1].expand_as(value))
    inputs = {"input": torch.randn((50, 9))}
    certified, _ = wrong(built, inputs, 32, decisions.order_decision(1), best)
    assert certified == 0


# ---- boxes ----


@settings(deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50),
    st.integers(1, 32),
)
def test_a_box_holds_every_number_with_its_leading_bits(numbers: list[float], bits: int) -> None:
    whole = torch.tensor(numbers, dtype=torch.float32)
    box = box_of_prefix(cut(whole, bits), bits)
    assert bool(((whole.double() - box.wide()).abs() <= box.spread()).all())
    noise = torch.randint(0, 1 << (32 - bits), whole.shape, dtype=torch.int64).int()
    for unknown in (noise, torch.full_like(noise, (1 << (32 - bits)) - 1)):
        other = (cut(whole, bits).view(torch.int32) | unknown).view(torch.float32)
        held = (other.double() - box.wide()).abs() <= box.spread()
        assert bool((held | ~torch.isfinite(other)).all())


def test_of_one_byte_a_box_reaches_over_two_powers_of_two() -> None:
    box = box_of_prefix(cut(torch.tensor([1.0, -1.0, 2e38]), 8), 8)
    assert box.centre[:2].tolist() == [1.25, -1.25]
    assert box.spread()[:2].tolist() == pytest.approx([0.75, 0.75], rel=1e-5)
    assert box.spread()[2] == float("inf")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_boxes_of_other_dtypes_hold_what_float32_makes_of_the_number(dtype: torch.dtype) -> None:
    whole = torch.randn(1000, dtype=torch.float64).mul(100).to(dtype)
    size = whole.element_size() * 8
    integers = {2: torch.int16, 8: torch.int64}[whole.element_size()]
    for bits in range(12, size, 4):
        prefix = (whole.view(integers) & (-1 << (size - bits))).view(dtype)
        box = box_of_prefix(prefix, bits)
        assert box.centre.dtype == torch.float32
        assert bool(((whole.float().double() - box.wide()).abs() <= box.spread()).all())


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_infinite_parameters_are_refused_by_name(value: float) -> None:
    broken = torch.tensor([1.0, value])
    for bits in (16, 20, 32):
        with pytest.raises(InvalidData, match=r'parameter "fc\.weight" has 1 numbers that are infinite or NaN'):
            require_finite("fc.weight", box_of_prefix(cut(broken, bits), bits), bits)


def test_of_one_byte_nothing_is_known_to_be_infinite() -> None:
    require_finite("fc.weight", box_of_prefix(cut(torch.tensor([1.0, 2e38]), 8), 8), 8)


# ---- what functions of torch are trusted with ----


@pytest.mark.parametrize("kind", [*BENT, *SMOOTH])
def test_torch_computes_activations_four_times_closer_than_is_assumed(kind: str) -> None:
    arguments = {argument.name: argument.default for argument in KINDS[kind].arguments}
    layer = LayerView("tested", kind, arguments, None, {})
    module = KINDS[kind].make(arguments, "cpu").eval()
    bits = torch.randint(0, 2**32, (2**18,), generator=torch.Generator().manual_seed(1)).sub(2**31).int()
    spread = torch.randn(2**18, generator=torch.Generator().manual_seed(2)) * 4
    numbers = torch.cat([bits.view(torch.float32), spread])
    numbers = numbers[torch.isfinite(numbers) & (numbers.abs() < (80.0 if kind == "exp" else 1e30))]
    wide = numbers.double()
    arriving = Bounds(wide, wide)
    function = BENT[kind](layer) if kind in BENT else SMOOTH[kind](layer)
    exact = function.function(wide)
    off = (module(numbers).double() - exact).abs()
    allowed = error_of(function.error, exact.abs(), arriving)
    assert bool((off <= allowed / 4 + 1e-45).all() if kind != "softplus" else (off <= allowed).all())
    stage = bent_stage(arriving, BENT[kind](layer)) if kind in BENT else smooth_stage(arriving, SMOOTH[kind](layer))
    assert bool((stage.bounds.low <= module(numbers).double()).all())
