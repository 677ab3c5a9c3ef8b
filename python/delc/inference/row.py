"""Prediction of one row at a time.

C packs each row into memory that stays the same, and Python looks at it through arrays that are made once. What a
prediction needs is kept under a handle: one for each version of a model and form of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import _delc
import numpy as np
import torch

from delc.features import FittedFeatures, RowLayout
from delc.features.encoding import FeatureEncoder
from delc.features.layout import Slot
from delc.models import loaded, versions
from delc.models.loaded import LoadedModel
from delc.models.versions import ModelVersion
from delc.server import packing, queries, settings, threads
from delc.server.batches import ColumnProblem, PackColumn, PackedBatch, PackLayout, QueryColumn

SCALAR_KINDS = frozenset({"numeric", "boolean"})


@dataclass
class RowPrediction:
    """A version of a model, and the memory that rows of one form are packed into."""

    version: ModelVersion
    argument: str
    handle: int
    encoder: FeatureEncoder
    batch: PackedBatch
    said: bool = False
    """Whether a notice was given that the parameters were rounded."""

    @property
    def model(self) -> LoadedModel:
        """The model; held by ``loaded`` alone, so that it can go when others need its memory."""
        return loaded.load(self.version)

    def inputs(self) -> dict[str, torch.Tensor]:
        """The network's inputs for the row that is packed now."""
        found = _delc.row_problems(self.handle)
        if found is None:
            self.batch.problems.clear()
        else:
            self.batch.problems = [ColumnProblem(*problem) for problem in found[0]]
            self.batch.dictionaries = found[1]
        return self.encoder.encode(self.batch)

    def logits(self) -> torch.Tensor:
        """The network's outputs (1, outputs) for the row that is packed now."""
        return self.model.forward_row(self.inputs())


KEPT_FORMS = 128
"""So many forms of rows are kept, the newest; as in ``extension/src/predict.c``."""

_predictions: dict[int, RowPrediction] = {}
_handles: dict[tuple[int, str | None, tuple[str, ...], tuple[str, ...], str], int] = {}


def prepare(model: str, names: Sequence[str], types: Sequence[str], argument: str) -> int:
    """The handle for rows of these columns; an input that is no row comes as one column without a name."""
    version = versions.resolve(model)
    key = (version.snapshot_id, version.scheme, tuple(names), tuple(types), argument)
    if key not in _handles:
        threads.use(settings.threads())
        columns = [QueryColumn(name, type_name) for name, type_name in zip(names, types, strict=True)]
        prediction = _prepared(version, columns, argument)
        _forget_forms(prediction.handle - KEPT_FORMS)
        _predictions[prediction.handle] = prediction
        _handles[key] = prediction.handle
    return _handles[key]


def _forget_forms(newest: int) -> None:
    """Forgets the predictions whose layouts have made room for others: those up to handle ``newest``."""
    for key, handle in list(_handles.items()):
        if handle <= newest:
            del _handles[key], _predictions[handle]


def of_handle(handle: int) -> RowPrediction:
    """The prediction that ``prepare`` made."""
    return _predictions[handle]


def _prepared(version: ModelVersion, columns: list[QueryColumn], argument: str) -> RowPrediction:
    features = FittedFeatures.from_json(version.features)
    layout = _layout(features, columns)
    with queries.as_owner():
        handle = queries.value(
            "SELECT delc.define_row_layout($1, $2, $3, $4)", *packing.layout_parameters(layout.pack, layout.widths)
        )
    groups = _delc.row_buffers(handle)
    batch = PackedBatch(
        rows=1,
        first_row=0,
        groups=[packing.group_array(buffer, dtype, width) for buffer, dtype, width, _ in groups],
        shapes=[shape for _, _, _, shape in groups],
    )
    return RowPrediction(version, argument, handle, features.encoder(layout), batch)


def _layout(features: FittedFeatures, columns: list[QueryColumn]) -> RowLayout:
    planned = [column.planned for column in features.columns]
    lone_value = len(columns) == 1 and columns[0].name == ""
    if lone_value and all(feature.kind in SCALAR_KINDS for feature in planned):
        return _numbers_in_order(columns[0], [feature.name for feature in planned])
    return features.layout_for(columns)


def _numbers_in_order(column: QueryColumn, names: list[str]) -> RowLayout:
    """An array whose elements are the features in their order."""
    return RowLayout(
        pack=PackLayout((PackColumn(0, "number"),), ("float64",)),
        columns=(column,),
        slots={name: Slot(0, place, 0, name, column.type) for place, name in enumerate(names)},
        target=(),
        keys=(),
        widths=(len(names),),
    )


def as_float32(tensor: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A row's activations, flat."""
    return tensor.reshape(-1).float().numpy()
