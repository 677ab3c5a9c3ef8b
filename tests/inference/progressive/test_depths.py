"""Which parameters are read further than others at a depth, and which one less far."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from delc.inference.progressive.depths import (
    AHEAD_BITS,
    AHEAD_SHARE,
    BEHIND_BITS,
    BEHIND_KNOWN,
    BEHIND_SHARE,
    FIRST_BITS,
    SMALL,
    Depths,
    known_bits,
    read_ahead,
    read_behind,
)

WHOLE, HALVES = [8, 16, 24, 32], [8, 12, 16, 20, 24, 28, 32]


def stored(size: int, bits: list[int] = HALVES) -> Depths:
    """A parameter of so many bytes, each plane of the same size."""
    return Depths(bits, [size * known // 32 for known in bits])


def test_of_a_parameter_that_is_most_of_the_model_half_a_plane_less_is_read_first() -> None:
    assert read_behind({"large": stored(70_000), "small": stored(30_000)}) == "large"


def test_of_parameters_of_like_size_none_is_read_behind() -> None:
    assert read_behind({"one": stored(50_000), "other": stored(50_000)}) is None


def test_without_half_planes_none_is_read_behind() -> None:
    assert read_behind({"large": stored(70_000, WHOLE), "small": stored(1000, WHOLE)}) is None


def test_a_parameter_that_is_read_whole_is_not_read_behind() -> None:
    assert read_behind({"only": stored(SMALL)}) is None


def test_the_smallest_parameters_are_read_ahead_up_to_a_small_part_of_all_bytes() -> None:
    found = read_ahead({"large": stored(900_000), "middle": stored(60_000), "small": stored(8_000)})
    assert found == {"middle", "small"}


def test_the_depths_in_between_are_told_by_the_bits_that_are_known_of_every_number() -> None:
    depths = (8, BEHIND_BITS, FIRST_BITS, AHEAD_BITS, 20)
    assert [known_bits(depth) for depth in depths] == [8, BEHIND_KNOWN, 16, 16, 20]


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 10**6), min_size=1))
def test_at_most_one_parameter_is_behind_and_what_is_ahead_is_little(sizes: dict[str, int]) -> None:
    parameters = {name: stored(size) for name, size in sizes.items()}
    whole = sum(depths.ends[-1] for depths in parameters.values())
    ahead, behind = read_ahead(parameters), read_behind(parameters)
    assert sum(parameters[name].step for name in ahead) <= AHEAD_SHARE * whole
    if behind is not None:
        assert parameters[behind].ends[-1] >= BEHIND_SHARE * whole
        assert behind not in ahead
