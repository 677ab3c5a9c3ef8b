"""How a version of a model is named: ``name``, ``name@7`` or ``name@alias``."""

from __future__ import annotations

from dataclasses import dataclass

from delc.server.errors import InvalidParameter

LONGEST_NAME = 63
DEFAULT_ALIAS = "default"


@dataclass(frozen=True)
class ModelName:
    """A model's name, and the number or alias of a version where one was given."""

    model: str
    number: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        suffix = self.alias if self.number is None else str(self.number)
        return self.model if suffix is None else f"{self.model}@{suffix}"


def parse(text: str | None) -> ModelName:
    """Reads ``name``, ``name@7`` or ``name@alias``; raises ``InvalidParameter`` for anything else."""
    if text is None:
        raise InvalidParameter("the model is NULL", hint="Name a model: name, name@7 or name@alias.")
    name, at, suffix = text.partition("@")
    check_name("model", name)
    if not at:
        return ModelName(name)
    if suffix.isdecimal():
        return ModelName(name, number=int(suffix))
    check_name("alias", suffix)
    return ModelName(name, alias=suffix)


def check_name(what: str, name: str | None) -> None:
    """Raises ``InvalidParameter`` unless ``name`` can name a model or an alias."""
    if name is None:
        raise InvalidParameter(f"the {what} is NULL")
    if not name or name != name.strip() or "@" in name or len(name.encode()) > LONGEST_NAME:
        raise InvalidParameter(
            f'"{name}" cannot be the name of {"an" if what == "alias" else "a"} {what}',
            detail=f"A name has 1 to {LONGEST_NAME} bytes, no @, and no blanks at its ends.",
        )
