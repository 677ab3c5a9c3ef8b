"""What rounding a model's parameters would save, and what it would cost in its answers. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from delc.archive import rounding
from delc.evaluation.data import find_data
from delc.evaluation.scoring import collect, metrics
from delc.models import loaded, parameters, versions
from delc.models.loaded import LoadedModel
from delc.models.pruning import DEFAULT_METRICS
from delc.networks import Network, restore
from delc.server import interrupts, progress, queries, settings, threads
from delc.server.errors import InvalidData, InvalidParameter

EXACT = "exact"

_COLUMNS = ("scheme", "bytes", "share", "metric", "value", "agreement", "largest_change")


def report(model: str, data: str | None, split: str | None) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.archive_report`` returns: the parameters as they are, then by scheme."""
    if data is None:
        raise InvalidParameter("data is NULL", hint="Name a data set, or give a query.")
    threads.use(settings.threads())
    version = versions.resolve(model)
    found = find_data(data, split)
    metric = DEFAULT_METRICS[version.task]
    exact = loaded.load(version)
    state = exact.built.module.state_dict()
    learnable = parameters.learnable(version.snapshot_id)
    reference: npt.NDArray[np.floating[Any]] | None = None
    exact_bytes = 0
    for scheme in (None, *rounding.usual()):
        progress.report(f"measuring {scheme or EXACT}")
        try:
            rounded = {name: _rounded(scheme, value, name in learnable) for name, value in state.items()}
        except InvalidData as error:
            progress.notice(error.message)
            yield dict.fromkeys(_COLUMNS) | {"scheme": str(scheme), "metric": metric}
            continue
        size = _stored_bytes(rounded)
        predicted, targets = collect(_with(exact, rounded), found)
        measured = metrics(exact.target, predicted, targets, confidence=0.95, seed=0)
        if reference is None:
            reference, exact_bytes = predicted, size
        yield {
            "scheme": str(scheme or EXACT),
            "bytes": size,
            "share": size / exact_bytes,
            "metric": metric,
            "value": next(row.value for row in measured if row.metric == metric and row.label is None),
            "agreement": _agreement(version.task, reference, predicted),
            "largest_change": max((_largest_change(state[name], rounded[name]) for name in learnable), default=0.0),
        }


def _rounded(scheme: rounding.Scheme | None, value: torch.Tensor, learnable: bool) -> torch.Tensor:
    """Running statistics and counters stay as they are: they are few, and a variance must not become 0."""
    interrupts.check()
    return value if scheme is None or not learnable else scheme.round(value)


def _largest_change(exact: torch.Tensor, rounded: torch.Tensor) -> float:
    return float((rounded.double() - exact.double()).abs().max()) if exact.numel() else 0.0


def _with(exact: LoadedModel, state: Mapping[str, torch.Tensor]) -> LoadedModel:
    built = restore(Network.parse(exact.version.network), exact.features.input_specs(), state)
    built.module.requires_grad_(False)
    return replace(exact, built=built, forward_row=built.module.without_hooks())


def _stored_bytes(state: Mapping[str, torch.Tensor]) -> int:
    """What the tensors take in the dense encoding."""
    total = 0
    with queries.as_owner():
        for value in state.values():
            interrupts.check()
            for chunk in parameters.chunks(value):
                stored = queries.value(_STORED_BYTES, queries.typed(chunk, "delc.tensor"))
                total += int(stored)
    return total


def _agreement(
    task: str, exact: npt.NDArray[np.floating[Any]], rounded: npt.NDArray[np.floating[Any]]
) -> float | None:
    """The share of rows with the same answer; NULL for numbers, which always differ a little."""
    if task == "regression":
        return None
    if task == "multilabel":
        return float(np.mean(np.all((exact >= 0.5) == (rounded >= 0.5), axis=1)))
    return float(np.mean(exact.argmax(axis=1) == rounded.argmax(axis=1)))


_STORED_BYTES = "SELECT delc.stored_bytes(delc.compress($1))"
