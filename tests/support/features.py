"""Shorthands for the tests of features: fit rows, encode rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from delc.features import FeatureFitter, FittedFeatures, FittedTarget, TargetFitter, plan_features, plan_target
from delc.server.batches import QueryColumn
from support.rows import Row, pack_rows


def columns(types: Mapping[str, str]) -> list[QueryColumn]:
    """Query columns from their names and types."""
    return [QueryColumn(name, type_name) for name, type_name in types.items()]


def fit(
    types: Mapping[str, str], rows: Sequence[Row], options: Mapping[str, Any] | None = None, batch_size: int = 1000
) -> FittedFeatures:
    """Features fitted on rows, batch by batch."""
    plan = plan_features(columns(types), options)
    layout = plan.layout_for(columns(types))
    fitter = FeatureFitter(plan, layout)
    for start in range(0, len(rows), batch_size):
        fitter.update(pack_rows(layout, rows[start : start + batch_size], start))
    return fitter.finish()


def encode(
    fitted: FittedFeatures, types: Mapping[str, str], rows: Sequence[Row], first_row: int = 0
) -> dict[str, torch.Tensor]:
    """The tensors of rows."""
    layout = fitted.layout_for(columns(types))
    return fitted.encoder(layout).encode(pack_rows(layout, rows, first_row))


def fit_encode(
    types: Mapping[str, str], rows: Sequence[Row], options: Mapping[str, Any] | None = None
) -> dict[str, torch.Tensor]:
    """The tensors of the very rows that were fitted."""
    return encode(fit(types, rows, options), types, rows)


def column(name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of one column."""
    return [{name: value} for value in values]


def fit_target(types: Mapping[str, str], rows: Sequence[Row], task: str = "auto") -> FittedTarget:
    """A target fitted on rows."""
    plan = plan_target(columns(types), task)
    layout = plan_features([QueryColumn("x", "real")]).layout_for(columns({"x": "real", **types}), target=plan)
    fitter = TargetFitter(plan, layout)
    for start in range(0, len(rows), 2):
        fitter.update(pack_rows(layout, [{"x": 0.0, **row} for row in rows[start : start + 2]], start))
    return fitter.finish()


def encode_target(target: FittedTarget, types: Mapping[str, str], rows: Sequence[Row]) -> torch.Tensor:
    """The target tensor of rows."""
    layout = plan_features([QueryColumn("x", "real")]).layout_for(columns({"x": "real", **types}), target=target)
    return target.encoder(layout).encode(pack_rows(layout, [{"x": 0.0, **row} for row in rows]))


def numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """A tensor's numbers."""
    result: npt.NDArray[Any] = np.asarray(tensor)
    return result
