"""The settings of each kind of feature: what they are called, what is allowed, what holds when nothing is said.

A kind's settings are one frozen data class; each field carries the rule that its value must follow, so that an option
given by a user and a document read back from the database are checked by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from delc.server.errors import InvalidParameter, nearest, unknown

MOST_ELEMENTS = 100_000_000
"""No input of one row may be wider than this."""


class Refused(Exception):
    """A value breaks a rule; the text says what is allowed."""


Rule = Callable[[Any], Any]
"""Returns the value in its stored form, or raises ``Refused``."""


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


def _choice(*allowed: str) -> Any:
    """One of the words allowed; the first is the default."""

    def rule(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            near = nearest(value, allowed) if isinstance(value, str) else None
            raise Refused(f"Allowed are: {', '.join(allowed)}." + (f' Did you mean "{near}"?' if near else ""))
        return value

    return _setting(allowed[0], rule)


def _whole(default: int | None, low: int, high: int) -> Any:
    """A whole number from ``low`` to ``high``; with the default None, null leaves the choice to the program."""

    def rule(value: Any) -> int | None:
        if value is None and default is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Refused(f"Allowed are whole numbers from {low} to {high}.")
        return value

    return _setting(default, rule)


def _shape() -> Any:
    def rule(value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        whole = isinstance(value, (list, tuple)) and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
        if not whole or not 1 <= len(value) <= 8 or min(value) < 1 or _product(value) > MOST_ELEMENTS:
            raise Refused(
                "Allowed is an array of 1 to 8 positive whole numbers, such as [1, 28, 28] (channels, height, width)."
            )
        return tuple(value)

    return _setting(None, rule)


def _product(numbers: list[int] | tuple[int, ...]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def _input_name() -> Any:
    def rule(value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or not value or len(value) > 200):
            raise Refused("Allowed is the name of a network input, 1 to 200 characters.")
        return value

    return _setting(None, rule)


DATE_PARTS = ("seconds", "year", "month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute")


def _parts() -> Any:
    def rule(value: Any) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not value or len(set(map(str, value))) != len(value):
            raise Refused(f"Allowed is an array of different parts out of: {', '.join(DATE_PARTS)}.")
        for part in value:
            if part not in DATE_PARTS:
                raise Refused(f'There is no part "{part}"; the parts are: {", ".join(DATE_PARTS)}.')
        return tuple(value)

    return _setting(None, rule)


@dataclass(frozen=True)
class NumericSettings:
    """``standardize``: mean 0 and standard deviation 1, the range 0 to 1, or as it is. ``missing``: what stands in
    for NULL and NaN. ``input``: the network input that the column belongs to (default "input").
    """

    standardize: str = _choice("standard", "minmax", "none")
    missing: str = _choice("error", "mean", "zero", "most_frequent")
    input: str | None = _input_name()


@dataclass(frozen=True)
class BooleanSettings:
    """0 and 1 as they are unless ``standardize`` says otherwise; ``missing`` and ``input`` as for numbers."""

    standardize: str = _choice("none", "standard")
    missing: str = _choice("error", "mean", "zero", "most_frequent")
    input: str | None = _input_name()


@dataclass(frozen=True)
class CategoricalSettings:
    """``encoding``: one_hot (part of a float input) or embedding (an int64 input of its own, learned vectors of
    ``dimensions`` numbers).

    ``unseen``: a value that training did not see becomes "unknown" (all zeros or the bucket of rare values), or is an
    error. ``missing``: NULL is an error, a category of its own, or the most frequent value. Only values met
    ``min_count`` times, and of these the ``max_categories`` most frequent (default 1,000 for one_hot, 100,000 for
    embedding), get a place of their own; the others share "unknown".
    """

    encoding: str = _choice("one_hot", "embedding")
    dimensions: int | None = _whole(None, 1, 4096)
    unseen: str = _choice("unknown", "error")
    missing: str = _choice("error", "category", "most_frequent")
    max_categories: int | None = _whole(None, 1, 10_000_000)
    min_count: int = _whole(1, 1, 1_000_000_000)
    input: str | None = _input_name()


@dataclass(frozen=True)
class DatetimeSettings:
    """``parts``: which numbers are made of a moment, each a place in the float input (cyclic parts two: sine and
    cosine).

    "seconds" and "year" grow for ever and are standardised as ``standardize`` says; the others are cyclic, in UTC.
    Default: for dates seconds, month, day_of_week; for timestamps hour as well; for times of day hour.
    """

    parts: tuple[str, ...] | None = _parts()
    standardize: str = _choice("standard", "minmax", "none")
    missing: str = _choice("error", "mean", "most_frequent")
    input: str | None = _input_name()


@dataclass(frozen=True)
class ArraySettings:
    """``shape``: one row's shape (default: the dimensions that the values have). ``standardize`` with statistics
    ``per`` element, per channel (the first dimension) or over all elements; default: per channel from three
    dimensions on, per element below. ``missing``: what stands in for NULL and NaN elements (a NULL array is all of
    them).
    """

    shape: tuple[int, ...] | None = _shape()
    standardize: str = _choice("standard", "minmax", "none")
    per: str | None = _setting(None, lambda value: _per(value))
    missing: str = _choice("error", "mean", "zero")
    input: str | None = _input_name()


@dataclass(frozen=True)
class ImageSettings:
    """Values from 0 to 255, divided by 255, then standardised as for arrays. ``missing``: a NULL is an error or a
    black image.
    """

    shape: tuple[int, ...] | None = _shape()
    standardize: str = _choice("standard", "minmax", "none")
    per: str | None = _setting(None, lambda value: _per(value))
    missing: str = _choice("error", "zero")
    input: str | None = _input_name()


@dataclass(frozen=True)
class TextSettings:
    """Lower-cased words as an int64 input of ``length`` token ids (default: the longest text's, at most 256): 0 is
    padding, 1 a word that is not in the vocabulary. The vocabulary holds the ``max_size`` most frequent words met at
    least ``min_count`` times. ``dimensions`` of the learned embedding. ``missing``: a NULL is an error or an empty
    text.
    """

    length: int | None = _whole(None, 1, 100_000)
    max_size: int = _whole(20_000, 1, 10_000_000)
    min_count: int = _whole(1, 1, 1_000_000_000)
    dimensions: int | None = _whole(None, 1, 4096)
    missing: str = _choice("error", "empty")
    input: str | None = _input_name()


@dataclass(frozen=True)
class TokensSettings:
    """Arrays of token ids, 0 to ``size`` - 1 (default: as many as the training rows show), as an int64 input.
    ``missing``: a NULL is an error or token 0.
    """

    size: int | None = _whole(None, 1, 100_000_000)
    dimensions: int | None = _whole(None, 1, 4096)
    missing: str = _choice("error", "zero")
    input: str | None = _input_name()


def _per(value: Any) -> str | None:
    if value not in (None, "element", "channel", "all"):
        raise Refused("Allowed are: element, channel, all.")
    return None if value is None else str(value)


Settings = (
    NumericSettings
    | BooleanSettings
    | CategoricalSettings
    | DatetimeSettings
    | ArraySettings
    | ImageSettings
    | TextSettings
    | TokensSettings
)

KINDS: dict[str, type[Settings]] = {
    "numeric": NumericSettings,
    "boolean": BooleanSettings,
    "categorical": CategoricalSettings,
    "datetime": DatetimeSettings,
    "array": ArraySettings,
    "image": ImageSettings,
    "text": TextSettings,
    "tokens": TokensSettings,
}


def setting_names(kind: str) -> tuple[str, ...]:
    """The names of a kind's settings."""
    return tuple(item.name for item in fields(KINDS[kind]))


def accepts(kind: str, name: str, value: Any) -> bool:
    """Whether a kind has the setting and allows the value."""
    rules = _rules(kind)
    if name not in rules:
        return False
    try:
        rules[name](value)
    except Refused:
        return False
    return True


def parse_settings(kind: str, given: Mapping[str, Any], column: str) -> Settings:
    """Settings of one column from what the user gave. Raises an error that names the column, the setting, the value
    and what is allowed.
    """
    rules = _rules(kind)
    values = {}
    for name, value in given.items():
        if name not in rules:
            raise unknown("option", name, rules, kind=InvalidParameter, where=f'of column "{column}", which is {kind}')
        try:
            values[name] = rules[name](value)
        except Refused as refusal:
            raise InvalidParameter(
                f'option "{name}" of column "{column}", which is {kind}, cannot be {value!r}', detail=str(refusal)
            ) from None
    return KINDS[kind](**values)


def settings_json(settings: Settings) -> dict[str, Any]:
    """The settings as a JSON object, those at their default included."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def _rules(kind: str) -> dict[str, Rule]:
    return {item.name: item.metadata["rule"] for item in fields(KINDS[kind])}
