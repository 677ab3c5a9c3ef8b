"""PostgreSQL's text form of a one-dimensional array of texts, such as ``{a,b,"c d"}``."""

from __future__ import annotations

import re
from collections.abc import Iterable

# White space is what PostgreSQL takes for it in arrays: the ASCII characters only.
_BOUNDS = re.compile(r"\[-?\d+:-?\d+\]=", re.ASCII)
_ELEMENT = re.compile(
    r'"((?:[^"\\]|\\.)*)"|((?:[^\s{}",\\]|\\.)(?:(?:[^{}",\\]|\\.)*(?:[^\s{}",\\]|\\.))?)', re.DOTALL | re.ASCII
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(r'[^\s{}",\\]+', re.ASCII)


def parse_array(text: str) -> list[str | None]:
    """The elements of an array; NULL is None. Raises ``ValueError`` for anything but one dimension written as
    PostgreSQL writes it.
    """
    body = text[match.end() :] if (match := _BOUNDS.match(text)) else text
    if len(body) < 2 or body[0] != "{" or body[-1] != "}":
        raise ValueError("not an array")
    elements: list[str | None] = []
    place, end = 1, len(body) - 1
    while place < end:
        found = _ELEMENT.match(body, place, end)
        if not found:
            raise ValueError("not an array of one dimension")
        elements.append(_element(found))
        place = found.end()
        if place == end:
            return elements
        if body[place] != "," or place + 1 == end:
            raise ValueError("not an array of one dimension")
        place += 1
    return elements


def _element(found: re.Match[str]) -> str | None:
    quoted, plain = found.groups()
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted)
    return None if plain.upper() == "NULL" else _ESCAPE.sub(r"\1", plain)


def format_array(elements: Iterable[str]) -> str:
    """The text form of an array of these elements, which PostgreSQL reads back unchanged."""
    return "{" + ",".join(_formatted(element) for element in elements) + "}"


def _formatted(element: str) -> str:
    if _PLAIN.fullmatch(element) and element.upper() != "NULL":
        return element
    return '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'
