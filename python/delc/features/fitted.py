"""All features of a model: what they are as network inputs, and their stored form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from delc.features.columns import KIND_FAMILIES, PlannedColumn
from delc.features.encoding import FeatureEncoder
from delc.features.fitted_columns import (
    FittedArray,
    FittedCategories,
    FittedColumn,
    FittedMoment,
    FittedNumber,
    FittedText,
    FittedTokens,
)
from delc.features.layout import RowLayout, TargetColumns, lay_out
from delc.features.settings import (
    KINDS,
    CategoricalSettings,
    TextSettings,
    TokensSettings,
    parse_settings,
    settings_json,
)
from delc.features.stored import FORMAT_VERSION, Document
from delc.server.batches import QueryColumn
from delc.server.errors import DelcError, InvalidParameter
from delc.server.inputs import InputSpec

_FITTED: Mapping[str, type[FittedColumn]] = {
    "numeric": FittedNumber,
    "boolean": FittedNumber,
    "categorical": FittedCategories,
    "datetime": FittedMoment,
    "array": FittedArray,
    "image": FittedArray,
    "text": FittedText,
    "tokens": FittedTokens,
}


@dataclass(frozen=True)
class FittedFeatures:
    """All features of a model, fitted on its training rows."""

    columns: tuple[FittedColumn, ...]

    @cached_property
    def inputs(self) -> dict[str, tuple[FittedColumn, ...]]:
        """The columns that each network input is made of, in the order in which they lie in it.

        A float input holds numbers and booleans first, then the other columns as they were planned.
        """
        inputs: dict[str, list[FittedColumn]] = {}
        for column in self.columns:
            inputs.setdefault(column.planned.input, []).append(column)
        return {
            name: tuple(sorted(columns, key=lambda column: not isinstance(column, FittedNumber)))
            for name, columns in inputs.items()
        }

    def input_specs(self) -> dict[str, InputSpec]:
        """What the network reads: each input's shape (of one row) and element type.

        A lone array or image keeps its shape; several columns of one float input lie side by side, arrays flattened.
        """
        return {name: _spec(columns) for name, columns in self.inputs.items()}

    def feature_names(self) -> dict[str, list[str]]:
        """What each number of each input stands for, in the order of the flattened input."""
        return {name: [each for column in columns for each in column.names] for name, columns in self.inputs.items()}

    def layout_for(
        self, query_columns: Sequence[QueryColumn], *, target: TargetColumns | None = None, keys: Sequence[str] = ()
    ) -> RowLayout:
        """How the rows of a query are packed for ``encoder``; see ``delc.features.layout.lay_out``."""
        planned = [column.planned for column in self.columns]
        arrays = (column for column in self.columns if isinstance(column, FittedArray | FittedTokens))
        elements = {column.planned.name: math.prod(column.shape) for column in arrays}
        return lay_out(planned, query_columns, target=target, keys=keys, elements=elements)

    def encoder(self, layout: RowLayout) -> FeatureEncoder:
        """What turns the batches of a read with this layout into tensors. Reads that go on at the same time need an
        encoder each.
        """
        return FeatureEncoder(self.inputs, layout)

    def to_json(self) -> dict[str, Any]:
        """A JSON document, from which ``from_json`` makes equal features, to the last bit."""
        return {"version": FORMAT_VERSION, "columns": [_column_json(column) for column in self.columns]}

    @classmethod
    def from_json(cls, document: Any) -> FittedFeatures:
        """Features from their document. Raises ``InvalidData`` when it is not one that ``to_json`` could have
        written.
        """
        whole = Document(document, ("version", "columns"), "features")
        whole.version()
        columns = tuple(_column_from_json(column) for column in whole.items("columns"))
        if not columns or len({column.planned.name for column in columns}) != len(columns):
            whole.refuse("have no columns" if not columns else "have a column twice")
        check_inputs([column.planned for column in columns])
        return cls(columns)


def _spec(columns: tuple[FittedColumn, ...]) -> InputSpec:
    first = columns[0]
    if isinstance(first, FittedText | FittedTokens) or (isinstance(first, FittedCategories) and first.embedded):
        settings = first.planned.settings
        assert isinstance(settings, TextSettings | TokensSettings | CategoricalSettings)
        return InputSpec(first.shape, "int64", categories=first.size, dimensions=settings.dimensions)
    if len(columns) == 1:
        return InputSpec(first.shape, "float32")
    return InputSpec((sum(math.prod(column.shape) for column in columns),), "float32")


def check_inputs(columns: Sequence[PlannedColumn]) -> None:
    """Raise ``InvalidParameter`` when an int64 input, which holds one column, would hold several."""
    holders: dict[str, PlannedColumn] = {}
    for column in columns:
        other = holders.setdefault(column.input, column)
        if other is not column and not (other.is_dense and column.is_dense):
            raise InvalidParameter(
                f'columns "{other.name}" and "{column.name}" cannot share the network input "{column.input}"',
                detail="An embedding, text or token column is an input of its own.",
                hint=f'Name another: {{"{column.name}": {{"input": "{column.name}_codes"}}}}.',
            )


def _column_json(column: FittedColumn) -> dict[str, Any]:
    planned = column.planned
    return {
        "name": planned.name,
        "type": planned.type,
        "kind": planned.kind,
        "settings": settings_json(planned.settings),
        "fitted": column.to_json(),
    }


def _column_from_json(value: Any) -> FittedColumn:
    document = Document(value, ("name", "type", "kind", "settings", "fitted"), "feature")
    kind = document.choice("kind", KINDS)
    name = document.text("name")
    settings = document.any("settings")
    if not isinstance(settings, dict):
        document.refuse(f'has no settings for column "{name}"')
    try:
        planned = PlannedColumn(name, document.text("type"), kind, parse_settings(kind, settings, name))
    except DelcError as error:
        document.refuse(f"has settings that are not allowed: {error.message}")
    if planned.family not in KIND_FAMILIES[kind]:
        document.refuse(f'has the type {planned.type} for column "{name}", which is {kind}')
    made = _FITTED[kind]
    return made.from_json(planned, Document(document.any("fitted"), made.keys, f'feature "{name}"'))
