"""Errors in a query, with the place: line, column, and a caret under it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from delc.server.errors import DelcError, nearest

WIDEST = 100
"""More characters of a line are not shown."""


class QueryError(DelcError):
    """The query is not one: a syntax error, or a name that does not exist where it stands."""

    sqlstate = "42601"


class UnknownName(QueryError):
    """An attribute, template, layer, metric or setting that is not known."""

    sqlstate = "42704"


class WrongValue(QueryError):
    """A value of another sort than its place takes."""

    sqlstate = "22023"


class TooLarge(QueryError):
    """The query is longer or deeper than any that a person writes."""

    sqlstate = "54000"


@dataclass(frozen=True)
class Place:
    """Where something stands: the text of its query and the position in it, counted from 0."""

    text: str
    at: int

    @property
    def line(self) -> int:
        """The line, from 1."""
        return self.text.count("\n", 0, self.at) + 1

    @property
    def column(self) -> int:
        """The character within the line, from 1."""
        return self.at - (self.text.rfind("\n", 0, self.at) + 1) + 1

    def picture(self) -> str:
        """The line, or the part of it around the place, with a caret under the place, as a terminal shows them."""
        start = self.text.rfind("\n", 0, self.at) + 1
        end = self.text.find("\n", start)
        line = self.text[start : len(self.text) if end < 0 else end]
        before = self.at - start
        skipped = max(0, before - WIDEST // 2)
        shown = line[skipped : skipped + WIDEST].rstrip("\r")
        indent = "".join("\t" if sign == "\t" else " " * _columns(sign) for sign in line[skipped:before])
        return f"{shown}\n{indent}^"


_UNSEEN = ("Mn", "Me", "Cf")
"""Categories of characters that take no column: marks above and around others, joiners and the like."""


def _columns(sign: str) -> int:
    """How many columns of a terminal a character takes (Unicode annex 11; wcwidth)."""
    if sign != "\u00ad" and (unicodedata.category(sign) in _UNSEEN or "\u1160" <= sign <= "\u11ff"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def problem(place: Place, message: str, *, hint: str | None = None, kind: type[QueryError] = QueryError) -> QueryError:
    """The error at a place, to be raised by the caller."""
    return kind(
        f"{message}, at line {place.line}, column {place.column} of the query",
        detail=f"The query, line {place.line}:\n{place.picture()}",
        hint=hint,
    )


def unknown_name(place: Place, what: str, word: str, known: Iterable[str]) -> QueryError:
    """The error for a name that is not known, with the nearest that is."""
    names = sorted(set(known))
    match = nearest(word, names)
    if match is not None:
        hint = f'Did you mean "{match}"?'
    elif names:
        listed = ", ".join(names[:40])
        hint = f"Known are: {listed}{f' and {len(names) - 40} more' if len(names) > 40 else ''}."
    else:
        hint = "There are none."
    return problem(place, f'unknown {what} "{word:.80}"', hint=hint, kind=UnknownName)
