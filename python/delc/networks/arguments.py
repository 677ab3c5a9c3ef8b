"""The arguments of layers and architectures: their types, what is allowed, and the errors that say so.

A value comes from JSON. An argument's type accepts it in the forms that people write and returns one canonical form,
so that two definitions that mean the same compare as equal.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from delc.server.errors import InvalidParameter, unknown

MOST = 2**31 - 1
"""The largest integer that an argument may have; torch's own sizes are 64-bit, so that products of two still fit."""

MOST_ELEMENTS_OF_A_LIST = 1000


class NotAllowed(ValueError):
    """A value is not one that the argument's type accepts; the caller knows the argument's name and makes the error."""


class ArgumentType(Protocol):
    """What an argument may be."""

    @property
    def allowed(self) -> str:
        """The values that are accepted, as words that complete "allowed is …"."""

    def accept(self, value: Any) -> Any:
        """The canonical form of ``value``; ``NotAllowed`` when it is none of the allowed ones."""


@dataclass(frozen=True)
class Integer:
    """A whole number within bounds, both included. Numbers such as 3.0 count: JSON does not tell them apart."""

    least: int = 1
    most: int = MOST

    @property
    def allowed(self) -> str:
        if self.most >= MOST:
            return f"an integer of at least {self.least}" if self.least > -MOST else "an integer"
        return f"an integer from {self.least} to {self.most}"

    def accept(self, value: Any) -> int:
        whole = _whole(value)
        if not self.least <= whole <= self.most:
            raise NotAllowed
        return whole


@dataclass(frozen=True)
class Real:
    """A finite number within bounds; ``above`` and ``below`` exclude the bound itself."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    @property
    def allowed(self) -> str:
        bounds = [
            (self.least > -math.inf, f"at least {self.least:g}"),
            (self.above > -math.inf, f"more than {self.above:g}"),
            (self.most < math.inf, f"at most {self.most:g}"),
            (self.below < math.inf, f"less than {self.below:g}"),
        ]
        words = " and ".join(text for applies, text in bounds if applies)
        return f"a number of {words}" if words else "a finite number"

    def accept(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotAllowed
        try:
            number = float(value)
        except OverflowError:
            raise NotAllowed from None
        inside = self.least <= number <= self.most and self.above < number < self.below
        if not (math.isfinite(number) and inside):
            raise NotAllowed
        return number


@dataclass(frozen=True)
class Boolean:
    """true or false."""

    @property
    def allowed(self) -> str:
        return "true or false"

    def accept(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise NotAllowed
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(f'"{word}"' for word in self.words)

    def accept(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise NotAllowed
        return value


@dataclass(frozen=True)
class Text:
    """A name: any string of up to 63 bytes that is not empty."""

    @property
    def allowed(self) -> str:
        return "a name"

    def accept(self, value: Any) -> str:
        if not isinstance(value, str) or not value or len(value.encode("utf-8", "replace")) > 63:
            raise NotAllowed
        return value


@dataclass(frozen=True)
class ListOf:
    """A list whose elements are of one type; the canonical form is a Python list."""

    element: ArgumentType
    least: int = 1
    most: int = MOST_ELEMENTS_OF_A_LIST

    @property
    def allowed(self) -> str:
        if self.least == self.most:
            count = f"{self.least}"
        else:
            count = f"at least {self.least}" if self.most >= MOST_ELEMENTS_OF_A_LIST else f"{self.least} to {self.most}"
        return f"a list of {count}, each {self.element.allowed}"

    def accept(self, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            raise NotAllowed
        return [self.element.accept(element) for element in value]


@dataclass(frozen=True)
class PerDimension:
    """One integer for all dimensions, or a list with one for each. Canonical: the integer where all are equal."""

    dimensions: int
    least: int = 1

    @property
    def allowed(self) -> str:
        one = Integer(self.least).allowed
        return one if self.dimensions == 1 else f"{one}, or a list of {self.dimensions} of them"

    def accept(self, value: Any) -> int | list[int]:
        one = Integer(self.least)
        if not isinstance(value, list | tuple):
            return one.accept(value)
        if len(value) != self.dimensions:
            raise NotAllowed
        sizes = [one.accept(size) for size in value]
        return sizes[0] if len(set(sizes)) == 1 else sizes


@dataclass(frozen=True)
class Either:
    """A value of one of several types; the first that accepts it counts."""

    types: tuple[ArgumentType, ...]

    @property
    def allowed(self) -> str:
        return ", or ".join(each.allowed for each in self.types)

    def accept(self, value: Any) -> Any:
        for each in self.types:
            try:
                return each.accept(value)
            except NotAllowed:
                continue
        raise NotAllowed


class _Marker:
    """A default that is not a value."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


REQUIRED = _Marker("required")
INFERRED = _Marker("inferred")


@dataclass(frozen=True)
class Argument:
    """One argument of a layer kind or an architecture.

    ``default`` is REQUIRED (must be given), INFERRED (filled in from what arrives at the layer, and checked against it
    when given), or a value. A default of None means that the argument may be absent: JSON's null is accepted too.
    ``nullable``: null is another value, not the default.
    """

    name: str
    type: ArgumentType
    text: str
    default: Any = REQUIRED
    nullable: bool = False

    @property
    def may_be_null(self) -> bool:
        return self.nullable or self.default is None or self.default is INFERRED


def accept_given(owner: str, known: Sequence[Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments given, checked and in canonical form; what was not given is not added.

    ``owner`` stands in errors for whose arguments they are: 'layer "fc1" (linear)'. Unknown names and values that are
    not allowed raise ``InvalidParameter``.
    """
    by_name = {argument.name: argument for argument in known}
    accepted = {}
    for name, value in given.items():
        if name not in by_name:
            raise unknown("argument", shorten_name(name), by_name, kind=InvalidParameter, where=f"of {owner}")
        accepted[name] = _accept(owner, by_name[name], value)
    return accepted


def complete(owner: str, known: Sequence[Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments in the order in which the kind declares them: given ones checked, defaults filled in.

    Arguments that are inferred and were not given are None. A required one that is missing is an ``InvalidParameter``.
    """
    accepted = accept_given(owner, known, given)
    values = {}
    for argument in known:
        if argument.name not in accepted and argument.default is REQUIRED:
            raise InvalidParameter(
                f'{owner} needs the argument "{argument.name}"',
                detail=f"{argument.name}: {argument.text}; allowed is {argument.type.allowed}.",
            )
        default = None if argument.default is INFERRED else argument.default
        values[argument.name] = accepted.get(argument.name, default)
    return values


def shorten(value: Any) -> str:
    """A value as an error shows it: like JSON, and cut where it is long or deep."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return _short.repr(value).replace("'", '"')
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number too long to show"


def shorten_name(name: object) -> str:
    """A name as an error shows it inside double quotes."""
    text = name if isinstance(name, str) else shorten(name)
    return text if len(text) <= 80 else text[:77] + "..."


def _accept(owner: str, argument: Argument, value: Any) -> Any:
    if value is None and argument.may_be_null:
        return None
    try:
        return argument.type.accept(value)
    except NotAllowed:
        or_null = ", or null" if argument.default is None or argument.nullable else ""
        raise InvalidParameter(
            f'argument "{argument.name}" of {owner} is {shorten(value)}',
            detail=f"Allowed is {argument.type.allowed}{or_null}.",
            hint=f"{argument.name}: {argument.text}.",
        ) from None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAllowed
    if isinstance(value, float) and not value.is_integer():
        raise NotAllowed
    return int(value)


_short = reprlib.Repr()
_short.maxlevel = 3
_short.maxlong = 40
_short.maxstring = 60
