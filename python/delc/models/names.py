"""How a version of a model is named: ``name``, ``name@7`` or ``name@alias``; ``#epoch`` after it names a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from delc.server.errors import InvalidParameter, unknown

LONGEST_NAME = 63
DEFAULT_ALIAS = "default"

BEST, LATEST = "best", "latest"
"""Snapshots by what they are: the one with the lowest loss, and the one that was taken last."""


@dataclass(frozen=True)
class ModelName:
    """A model's name, the number or alias of a version, and a snapshot (an epoch, BEST or LATEST) where given."""

    model: str
    number: int | None = None
    alias: str | None = None
    snapshot: int | str | None = None

    @property
    def version(self) -> str:
        """The name without the snapshot."""
        suffix = self.alias if self.number is None else str(self.number)
        return self.model if suffix is None else f"{self.model}@{suffix}"

    @property
    def is_whole(self) -> bool:
        """Whether it names the model, and no version or snapshot of it."""
        return self.number is None and self.alias is None and self.snapshot is None

    def __str__(self) -> str:
        return self.version if self.snapshot is None else f"{self.version}#{self.snapshot}"


def parse(text: str | None) -> ModelName:
    """Reads ``name``, ``name@7`` or ``name@alias``, each with ``#5``, ``#best`` or ``#latest`` or without.

    Raises ``InvalidParameter`` for anything else.
    """
    if text is None:
        raise InvalidParameter("the model is NULL", hint="Name a model: name, name@7 or name@alias.")
    version, sign, snapshot = text.partition("#")
    name, at, suffix = version.partition("@")
    check_name("model", name)
    taken = _snapshot(snapshot) if sign else None
    if not at:
        return ModelName(name, snapshot=taken)
    if suffix.isdecimal() and suffix.isascii():
        return ModelName(name, number=_number("version", suffix), snapshot=taken)
    check_name("alias", suffix)
    return ModelName(name, alias=suffix, snapshot=taken)


def _snapshot(text: str) -> int | str:
    if text.isdecimal() and text.isascii():
        return _number("epoch", text)
    if text in (BEST, LATEST):
        return text
    raise unknown("snapshot", text, ["the epoch after which it was taken", BEST, LATEST], kind=InvalidParameter)


def _number(what: str, digits: str) -> int:
    if len(digits.lstrip("0")) > 9:
        raise InvalidParameter(f"{what} {digits:.40} is too large", detail="Numbers have up to nine digits.")
    return int(digits)


def check_name(what: str, name: str | None) -> None:
    """Raises ``InvalidParameter`` unless ``name`` can name a model or an alias."""
    if name is None:
        raise InvalidParameter(f"the {what} is NULL")
    if not name or name != name.strip() or {"@", "#"} & set(name) or len(name.encode()) > LONGEST_NAME:
        raise InvalidParameter(
            f'"{name}" cannot be the name of {"an" if what == "alias" else "a"} {what}',
            detail=f"A name has 1 to {LONGEST_NAME} bytes, no @ or #, and no blanks at its ends; this one has"
            f" {len(name.encode())} bytes.",
            hint='Choose another, such as "digits" or "champion".',
        )
