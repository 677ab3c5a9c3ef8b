"""Reading names that users write as text."""

from __future__ import annotations

import pytest

from delc.datasets.identifiers import split_identifiers


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id", ["id"]),
        ("Region , ID", ["region", "id"]),
        ('"Customer No", id', ["Customer No", "id"]),
        ('"say ""so"""', ['say "so"']),
        ("größe", ["größe"]),
        ('"a,b"', ["a,b"]),
        ("_x$1", ["_x$1"]),
    ],
)
def test_names_are_folded_and_unquoted_as_sql_does(text: str, names: list[str]) -> None:
    assert split_identifiers(text, ",") == names


@pytest.mark.parametrize("text", ["", " ", "a b", "a,", ",a", "1a", '"a', '""', "a;b", "SELECT 1", "a.b"])
def test_other_texts_are_no_names(text: str) -> None:
    assert split_identifiers(text, ",") is None


def test_long_names_are_cut_where_postgresql_cuts_them() -> None:
    assert split_identifiers("ü" * 40, ",") == ["ü" * 31]
