"""A feature as it was planned: its column, its kind and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from delc.features.settings import CategoricalSettings, Settings
from delc.features.types import MOMENT_FAMILIES, NUMBER_FAMILIES, Family, family

DENSE_INPUT = "input"
"""The network input that numbers belong to unless a column names another."""

_SCALARS = NUMBER_FAMILIES | MOMENT_FAMILIES | {Family.BOOLEAN, Family.INTERVAL, Family.TEXT, Family.OTHER}

KIND_FAMILIES: dict[str, frozenset[Family]] = {
    "numeric": NUMBER_FAMILIES | {Family.BOOLEAN, Family.INTERVAL},
    "boolean": frozenset({Family.BOOLEAN}),
    "categorical": frozenset(_SCALARS),
    "datetime": MOMENT_FAMILIES,
    "array": frozenset({Family.NUMBERS, Family.FLAGS}),
    "image": frozenset({Family.BYTES, Family.NUMBERS}),
    "text": frozenset({Family.TEXT, Family.OTHER}),
    "tokens": frozenset({Family.NUMBERS}),
}
"""What types a column of each kind may have."""


@dataclass(frozen=True)
class PlannedColumn:
    """One feature: the column's name and type when the model was made, its kind and that kind's settings."""

    name: str
    type: str
    kind: str
    settings: Settings

    @property
    def family(self) -> Family:
        """The family of the column's type."""
        return family(self.type)

    @property
    def is_dense(self) -> bool:
        """Whether the column is part of a float32 input; otherwise it is an int64 input of its own."""
        if isinstance(self.settings, CategoricalSettings):
            return self.settings.encoding == "one_hot"
        return self.kind not in ("text", "tokens")

    @property
    def input(self) -> str:
        """The name of the network input that the column belongs to."""
        return self.settings.input or (DENSE_INPUT if self.is_dense else self.name)


def interchangeable(planned: PlannedColumn, type_name: str) -> bool:
    """Whether a query's column of this type may stand for the column as it was planned.

    Numbers stand for numbers, arrays of numbers for arrays of numbers. For categories, which are compared by their
    text form, only types whose text forms agree: texts, enums and integers.
    """
    was, now = planned.family, family(type_name)
    if was is now:
        return was is not Family.UNUSABLE
    if planned.kind == "categorical":
        by_text = {Family.TEXT, Family.OTHER, Family.INTEGER}
        return was in by_text and now in by_text
    if planned.kind == "datetime":
        return {was, now} == {Family.DATE, Family.TIMESTAMP}
    if planned.kind == "numeric":
        return was in NUMBER_FAMILIES | {Family.BOOLEAN} and now in NUMBER_FAMILIES
    if planned.kind == "image":
        return False
    return planned.kind != "boolean" and now in KIND_FAMILIES[planned.kind]
