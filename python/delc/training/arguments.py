"""Reading option values strictly: each reader takes a name and a value, and gives the value checked or raises.

Values come from SQL: numbers may be ``int``, ``float`` or ``Decimal``, structures are decoded JSON. A boolean is not a
number here, and a text is never turned into one. Every error carries the name, the value and what is allowed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from delc.server.errors import DelcError, InvalidParameter, unknown

Reader: TypeAlias = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Argument:
    """One argument of an optimiser, schedule or loss: how its value is read, and its default."""

    read: Reader
    default: Any


def refuse(name: str, value: Any, allowed: str) -> DelcError:
    """The error for a value out of its range: ``learning_rate is -1; it must be a finite number > 0``."""
    return InvalidParameter(f"{name} is {shown(value)}; it must be {allowed}")


def shown(value: Any) -> str:
    """The value as a message shows it: as SQL users write it, cut at 60 characters."""
    text = str(value) if isinstance(value, Decimal) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def number(
    *, above: float | None = None, low: float | None = None, below: float | None = None, high: float | None = None
) -> Reader:
    """A finite number: ``above`` and ``below`` are limits that it must not reach, ``low`` and ``high`` ones it may."""
    allowed = "a finite number" + _limits(above, low, below, high)

    def read(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise refuse(name, value, allowed)
        converted = _as_float(value)
        outside = (
            not math.isfinite(converted)
            or (above is not None and converted <= above)
            or (low is not None and converted < low)
            or (below is not None and converted >= below)
            or (high is not None and converted > high)
        )
        if outside:
            raise refuse(name, value, allowed)
        return converted

    return read


def integer(low: int, high: int) -> Reader:
    """A whole number from ``low`` to ``high``; 3.0 is taken as 3."""
    allowed = f"a whole number from {low} to {high}"

    def read(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise refuse(name, value, allowed)
        if not isinstance(value, int) and (not math.isfinite(value) or value != int(value)):
            raise refuse(name, value, allowed)
        if not low <= int(value) <= high:
            raise refuse(name, value, allowed)
        return int(value)

    return read


def boolean(name: str, value: Any) -> bool:
    """A truth value: true or false, no number or text in its place."""
    if not isinstance(value, bool):
        raise refuse(name, value, "true or false")
    return value


def listing(item: Reader, *, least: int = 1, most: int | None = None) -> Reader:
    """A list whose items are read by ``item``, of ``least`` to ``most`` items; given back as a list."""

    def read(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or len(value) < least or (most is not None and len(value) > most):
            count = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
            raise refuse(name, value, f"a list of {count} values" if (least, most) != (0, None) else "a list")
        return [item(f"{name}[{position}]", entry) for position, entry in enumerate(value)]

    return read


def optional(reader: Reader) -> Reader:
    """Read by ``reader``, or null."""
    return lambda name, value: None if value is None else reader(name, value)


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A JSON object; a text that holds one is decoded."""
    decoded = decode(name, value)
    if not isinstance(decoded, Mapping) or not all(isinstance(key, str) for key in decoded):
        raise refuse(name, value, "a JSON object")
    return dict(decoded)


def decode(name: str, value: Any) -> Any:
    """JSON structures that arrive as text are decoded; every other value, a plain word too, stays as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise InvalidParameter(f"{name} is not valid JSON: {shown(value)}", detail=str(error)) from error
    except RecursionError:
        raise InvalidParameter(f"{name} nests too deep: {shown(value)}") from None


def arguments(where: str, given: Mapping[str, Any], known: Mapping[str, Argument]) -> dict[str, Any]:
    """All ``known`` arguments, read from ``given`` or their defaults. ``where`` ends errors: 'of optimizer "sgd"'."""
    for name in given:
        if name not in known:
            raise unknown("argument", name, known, kind=InvalidParameter, where=where)
    return {
        name: argument.read(f"{name} {where}", given[name]) if name in given else argument.default
        for name, argument in known.items()
    }


def choice(what: str, value: Any, known: Mapping[str, Mapping[str, Argument]]) -> dict[str, Any]:
    """A name, or an object with a "name" and arguments, as an object with the name and all arguments filled in."""
    decoded = decode(what, value)
    given: dict[str, Any] = {"name": decoded} if isinstance(decoded, str) else {}
    if isinstance(decoded, Mapping):
        given = dict(decoded)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise refuse(what, value, 'a name, or an object with a "name" and its arguments')
    if name not in known:
        raise unknown(what, name, known, kind=InvalidParameter)
    return {"name": name, **arguments(f'of {what} "{name}"', given, known[name])}


def _as_float(value: int | float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _limits(above: float | None, low: float | None, below: float | None, high: float | None) -> str:
    limits = [
        f"{sign} {limit:g}"
        for sign, limit in ((">", above), (">=", low), ("<", below), ("<=", high))
        if limit is not None
    ]
    return (" " + " and ".join(limits)) if limits else ""
