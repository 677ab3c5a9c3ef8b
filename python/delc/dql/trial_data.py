"""The rows of trials: read once for each version that trials begin with and each data set, whatever else varies."""

from __future__ import annotations

import json
from dataclasses import dataclass

from delc.datasets import versions as datasets
from delc.datasets.versions import DatasetVersion
from delc.dql import shared_rows
from delc.dql.work import RowBatches
from delc.features.fitted_target import FittedTarget
from delc.models.versions import ModelVersion
from delc.server.errors import DatatypeMismatch, DelcError, InvalidData, InvalidParameter, UndefinedObject
from delc.server.inputs import InputSpec
from delc.server.memory import MemoryWatch
from delc.training.batches import Batches, MemoryBatches
from delc.training.rows import Prepared, Roles
from delc.training.starting import Rows, continued

USUAL_BATCH = 64

UNFIT = (InvalidParameter, InvalidData, UndefinedObject, DatatypeMismatch)
"""What is said of rows that a version cannot read: columns that are not there or of another type, values that it has no
place for.
"""


@dataclass(frozen=True)
class TrialRows:
    """Rows as one version reads them. ``in_memory``: whether workers can have them."""

    number: int
    dataset: DatasetVersion
    prepared: Prepared
    source: ModelVersion

    @property
    def in_memory(self) -> bool:
        """Whether the rows lie in memory; otherwise they are read anew in every epoch, which takes a session."""
        return isinstance(self.prepared.train, MemoryBatches) and (
            self.prepared.validation is None or isinstance(self.prepared.validation, MemoryBatches)
        )

    @property
    def target(self) -> FittedTarget:
        """What the outputs mean."""
        return self.prepared.target

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """What a network reads."""
        return self.prepared.features.input_specs()

    def share(self) -> shared_rows.SharedRows:
        """The rows as memory that workers can open."""
        train, validation = self.prepared.train, self.prepared.validation
        assert isinstance(train, MemoryBatches)
        assert validation is None or isinstance(validation, MemoryBatches)
        return shared_rows.SharedRows(shared_rows.named(train, validation))

    def batches(self, watch: MemoryWatch) -> RowBatches:
        """The rows in batches of any size."""
        if self.in_memory:
            train, validation = self.prepared.train, self.prepared.validation
            assert isinstance(train, MemoryBatches)
            assert validation is None or isinstance(validation, MemoryBatches)
            return shared_rows.batches(shared_rows.named(train, validation))

        def make(batch_size: int, seed: int) -> tuple[Batches, Batches | None]:
            prepared = _read(self.dataset, self.source, batch_size, seed, watch)
            return prepared.train, prepared.validation

        return RowBatches(make)


class RowStore:
    """All rows of a query's trials."""

    def __init__(self, watch: MemoryWatch) -> None:
        self._watch = watch
        self._datasets: dict[str, DatasetVersion] = {}
        self._known: dict[tuple[int, str, str], TrialRows | DelcError] = {}

    def dataset(self, name: str) -> DatasetVersion:
        """The data set's version; errors are those of ``datasets.resolve``."""
        if name not in self._datasets:
            self._datasets[name] = datasets.resolve(name)
        return self._datasets[name]

    def dataset_of(self, source: ModelVersion, dataset: str | None) -> DatasetVersion:
        """The data set that is read for a version: by default the one that it was trained on."""
        return self.dataset(_dataset_name(source, dataset))

    def rows(self, source: ModelVersion, dataset: str | None) -> TrialRows:
        """The rows of a data set as the version reads them; raises where it cannot."""
        found = self.find(source, dataset)
        if isinstance(found, DelcError):
            raise found.with_traceback(None)
        return found

    def find(self, source: ModelVersion, dataset: str | None) -> TrialRows | DelcError:
        """The rows of a data set as the version reads them, or why it cannot (an error of ``UNFIT``)."""
        version = self.dataset_of(source, dataset)
        key = (version.id, json.dumps(source.features, sort_keys=True), json.dumps(source.target, sort_keys=True))
        if key not in self._known:
            try:
                prepared = _read(version, source, USUAL_BATCH, 0, self._watch)
            except UNFIT as error:
                self._known[key] = _named(version, error)
            else:
                self._watch.check()
                self._known[key] = TrialRows(len(self.all), version, prepared, source)
        return self._known[key]

    @property
    def all(self) -> list[TrialRows]:
        """All that were read, in the order of their numbers."""
        return [rows for rows in self._known.values() if isinstance(rows, TrialRows)]


def _named(version: DatasetVersion, error: DelcError) -> DelcError:
    named = InvalidParameter(f'data set "{version.title}": {error.message}', detail=error.detail, hint=error.hint)
    named.sqlstate = error.sqlstate
    return named


def _dataset_name(source: ModelVersion, dataset: str | None) -> str:
    if dataset is not None:
        return dataset
    if source.dataset_version_id is None:
        raise InvalidParameter(
            f'nothing says what to train "{source}" on',
            hint='Set "dataset" in the configuration, or vary config.dataset in ["…"].',
        )
    return datasets.title_of(source.dataset_version_id)


def _read(version: DatasetVersion, source: ModelVersion, batch_size: int, seed: int, watch: MemoryWatch) -> Prepared:
    roles = Roles(version.target_columns, version.key_columns, {}, "auto")
    return continued(Rows.of(version, batch_size, seed), roles, source, watch)
