"""The errors that this package raises for its users, each with the SQLSTATE that PostgreSQL reports.

This module imports nothing of the server, so that every room can raise its errors and be tested outside of it.

Style: the message is lower case, names what was wrong and carries the value; the detail says what is allowed;
the hint says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES_LISTED = 60
"""More known names than this are not listed in a hint: nobody reads them."""


class DelcError(Exception):
    """An error to be shown to the user, with the three parts of a PostgreSQL error.

    ``sqlstate`` is the five-character code that PostgreSQL reports; subclasses set it.
    """

    sqlstate = "XX000"

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        """Message, detail and hint, one to a line, as psql prints them."""
        lines = [self.message]
        if self.detail:
            lines.append(f"DETAIL: {self.detail}")
        if self.hint:
            lines.append(f"HINT: {self.hint}")
        return "\n".join(lines)


class InvalidParameter(DelcError):
    """An argument or option has a value that is not allowed."""

    sqlstate = "22023"


class InvalidData(DelcError):
    """Rows hold something that cannot be used, such as a NULL or a NaN."""

    sqlstate = "22000"


class UndefinedObject(DelcError):
    """Something was named that does not exist."""

    sqlstate = "42704"


class DuplicateObject(DelcError):
    """Something of that name exists already."""

    sqlstate = "42710"


class DependentObjects(DelcError):
    """Something cannot be dropped because other things depend on it."""

    sqlstate = "2BP01"


class WrongState(DelcError):
    """The object exists but is not in the state that the operation needs."""

    sqlstate = "55000"


class OutOfMemory(DelcError):
    """The system gave no more memory."""

    sqlstate = "53200"


class LimitExceeded(DelcError):
    """A limit, such as ``delc.memory_limit``, would be passed."""

    sqlstate = "54000"


class DamagedData(DelcError):
    """What is stored is not what was stored."""

    sqlstate = "XX001"


class Conflict(DelcError):
    """Another transaction changed meanwhile what this one works on; it can be tried again."""

    sqlstate = "40001"


class InsufficientPrivilege(DelcError):
    """The caller may not do this."""

    sqlstate = "42501"


class DatatypeMismatch(DelcError):
    """A column or value has a type that cannot be used here."""

    sqlstate = "42804"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like ``word``, or None when none is close. Case and the signs ``-``, ``_`` do not count."""
    names = {_folded(name): name for name in known}
    matches = difflib.get_close_matches(_folded(word), names, n=1, cutoff=0.6)
    return names[matches[0]] if matches else None


def unknown(
    what: str, word: str, known: Iterable[str], *, kind: type[DelcError] = UndefinedObject, where: str = ""
) -> DelcError:
    """The error for a name that is not known: ``unknown layer kind "liner"``, the known names, the nearest one.

    ``what`` names the sort of thing in the singular; ``where`` is put after the name ('of layer "fc1"').
    The caller raises what is returned; ``kind`` chooses its class, and by that its SQLSTATE.
    """
    names = sorted(set(known))
    place = f" {where}" if where else ""
    return kind(f'unknown {what} "{word}"{place}', detail=_known(names), hint=_hint(word, names))


def _known(names: list[str]) -> str:
    if not names:
        return "There are none."
    listed = ", ".join(names[:MOST_NAMES_LISTED])
    left = len(names) - MOST_NAMES_LISTED
    return f"Known are: {listed}{f', and {left} more' if left > 0 else ''}."


def _hint(word: str, names: list[str]) -> str | None:
    match = nearest(word, names)
    return None if match is None else f'Did you mean "{match}"?'


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")
