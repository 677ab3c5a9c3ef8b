"""Errors: their parts, their codes, and the nearest of the names that are known."""

from __future__ import annotations

import pytest

from delc.server import errors
from delc.server.errors import DelcError, InvalidParameter, UndefinedObject, nearest, unknown


def test_an_error_prints_like_one_of_psql() -> None:
    error = DelcError("it broke", detail="All of it.", hint="Mend it.")
    assert str(error) == "it broke\nDETAIL: All of it.\nHINT: Mend it."
    assert str(DelcError("it broke")) == "it broke"


@pytest.mark.parametrize(
    ("name", "sqlstate"),
    [
        ("InvalidParameter", "22023"),
        ("InvalidData", "22000"),
        ("UndefinedObject", "42704"),
        ("DuplicateObject", "42710"),
        ("DependentObjects", "2BP01"),
        ("WrongState", "55000"),
        ("LimitExceeded", "54000"),
        ("InsufficientPrivilege", "42501"),
        ("DatatypeMismatch", "42804"),
    ],
)
def test_each_error_has_its_sqlstate(name: str, sqlstate: str) -> None:
    assert getattr(errors, name).sqlstate == sqlstate


@pytest.mark.parametrize(
    ("word", "match"),
    [("liner", "linear"), ("Conv2D", "conv2d"), ("max-pool", "max_pool"), ("xyzzy", None), ("", None)],
)
def test_nearest_ignores_case_and_separators(word: str, match: str | None) -> None:
    assert nearest(word, ["linear", "conv2d", "max_pool"]) == match


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    error = unknown("metric", "acuracy", ["f1", "accuracy"])
    assert isinstance(error, UndefinedObject)
    assert error.message == 'unknown metric "acuracy"'
    assert error.detail == "Known are: accuracy, f1."
    assert error.hint == 'Did you mean "accuracy"?'


def test_an_unknown_option_can_be_an_invalid_parameter() -> None:
    error = unknown("option", "x", [], kind=InvalidParameter, where="of train")
    assert isinstance(error, InvalidParameter)
    assert error.message == 'unknown option "x" of train'
    assert error.detail == "There are none."
    assert error.hint is None


def test_long_lists_of_known_names_are_cut() -> None:
    error = unknown("column", "x", [f"c{number:04}" for number in range(100)])
    assert error.detail is not None
    assert error.detail.endswith("and 40 more.")
