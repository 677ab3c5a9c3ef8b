"""Selectors, each rule with its example."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delc.dql.problems import Place, QueryError
from delc.dql.selectors import Selector, fill, read_selector

HERE = Place("", 0)
NAMES = ["conv1", "conv2", "conv3", "conv10", "conv1_bn", "fc-6", "conv", "block2_conv1"]


def read(text: str) -> Selector:
    return read_selector(text, HERE)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("conv1", ["conv1"]),
        ("conv*", ["conv1", "conv2", "conv3", "conv10", "conv1_bn", "conv"]),
        ("conv?", ["conv1", "conv2", "conv3"]),
        ("conv[1,3,5]", ["conv1", "conv3"]),
        ("conv[1, 2-3]", ["conv1", "conv2", "conv3"]),
        ("[fc-6,conv]", ["fc-6", "conv"]),
        ("*[1,2]", ["conv1", "conv2", "block2_conv1"]),
        ("block*($1)_conv?($2)", ["block2_conv1"]),
        ("*", NAMES),
        ("other", []),
    ],
)
def test_which_layers_a_selector_names(selector: str, names: list[str]) -> None:
    assert [name for name in NAMES if read(selector).match(name) is not None] == names


def test_captures_are_what_the_wildcards_stood_for() -> None:
    captured = read("block*($1)_conv[1,2]($2)").match("block12_conv1")
    assert captured == {1: "12", 2: "1"}
    assert fill("relu$1_of_$2", captured, HERE) == "relu12_of_1"
    assert read("*($1)v*($2)").match("avbvc") == {1: "a", 2: "bvc"}


@given(st.lists(st.sampled_from(["*", "?", "a", "b", "ab", "_", "-", "1"]), min_size=1, max_size=6))
def test_globs_are_those_of_files(parts: list[str]) -> None:
    if parts.count("*") > 4:
        return
    selector = "".join(parts)
    for name in ["a", "b", "ab", "ba", "aab", "a_b", "a-1", "ab1", "1", "_"]:
        assert (read(selector).match(name) is not None) == fnmatch.fnmatchcase(name, selector)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("", "the selector is empty"),
        ("conv($1)", '"($1)" in the selector "conv($1)" means nothing'),
        ("conv[1,", '"[1," in the selector "conv[1," means nothing'),
        ("conv[1,,2]", 'the list of the selector has ""'),
        ("conv[5-1]", '"5-1" in the selector is not a range of up to 1000 numbers'),
        ("*($1)*($1)", "the selector captures the same number twice"),
        ("*a*b*c*d*e", "the selector has more than 4 stars"),
        ("[1-900][1-900]", "the selector stands for more than 1000 names or patterns"),
        ("a b", '" b" in the selector "a b" means nothing'),
    ],
)
def test_what_is_no_selector(selector: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        read(selector)
    assert caught.value.message.startswith(message)


def test_a_capture_that_is_not_there_is_an_error() -> None:
    with pytest.raises(QueryError, match=r"\$2 is not captured by the selector"):
        fill("relu$2", {1: "a"}, HERE)
