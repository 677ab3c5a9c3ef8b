"""The parser on anything at all: it gives a query or an error with a place, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from delc.dql.parser import parse
from delc.dql.problems import QueryError
from delc.dql.syntax import Construct, Dimension, Evaluate, Literal, Select, Slice
from support.alexnets import QUERY_1, QUERY_2, QUERY_3, QUERY_4

WORDS = [
    "select", "slice", "construct", "evaluate", "from", "where", "mutate", "with", "config", "vary", "keep", "top",
    "and", "or", "not", "has", "like", "in", "is", "null", "exists", "order", "by", "desc", "limit", "explain", "auto",
    "range",
    "log_range", "as", "after", "true", "false", "insert", "delete", "replace", "next", "prev",
    "m", "m1", "m2", "name", "conv1", "RELU", "POOL", "loss", "1", "2.5", "1e9", "-3",
    "(", ")", "[", "]", ".", ",", "=", "<>", "<", "<=", ">", ">=", ";", "*", "--", "/*", "*/",
    '"conv*"', '"conv[1,3]"', "'it''s'", '""', "\n", "\t", "ß", "$1", '"',
]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
@example("select m where not " * 50)
@example("evaluate m from (" * 45)
@example('select m where m["a"]' + ".next" * 40)
@example("select m where m.a = 1e999")
def test_any_words_are_a_query_or_an_error_with_its_place(text: str) -> None:
    check(text)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_query_or_an_error_with_its_place(text: str) -> None:
    check(text)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([QUERY_1, QUERY_2, QUERY_3, QUERY_4]), st.data())
def test_published_queries_with_a_piece_cut_out_or_doubled(query: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(query)))
    end = data.draw(st.integers(start, len(query)))
    check(query[:start] + query[end:])
    check(query[:end] + query[start:])


def check(text: str) -> None:
    try:
        found: object = parse(text).query
    except QueryError as error:
        found = error
    if isinstance(found, QueryError):
        assert found.detail is None or "^" in found.detail
    else:
        assert isinstance(found, Select | Slice | Construct | Evaluate)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("in [0.1, 'a', true, -3]", [0.1, "a", True, -3]),
        ("in range(16, 64, 16)", [16, 32, 48, 64]),
        ("in range(1, 0.5, -0.25)", [1, 0.75, 0.5]),
        ("in log_range(0.001, 1, 4)", [0.001, 0.01, 0.1, 1]),
        ("auto", None),
        ("auto(0.1, 0.5)", None),
    ],
)
def test_dimensions(written: str, values: list[object] | None) -> None:
    query = parse(f'evaluate m from n with config = "c" vary config.x {written}').query
    assert isinstance(query, Evaluate)
    (dimension,) = query.vary
    assert isinstance(dimension, Dimension)
    assert (None if dimension.values is None else [each.value for each in dimension.values]) == values
    assert dimension.bounds == ((0.1, 0.5) if "(0.1" in written and values is None else None)


def test_strings_are_trimmed_and_quotes_are_doubled() -> None:
    query = parse("select m where m.name = ' it''s \" ' ").query
    assert isinstance(query, Select)
    assert isinstance(query.where.right, Literal)  # type: ignore[union-attr]
    assert query.where.right.value == "it's \""  # type: ignore[union-attr]
