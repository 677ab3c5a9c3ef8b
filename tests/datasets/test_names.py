"""What data sets and versions may be called."""

from __future__ import annotations

import pytest

from delc.datasets.names import VersionName, check_new, check_new_reference, parse
from delc.server.errors import InvalidParameter


@pytest.mark.parametrize("name", ["digits", "Sales 2024", 'it\'s "quoted"', "größe", "日本語", "a" * 63, "x;y--z"])
def test_a_name_may_have_any_printable_sign(name: str) -> None:
    assert check_new(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a@1", "sign @"),
        (" a", "blank"),
        ("a ", "blank"),
        ("a\nb", "control character"),
        ("ü" * 32, "64 bytes"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(name: str, problem: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid data set name") as error:
        check_new(name)
    assert problem in str(error.value)


@pytest.mark.parametrize("name", [None, ""])
def test_a_data_set_needs_a_name(name: str | None) -> None:
    with pytest.raises(InvalidParameter, match="needs a name"):
        check_new(name)


def test_a_name_alone_is_the_latest_version() -> None:
    assert parse("digits") == VersionName("digits", None)


def test_a_version_has_its_number_after_the_sign() -> None:
    assert parse("Sales 2024@17") == VersionName("Sales 2024", 17)


def test_a_branch_or_tag_stands_where_a_number_could() -> None:
    assert parse("Sales 2024@Q1 cleaned") == VersionName("Sales 2024", None, "Q1 cleaned")


@pytest.mark.parametrize("name", ["", "7", "-1", "a@b", " a", "a" * 64])
def test_a_branch_has_a_name_that_is_no_number(name: str) -> None:
    with pytest.raises(InvalidParameter, match="branch"):
        check_new_reference(name, "branch")


@pytest.mark.parametrize("text", ["a@", "a@0", "@1", "a@+3", "a@1@2", "a@-1", "a@1 ", "a@99999999999"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="does not name a version"):
        parse(text)
