"""SQL in the making: constant pieces of text, and the values of the query as bound parameters."""

from __future__ import annotations

from typing import Any

from delc.server import queries


class Bindings:
    """The parameters of one statement, and names for its tables that are used once."""

    def __init__(self) -> None:
        self.values: list[queries.Typed] = []
        self._names = 0
        self.walks = 0
        """How many walks along layers its conditions have so far."""

    def bind(self, value: Any, type_name: str) -> str:
        """The placeholder of a value."""
        for number, known in enumerate(self.values, start=1):
            if known.type == type_name and known.value == value and type(known.value) is type(value):
                return f"${number}"
        self.values.append(queries.typed(value, type_name))
        return f"${len(self.values)}"

    def alias(self, start: str) -> str:
        """A name for a table that no other has."""
        self._names += 1
        return f"{start}{self._names}"
