"""What data sets and their versions are called: ``name`` for the latest version, ``name@3`` for a certain one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from delc.datasets.identifiers import NAME_BYTES
from delc.server.errors import InvalidParameter

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class VersionName:
    """A version as the user named it; without a number the latest is meant."""

    dataset: str
    number: int | None


def check_new(name: str | None) -> str:
    """A name for a new data set; ``InvalidParameter`` says what is wrong with it."""
    if not name:
        raise InvalidParameter("a data set needs a name")
    problem = _problem(name)
    if problem is not None:
        raise InvalidParameter(
            f'invalid data set name "{name}"',
            detail=problem,
            hint='Choose another name, such as "digits" or "sales 2024".',
        )
    return name


def parse(text: str | None) -> VersionName:
    """The data set and number of ``name`` or ``name@number``; ``InvalidParameter`` when it is neither."""
    if not text:
        raise InvalidParameter("no data set was named", hint="Give a name, or a version as name@number.")
    name, sign, number = text.partition("@")
    if not sign:
        return VersionName(name, None)
    if not name or not _NUMBER.fullmatch(number):
        raise InvalidParameter(
            f'"{text}" does not name a version of a data set',
            detail="A version is called name@number, with numbers counted from 1; name alone is the latest.",
        )
    return VersionName(name, int(number))


def _problem(name: str) -> str | None:
    if len(name.encode()) > NAME_BYTES:
        return f"It has {len(name.encode())} bytes; at most {NAME_BYTES} are allowed."
    if "@" in name:
        return "The sign @ stands between a name and a version's number."
    if name != name.strip():
        return "It begins or ends with a blank."
    if any(unicodedata.category(sign) == "Cc" for sign in name):
        return "It contains a control character."
    return None
