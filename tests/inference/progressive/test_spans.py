"""Statistics of parameters from their leading bits: what all bits say lies between the bounds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from delc.inference.progressive.spans import Ends, Span, comparison, cosine, span_of, statistics

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40)


def known_to(numbers: torch.Tensor, bits: int) -> Span:
    """What so many leading bits say of the numbers."""
    size = numbers.element_size() * 8
    pattern = numbers.view(INTEGERS[numbers.element_size()]) & (-1 << (size - bits))
    return span_of(pattern.view(numbers.dtype), bits)


def holds(ends: Ends | None, value: float) -> bool:
    """Whether the value lies between them."""
    assert ends is not None
    return ends[0] <= value <= ends[1]


@settings(deadline=None)
@given(NUMBERS, st.sampled_from([8, 12, 16, 20, 24, 32]))
def test_statistics_of_all_bits_lie_between_those_of_some(numbers: list[float], bits: int) -> None:
    whole = torch.tensor(numbers, dtype=torch.float32)
    found, exact = statistics(known_to(whole, bits)), whole.double()
    assert holds(found["mean"], float(exact.mean()))
    assert holds(found["std"], float(exact.std(correction=0)))
    assert holds(found["min"], float(exact.min()))
    assert holds(found["max"], float(exact.max()))
    assert holds(found["norm"], float(exact.norm()))
    assert holds(found["zeros"], float((exact == 0).double().mean()))


@settings(deadline=None)
@given(NUMBERS, st.sampled_from([8, 12, 16, 24, 32]), st.integers(0, 99), st.sampled_from([0.0, 1e-6, 0.1, 10.0]))
def test_comparisons_of_all_bits_lie_between_those_of_some(
    numbers: list[float], bits: int, seed: int, change: float
) -> None:
    one = torch.tensor(numbers, dtype=torch.float32)
    other = one + change * torch.randn(one.shape, generator=torch.Generator().manual_seed(seed))
    found = comparison(known_to(one, bits), known_to(other, bits))
    assert holds(found["distance"], float((one.double() - other.double()).norm()))
    assert holds(found["unchanged"], float((one == other).double().mean()))
    lengths = float(one.double().norm() * other.double().norm())
    if found["cosine"] is not None:
        assert holds(found["cosine"], min(1.0, max(-1.0, float(one.double() @ other.double()) / lengths)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_have_bounds_too(dtype: torch.dtype) -> None:
    whole = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    for bits in (8, 12):
        assert holds(statistics(known_to(whole, bits))["norm"], float(whole.double().norm()))


def test_two_bytes_say_a_norm_to_within_half_a_percent_and_the_angle_closely() -> None:
    generator = torch.Generator().manual_seed(2)
    one = torch.randn(10_000, generator=generator)
    other = one + 0.05 * torch.randn(10_000, generator=generator)
    norm, angle = statistics(known_to(one, 16))["norm"], cosine(known_to(one, 16), known_to(other, 16))
    assert norm is not None
    assert norm[1] - norm[0] < 0.01 * norm[0]
    assert angle is not None
    assert angle[1] - angle[0] < 0.002


def test_numbers_that_may_be_infinite_have_no_statistics() -> None:
    broken = torch.tensor([1.0, math.inf])
    assert set(statistics(known_to(broken, 16)).values()) == {None}
    assert comparison(known_to(broken, 16), known_to(broken, 16))["distance"] is None


def test_integers_are_known_whole() -> None:
    assert statistics(span_of(torch.tensor([3, 4]), 64))["norm"] == pytest.approx((5.0, 5.0))
