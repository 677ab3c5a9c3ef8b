"""One run of an operation, from its start to its row in ``delc.runs``.

A run that succeeds is written in the caller's transaction, so it goes with it when that is rolled back. A run that
fails or is cancelled is written outside of it. Nothing is written before the end: until then ``delc.progress`` tells
of it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from delc.log import environment
from delc.server import foreign_keys, progress, queries

QUERY_CANCELED = "57014"
ADMIN_SHUTDOWN = "57P01"


@dataclass(frozen=True)
class Metric:
    """One measured value, as a row of ``delc.metrics``; ``label`` is its column ``class``."""

    metric: str
    value: float
    split: str | None = None
    epoch: int | None = None
    label: str | None = None
    predicted: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Reference:
    """A version that a run read or made: exactly one of the two ids is given. ``epoch`` names a model's snapshot."""

    dataset_version_id: int | None = None
    model_version_id: int | None = None
    split: str | None = None
    epoch: int | None = None


@dataclass
class Run:
    """A run that is under way; what it measures and touches is collected here."""

    id: int
    operation: str
    subject: str
    arguments: Mapping[str, Any]
    seed: int | None
    username: str
    started_at: str
    cpu_start: float = field(default_factory=time.process_time)
    clock_start: float = field(default_factory=time.monotonic)
    metrics: list[Metric] = field(default_factory=list)
    inputs: list[Reference] = field(default_factory=list)
    outputs: list[Reference] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds since the run's start."""
        return time.monotonic() - self.clock_start

    def add_metric(self, metric: Metric) -> None:
        """Keeps a measured value."""
        self.metrics.append(metric)

    def add_input(
        self,
        *,
        dataset_version_id: int | None = None,
        model_version_id: int | None = None,
        split: str | None = None,
        epoch: int | None = None,
    ) -> None:
        """Notes a version that the run reads; ``epoch`` where it reads another snapshot than the one in use."""
        self.inputs.append(Reference(dataset_version_id, model_version_id, split, epoch))

    def add_output(self, *, dataset_version_id: int | None = None, model_version_id: int | None = None) -> None:
        """Notes a version that the run made; its row must exist when the run ends."""
        self.outputs.append(Reference(dataset_version_id, model_version_id))


@contextmanager
def running(operation: str, *, subject: str, arguments: Mapping[str, Any], seed: int | None = None) -> Iterator[Run]:
    """Logs what happens in the block as a run of ``operation``; shows it in ``delc.progress`` meanwhile.

    The run's row is written at the end of the block; foreign keys to it are deferred to the commit.
    """
    run = _begin(operation, subject, arguments, seed)
    succeeded = False
    try:
        with progress.reporting(run.id, operation, subject):
            yield run
            _write(run)
        succeeded = True
    finally:
        if succeeded:
            _forget()
        else:
            _record_failure(run, sys.exc_info()[1])


def next_id() -> int:
    """An id for a run within another, such as one trial of a search, which ``write_part`` logs when it has ended."""
    with queries.as_owner():
        run_id: int = queries.value("SELECT pg_catalog.nextval('delc.run_ids')")
    return run_id


def write_part(run: Run, *, seconds: float, cpu_seconds: float, error: tuple[str, str] | None = None) -> None:
    """Logs a run within another in the same transaction; ``error`` (SQLSTATE and message) where it failed."""
    record = _record(run, "succeeded" if error is None else "failed", *(error or ()))
    _write_record(run, {**record, "cpu_seconds": cpu_seconds, "seconds": seconds})


def now() -> str:
    """The present time, as runs note it."""
    time_text: str = queries.value("SELECT pg_catalog.clock_timestamp()::pg_catalog.text")
    return time_text


def _write(run: Run) -> None:
    _write_record(run, _record(run, "succeeded"))


def _write_record(run: Run, record: Mapping[str, Any]) -> None:
    with queries.as_owner():
        queries.execute(_INSERT_RUN, queries.json_parameter(record))
        queries.execute(_INSERT_METRICS, run.id, queries.json_parameter([asdict(metric) for metric in run.metrics]))
        dropped = "a version that the run read or made was dropped by another transaction meanwhile"
        with foreign_keys.conflict(dropped, "Try again."):
            for command, versions in ((_INSERT_INPUTS, run.inputs), (_INSERT_OUTPUTS, run.outputs)):
                queries.execute(command, run.id, queries.json_parameter([asdict(version) for version in versions]))


def _begin(operation: str, subject: str, arguments: Mapping[str, Any], seed: int | None) -> Run:
    username, started_at = queries.rows(
        "SELECT current_user::text AS username, pg_catalog.clock_timestamp()::text AS started_at"
    )[0].values()
    with queries.as_owner():
        run_id = queries.value("SELECT pg_catalog.nextval('delc.run_ids')")
        run = Run(run_id, operation, subject, dict(arguments), seed, username, started_at)
        terminated = _record(run, "cancelled", ADMIN_SHUTDOWN, "the session was terminated")
        queries.execute("SELECT delc.announce_run($1)", json.dumps({"run": terminated, "metrics": []}))
    return run


def _forget() -> None:
    with queries.as_owner():
        queries.execute("SELECT delc.finish_run()")


def _record_failure(run: Run, error: BaseException | None) -> None:
    if error is None:
        return
    state = queries.sqlstate_of(error)
    outcome = "cancelled" if state == QUERY_CANCELED else "failed"
    record = {
        "run": _record(run, outcome, state, str(error)),
        "metrics": [{"position": i, **asdict(metric)} for i, metric in enumerate(run.metrics)],
    }
    with queries.as_owner():
        queries.execute("SELECT delc.record_failed_run($1)", queries.json_parameter(record).value)


def _record(run: Run, outcome: str, error_code: str | None = None, error_message: str | None = None) -> dict[str, Any]:
    return {
        "id": run.id,
        "operation": run.operation,
        "subject": run.subject,
        "arguments": dict(run.arguments),
        "seed": run.seed,
        "username": run.username,
        "outcome": outcome,
        "error_code": error_code,
        "error_message": error_message,
        "started_at": run.started_at,
        "cpu_seconds": time.process_time() - run.cpu_start,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "environment": environment.describe(),
    }


_INSERT_RUN = """
    INSERT INTO delc.runs (id, operation, subject, arguments, seed, username, outcome, error_code, error_message,
                           started_at, finished_at, cpu_seconds, peak_memory_bytes, environment)
    SELECT id, operation, subject, arguments, seed, username, outcome, error_code, error_message, started_at,
           coalesce(started_at + make_interval(secs => seconds), clock_timestamp()), cpu_seconds, peak_memory_bytes,
           environment
    FROM jsonb_to_record($1)
        AS run(id bigint, operation text, subject text, arguments jsonb, seed bigint, username text, outcome text,
               error_code text, error_message text, started_at timestamptz, seconds double precision,
               cpu_seconds double precision, peak_memory_bytes bigint, environment jsonb)
"""

_INSERT_METRICS = """
    INSERT INTO delc.metrics (run_id, position, metric, split, epoch, class, predicted, value, low, high)
    SELECT $1, item.position, metric, split, epoch, label, predicted, value, low, high
    FROM ROWS FROM (jsonb_to_recordset($2) AS (metric text, split text, epoch integer, label text, predicted text,
                                               value double precision, low double precision, high double precision))
         WITH ORDINALITY AS item(metric, split, epoch, label, predicted, value, low, high, position)
    WHERE value IS NOT NULL
"""

_INSERT_INPUTS = """
    INSERT INTO delc.run_inputs (run_id, position, dataset_version_id, model_version_id, split, epoch)
    SELECT $1, item.position, dataset_version_id, model_version_id, split, epoch
    FROM ROWS FROM (jsonb_to_recordset($2)
                        AS (dataset_version_id bigint, model_version_id bigint, split text, epoch integer))
         WITH ORDINALITY AS item(dataset_version_id, model_version_id, split, epoch, position)
"""

_INSERT_OUTPUTS = """
    INSERT INTO delc.run_outputs (run_id, position, dataset_version_id, model_version_id)
    SELECT $1, item.position, dataset_version_id, model_version_id
    FROM ROWS FROM (jsonb_to_recordset($2) AS (dataset_version_id bigint, model_version_id bigint))
         WITH ORDINALITY AS item(dataset_version_id, model_version_id, position)
"""
