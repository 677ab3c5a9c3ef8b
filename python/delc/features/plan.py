"""Which columns become features, and of what kind: decided from the columns' types and the user's options, before any
row is read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delc.features.columns import KIND_FAMILIES, PlannedColumn
from delc.features.layout import RowLayout, TargetColumns, lay_out
from delc.features.settings import KINDS, ImageSettings, accepts, parse_settings, setting_names
from delc.features.types import Family, advice, family
from delc.server.batches import QueryColumn
from delc.server.errors import DatatypeMismatch, InvalidParameter, unknown

EVERY_COLUMN = "*"
"""The name under which options hold what applies to all columns."""

IGNORED = "ignore"
"""The kind that leaves a column out."""

_DEFAULT_KINDS = {
    Family.INTEGER: "numeric",
    Family.FLOAT: "numeric",
    Family.DECIMAL: "numeric",
    Family.INTERVAL: "numeric",
    Family.BOOLEAN: "boolean",
    Family.DATE: "datetime",
    Family.TIMESTAMP: "datetime",
    Family.TIME: "datetime",
    Family.TEXT: "categorical",
    Family.OTHER: "categorical",
    Family.NUMBERS: "array",
    Family.FLAGS: "array",
    Family.BYTES: "image",
}


@dataclass(frozen=True)
class FeaturePlan:
    """The features of a model, in the order of the columns it was planned from."""

    columns: tuple[PlannedColumn, ...]

    def layout_for(
        self, query_columns: Sequence[QueryColumn], *, target: TargetColumns | None = None, keys: Sequence[str] = ()
    ) -> RowLayout:
        """How the rows of a query are packed so that these features (and the target, and keys) can be taken from them.

        See ``delc.features.layout.lay_out``.
        """
        return lay_out(self.columns, query_columns, target=target, keys=keys, elements=self._elements())

    def _elements(self) -> dict[str, int]:
        shapes = {column.name: getattr(column.settings, "shape", None) for column in self.columns}
        return {name: math.prod(shape) for name, shape in shapes.items() if shape}


def plan_features(columns: Sequence[QueryColumn], options: Mapping[str, Any] | None = None) -> FeaturePlan:
    """The plan for these columns (without keys and target).

    ``options`` maps a column's name to its kind (``{"zip": "categorical"}``) or to an object of settings (``{"zip":
    {"kind": "categorical", "encoding": "embedding"}}``, see ``delc.features.settings``); the kind ``ignore`` leaves a
    column out. What stands under ``"*"`` (settings, no kind) applies to every column whose kind has that setting and
    allows that value; a column's own settings go before it. Kinds follow from types where nothing is said: numbers
    and intervals numeric, boolean boolean, texts, enums and uuids categorical, dates and times datetime, arrays of
    numbers, vectors and tensors array, bytea image.
    """
    if not isinstance(options, Mapping | None):
        raise InvalidParameter(
            "the options of features are not an object", hint='Give {"column": {"option": "value"}}.'
        )
    given = dict(options or {})
    everywhere = _common_settings(given.pop(EVERY_COLUMN, {}))
    names = [column.name for column in columns]
    _check_names(names, given)
    kinds = {column.name: _kind_of(column, given.get(column.name, {})) for column in columns}
    _check_common(everywhere, set(kinds.values()))
    planned = tuple(
        _planned(column, kinds[column.name], given.get(column.name, {}), everywhere)
        for column in columns
        if kinds[column.name] != IGNORED
    )
    if not planned:
        raise InvalidParameter(
            "there are no features",
            detail=f"The columns are: {', '.join(names) or 'none'}.",
            hint="Leave columns besides key and target.",
        )
    return FeaturePlan(planned)


def _common_settings(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidParameter(
            f'what stands under "{EVERY_COLUMN}" is not an object', hint='Give {"*": {"standardize": "none"}}.'
        )
    if "kind" in given:
        raise InvalidParameter(
            f'"kind" cannot stand under "{EVERY_COLUMN}"', hint="Give the kind of each column by its name."
        )
    return dict(given)


def _check_names(names: list[str], given: Mapping[str, Any]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise InvalidParameter(
                f'two columns are called "{name}"', hint="Name each column of the query differently."
            )
    for name in given:
        if name not in names:
            raise unknown("column", name, names, where="in the options of features")


def _check_common(everywhere: Mapping[str, Any], kinds: set[str]) -> None:
    """What applies to all columns must apply to at least one."""
    kinds = kinds - {IGNORED}
    known = sorted({name for kind in kinds for name in setting_names(kind)})
    for name, value in everywhere.items():
        if name not in known:
            raise unknown("option", name, known, kind=InvalidParameter, where=f'under "{EVERY_COLUMN}"')
        if not any(accepts(kind, name, value) for kind in kinds):
            raise InvalidParameter(
                f'option "{name}" under "{EVERY_COLUMN}" cannot be {value!r}',
                detail=f"No column's kind allows that; the columns are {', '.join(sorted(kinds))}.",
            )


def _kind_of(column: QueryColumn, given: Any) -> str:
    told = (
        given
        if isinstance(given, str)
        else given.get("kind")
        if isinstance(given, Mapping)
        else _not_settings(column, given)
    )
    of_type = family(column.type)
    if told == IGNORED:
        return IGNORED
    if told is not None and (not isinstance(told, str) or told not in KINDS):
        raise unknown(
            "kind of feature", str(told), [*KINDS, IGNORED], kind=InvalidParameter, where=f'for column "{column.name}"'
        )
    if told is None and of_type in _DEFAULT_KINDS:
        return _DEFAULT_KINDS[of_type]
    if told is None:
        raise DatatypeMismatch(
            f'column "{column.name}" of type {column.type} cannot be a feature',
            detail=f"It is {of_type.value}.",
            hint=f'Either {advice(column.type)}, or leave it out: {{"{column.name}": "{IGNORED}"}}.',
        )
    if of_type not in KIND_FAMILIES[told]:
        allowed = ", ".join(sorted(member.value for member in KIND_FAMILIES[told]))
        raise DatatypeMismatch(
            f'column "{column.name}" of type {column.type} cannot be {told}',
            detail=f"A column of kind {told} is {allowed}.",
        )
    return str(told)


def _not_settings(column: QueryColumn, given: Any) -> str:
    raise InvalidParameter(
        f'the options of column "{column.name}" are {given!r}',
        hint="Give a kind as a string, or an object of settings.",
    )


def _planned(column: QueryColumn, kind: str, given: Any, everywhere: Mapping[str, Any]) -> PlannedColumn:
    own = {name: value for name, value in given.items() if name != "kind"} if isinstance(given, Mapping) else {}
    common = {name: value for name, value in everywhere.items() if accepts(kind, name, value)}
    settings = parse_settings(kind, {**common, **own}, column.name)
    if isinstance(settings, ImageSettings) and settings.shape is None and family(column.type) is Family.BYTES:
        raise InvalidParameter(
            f'the shape of the images in column "{column.name}" is not known',
            detail="A bytea does not tell channels, height and width.",
            hint=f'Give it: {{"{column.name}": {{"kind": "image", "shape": [1, 28, 28]}}}} (channels, height, width).',
        )
    return PlannedColumn(column.name, column.type, kind, settings)
