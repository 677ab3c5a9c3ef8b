"""Reading SQL identifiers that came as text: ``public.customers``, ``region, "Customer No"``."""

from __future__ import annotations

import re

NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers off."""

_IDENTIFIER = re.compile(r'"(?:[^"\x00]|"")+"|[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*')
_SPACE = re.compile(r"\s*")
_CAPITALS = {ordinal: ordinal + 32 for ordinal in range(ord("A"), ord("Z") + 1)}


def split_identifiers(text: str, separator: str) -> list[str] | None:
    """The identifiers of ``text`` between separators, folded and unquoted as SQL does it; None where it is anything
    else.

    ``split_identifiers('Region, "Customer No"', ",")`` is ``["region", "Customer No"]``.
    """
    names: list[str] = []
    position = _after_space(text, 0)
    while match := _IDENTIFIER.match(text, position):
        names.append(_unquoted(match.group()))
        position = _after_space(text, match.end())
        if position == len(text):
            return names
        if text[position] != separator:
            return None
        position = _after_space(text, position + 1)
    return None


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _unquoted(written: str) -> str:
    """What an identifier means. Outside of quotes only ASCII letters are folded, as in a UTF-8 database."""
    name = written[1:-1].replace('""', '"') if written.startswith('"') else written.translate(_CAPITALS)
    return name.encode()[:NAME_BYTES].decode(errors="ignore")
