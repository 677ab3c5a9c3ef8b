"""What data sets and their versions are called: ``name`` for the head of the branch main, ``name@3`` for a certain
version, ``name@branch`` for the head of a branch, ``name@tag`` for what a tag names.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from delc.datasets.identifiers import NAME_BYTES
from delc.server.errors import InvalidParameter

MAIN = "main"
"""The branch that a data set begins with."""

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_LIKE_A_NUMBER = re.compile(r"[-+]?[0-9]+")


@dataclass(frozen=True)
class VersionName:
    """A version as the user named it: by its number, or by a branch or tag (``reference``); without either the head of
    main is meant.
    """

    dataset: str
    number: int | None
    reference: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it is a data set's name alone."""
        return self.number is None and self.reference is None


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


def check_new_reference(name: str | None, what: str) -> str:
    """A name for a new branch or tag (``what``); ``InvalidParameter`` says what is wrong with it."""
    if not name:
        raise InvalidParameter(f"a {what} needs a name")
    problem = _problem(name) or ("It would be read as a version's number." if _LIKE_A_NUMBER.fullmatch(name) else None)
    if problem is not None:
        raise InvalidParameter(
            f'invalid name "{name}" for a {what}',
            detail=problem,
            hint='Choose another name, such as "cleaned" or "2024 Q1".',
        )
    return name


def parse(text: str | None) -> VersionName:
    """What ``name``, ``name@number`` or ``name@reference`` says; ``InvalidParameter`` when it is none of them."""
    if not text:
        raise InvalidParameter("no data set was named", hint="Give a name, or a version as name@number.")
    name, sign, version = text.partition("@")
    if not sign:
        return VersionName(name, None)
    if name and _NUMBER.fullmatch(version):
        return VersionName(name, int(version))
    if not name or not version or _LIKE_A_NUMBER.fullmatch(version.strip()) or _problem(version):
        raise InvalidParameter(
            f'"{text}" does not name a version of a data set',
            detail="A version is called name@number, with numbers counted from 1, name@branch or name@tag;"
            " name alone is the head of branch main.",
        )
    return VersionName(name, None, version)


def parse_dataset(text: str | None, advice: str) -> str:
    """A data set's name, where no version is wanted; ``advice`` goes before the name in the hint."""
    parsed = parse(text)
    if not parsed.is_bare:
        raise InvalidParameter(f'"{text}" names a version', hint=f'{advice} "{parsed.dataset}".')
    return parsed.dataset


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
