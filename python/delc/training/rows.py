"""From a data set's version to batches for the training loop.

One pass over the training rows fits features and target. Rows that fit into memory are kept as tensors; more than
that is read again in each epoch, in an order that the seed and the epoch decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from delc.features import FeatureFitter, FittedFeatures, RowLayout, plan_features
from delc.features.fitted_target import FittedTarget
from delc.features.plan import FeaturePlan
from delc.features.target_continuing import continue_target
from delc.features.target_fitting import TargetFitter
from delc.features.target_plan import TargetPlan, plan_target
from delc.server import interrupts, packing, queries
from delc.server.batches import PackedBatch, QueryColumn
from delc.server.memory import MemoryWatch
from delc.training.batches import Batches, Inputs, MemoryBatches, batch_bounds, epoch_seed

KEPT_SHARE = 4
"""Rows are kept in memory when their packed form takes at most this part of the memory limit."""


@dataclass(frozen=True)
class RowsQuery:
    """The rows of one split: a query in a fixed order, and how many rows it gives."""

    text: str
    rows: int


@dataclass(frozen=True)
class Prepared:
    """Everything that the training loop needs of the data."""

    features: FittedFeatures
    target: FittedTarget
    train: Batches
    validation: Batches | None


@dataclass(frozen=True)
class Roles:
    """Which columns are what: the target's in order, those that are only keys, and the options of the features."""

    target: Sequence[str]
    keys: Sequence[str]
    feature_options: dict[str, object]
    task: str


def prepare(
    train: RowsQuery, validation: RowsQuery | None, roles: Roles, *, batch_size: int, seed: int, watch: MemoryWatch
) -> Prepared:
    """Fits features and target on the training rows and makes batches of them and of the validation rows."""
    columns = queries.describe(train.text)
    features, target = _plan(columns, roles)
    layout = features.layout_for(columns, target=target)
    reading = _Reading(train, layout, *packing.measure(train.text, layout.pack, layout.widths))
    fitted_features, fitted_target, chunks = _fit(features, target, reading, watch)
    batches = _Batches(fitted_features, fitted_target, batch_size, seed, watch)
    return Prepared(
        fitted_features,
        fitted_target,
        batches.of(reading, chunks, shuffle=True),
        None if validation is None else batches.of_query(validation, columns),
    )


def prepare_again(
    train: RowsQuery,
    validation: RowsQuery | None,
    features: FittedFeatures,
    target: FittedTarget,
    *,
    batch_size: int,
    seed: int,
    watch: MemoryWatch,
) -> Prepared:
    """The same batches as before, with the features and the target that were fitted then."""
    columns = queries.describe(train.text)
    batches = _Batches(features, target, batch_size, seed, watch)
    return Prepared(
        features,
        target,
        batches.of_query(train, columns, shuffle=True),
        None if validation is None else batches.of_query(validation, columns),
    )


def prepare_continued(
    train: RowsQuery,
    validation: RowsQuery | None,
    roles: Roles,
    features: FittedFeatures,
    target: FittedTarget,
    *,
    batch_size: int,
    seed: int,
    watch: MemoryWatch,
) -> Prepared:
    """Batches of other rows for the features that another model was fitted with, so that its weights keep their
    meaning, and for its target where the rows have no other (see ``delc.features.target_continuing``).
    """
    columns = queries.describe(train.text)
    by_name = {column.name: column for column in columns}
    same_columns = tuple(roles.target) == target.names
    plan = plan_target(
        [by_name[name] for name in roles.target],
        target.task if same_columns and roles.task == "auto" else roles.task,
    )
    layout = features.layout_for(columns, target=plan)
    reading = _Reading(train, layout, *packing.measure(train.text, layout.pack, layout.widths))
    fitted, chunks = _fit_target(plan, reading, watch)
    continued = continue_target(target, fitted)
    batches = _Batches(features, continued, batch_size, seed, watch)
    return Prepared(
        features,
        continued,
        batches.of(reading, chunks, shuffle=True),
        None if validation is None else batches.of_query(validation, columns),
    )


@dataclass(frozen=True)
class _Reading:
    """How a query is read: its layout with known widths, and bytes per packed row."""

    query: RowsQuery
    layout: RowLayout
    widths: Sequence[int]
    row_bytes: int

    @property
    def packed_bytes(self) -> int:
        return self.query.rows * self.row_bytes

    def chunks(self, rows: int | None = None, seed: int | None = None) -> Iterator[PackedBatch]:
        """The rows packed, in chunks of so many rows."""
        size = rows or packing.chunk_rows(self.row_bytes)
        return packing.read(self.query.text, self.layout.pack, size, seed=seed, widths=self.widths)


def _plan(columns: list[QueryColumn], roles: Roles) -> tuple[FeaturePlan, TargetPlan]:
    by_name = {column.name: column for column in columns}
    target = plan_target([by_name[name] for name in roles.target], roles.task)
    taken = {*roles.target, *roles.keys}
    return plan_features([column for column in columns if column.name not in taken], roles.feature_options), target


def _fit(
    features: FeaturePlan, target: TargetPlan, reading: _Reading, watch: MemoryWatch
) -> tuple[FittedFeatures, FittedTarget, list[PackedBatch] | None]:
    """One pass over the training rows; the packed chunks come back where they may stay in memory."""
    feature_fitter = FeatureFitter(features, reading.layout)
    target_fitter = TargetFitter(target, reading.layout)
    kept: list[PackedBatch] | None = [] if reading.packed_bytes <= watch.limit_bytes // KEPT_SHARE else None
    for chunk in reading.chunks():
        interrupts.check()
        watch.check()
        feature_fitter.update(chunk)
        target_fitter.update(chunk)
        if kept is not None:
            kept.append(chunk)
    return feature_fitter.finish(), target_fitter.finish(), kept


def _fit_target(
    target: TargetPlan, reading: _Reading, watch: MemoryWatch
) -> tuple[FittedTarget, list[PackedBatch] | None]:
    """One pass over the training rows for the target alone."""
    fitter = TargetFitter(target, reading.layout)
    kept: list[PackedBatch] | None = [] if reading.packed_bytes <= watch.limit_bytes // KEPT_SHARE else None
    for chunk in reading.chunks():
        interrupts.check()
        watch.check()
        fitter.update(chunk)
        if kept is not None:
            kept.append(chunk)
    return fitter.finish(), kept


class _Batches:
    """Makes batches of rows with fitted features and target."""

    def __init__(
        self, features: FittedFeatures, target: FittedTarget, batch_size: int, seed: int, watch: MemoryWatch
    ) -> None:
        self.features = features
        self.target = target
        self.batch_size = batch_size
        self.seed = seed
        self.watch = watch
        specs = features.input_specs().values()
        self.row_bytes = sum(math.prod(spec.shape) * (8 if spec.dtype == "int64" else 4) for spec in specs)

    def of_query(self, query: RowsQuery, columns: list[QueryColumn], *, shuffle: bool = False) -> Batches:
        """Batches of a query whose columns are those of the training rows."""
        layout = self.features.layout_for(columns, target=self.target)
        reading = _Reading(query, layout, *packing.measure(query.text, layout.pack, layout.widths))
        fits = reading.packed_bytes <= self.watch.limit_bytes // KEPT_SHARE
        return self.of(reading, list(reading.chunks()) if fits else None, shuffle=shuffle)

    def of(self, reading: _Reading, chunks: list[PackedBatch] | None, *, shuffle: bool) -> Batches:
        """Batches in memory where ``chunks`` are given and their tensors have room, else read anew each epoch."""
        if chunks is None or self.row_bytes * reading.query.rows > self.watch.limit_bytes // 2:
            return _StreamedBatches(self, reading, shuffle)
        inputs, target = self._encode(reading.layout, chunks, reading.query.rows)
        return MemoryBatches(inputs, target, self.batch_size, seed=self.seed, shuffle=shuffle)

    def _encode(self, layout: RowLayout, chunks: list[PackedBatch], rows: int) -> tuple[Inputs, Tensor]:
        """All rows as tensors; packed chunks are given up one by one, so that both forms never lie side by side."""
        encoder, target_encoder = self.features.encoder(layout), self.target.encoder(layout)
        inputs: Inputs = {}
        targets: list[Tensor] = []
        start = 0
        while chunks:
            interrupts.check()
            chunk = chunks.pop(0)
            encoded = encoder.encode(chunk)
            targets.append(target_encoder.encode(chunk))
            if not inputs and not chunks:
                return encoded, targets[0]
            for name, tensor in encoded.items():
                if name not in inputs:
                    inputs[name] = torch.empty((rows, *tensor.shape[1:]), dtype=tensor.dtype)
                inputs[name][start : start + chunk.rows] = tensor
            start += chunk.rows
        if not targets:
            empty = {name: torch.empty((0, *spec.shape)) for name, spec in self.features.input_specs().items()}
            return empty, torch.empty(0)
        return inputs, torch.cat(targets)


class _StreamedBatches:
    """Batches that are read from the database anew in each epoch."""

    def __init__(self, maker: _Batches, reading: _Reading, shuffle: bool) -> None:
        self._maker = maker
        self._reading = reading
        self._shuffle = shuffle
        self.rows = reading.query.rows
        self.batches = len(batch_bounds(self.rows, maker.batch_size))

    def epoch(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches of an epoch; a last batch of one row joins the one before it, as ``MemoryBatches`` does."""
        encoder = self._maker.features.encoder(self._reading.layout)
        target_encoder = self._maker.target.encoder(self._reading.layout)
        seed = epoch_seed(self._maker.seed, epoch) if self._shuffle else None
        waiting: tuple[Inputs, Tensor] | None = None
        for chunk in self._reading.chunks(self._maker.batch_size, seed):
            encoded = encoder.encode(chunk), target_encoder.encode(chunk)
            if waiting is not None and chunk.rows == 1:
                waiting = _joined(waiting, encoded)
                continue
            if waiting is not None:
                yield waiting
            waiting = encoded
        if waiting is not None:
            yield waiting


def _joined(first: tuple[Inputs, Tensor], second: tuple[Inputs, Tensor]) -> tuple[Inputs, Tensor]:
    inputs = {name: torch.cat([tensor, second[0][name]]) for name, tensor in first[0].items()}
    return inputs, torch.cat([first[1], second[1]])
