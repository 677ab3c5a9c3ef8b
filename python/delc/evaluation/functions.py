"""The room's SQL functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delc.evaluation.costs import cost_rows
from delc.evaluation.data import EvaluationData, find_data
from delc.evaluation.disagreement import disagreements
from delc.evaluation.part_reading import measured_from_a_part
from delc.evaluation.rounding_report import report
from delc.evaluation.rows import MetricRow, check_confidence
from delc.evaluation.scoring import scored_rows
from delc.inference.progressive import precision
from delc.log.runs import Metric, running
from delc.models import loaded, versions
from delc.server import queries, settings, threads
from delc.server.errors import InvalidParameter, UndefinedObject, WrongState

archive_report = report


def evaluate(
    model: str, data: str | None, split: str | None, store: bool, confidence: float, seed: int, reading: str | None
) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.evaluate`` returns."""
    chosen = precision.parse(reading)
    for name, given in (("store", store), ("confidence", confidence), ("seed", seed)):
        if given is None:
            raise InvalidParameter(f"{name} is NULL", hint=f"Leave {name} away for its default.")
    check_confidence(confidence)
    version = versions.resolve(model)
    if data is None:
        yield from _stored(version)
        return
    if not chosen.full:
        threads.use(settings.threads())
        measured = measured_from_a_part(version, find_data(data, split), reading or "", confidence, seed)
    elif not store:
        measured = _measure(version, find_data(data, split), confidence, seed)
    else:
        measured = _measure_and_store(version, data, split, confidence, seed)
    for row in measured:
        yield _row(row.metric, row.label, row.value, row.low, row.high, row.predicted)


def diff_predictions(
    a: str, b: str, data: str, split: str | None, key_column: str | None, tolerance: float
) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.diff_predictions`` returns."""
    threads.use(settings.threads())
    return disagreements(a, b, data, split, key_column, tolerance)


def _measure(version: versions.ModelVersion, data: EvaluationData, confidence: float, seed: int) -> list[MetricRow]:
    threads.use(settings.threads())
    model = loaded.load(version)
    return [*scored_rows(model, data, confidence, seed), *cost_rows(model)]


def _measure_and_store(
    version: versions.ModelVersion, data: str, split: str | None, confidence: float, seed: int
) -> list[MetricRow]:
    if queries.value("SELECT pg_catalog.current_setting('transaction_read_only')") == "on":
        raise WrongState(
            "a read-only transaction, such as any of a standby server, cannot store an evaluation",
            hint="Call evaluate(…, store => false).",
        )
    arguments = {"model": str(version), "data": data, "split": split, "confidence": confidence, "seed": seed}
    with running("evaluate", subject=str(version), arguments=arguments, seed=seed) as run:
        found = find_data(data, split)
        run.add_input(model_version_id=version.id, epoch=version.epoch if version.snapshot else None)
        if found.dataset_version_id is not None:
            run.add_input(dataset_version_id=found.dataset_version_id, split=split)
        measured = _measure(version, found, confidence, seed)
        for row in measured:
            if row.value is not None:
                run.add_metric(
                    Metric(
                        row.metric,
                        row.value,
                        found.split_name,
                        label=row.label,
                        predicted=row.predicted,
                        low=row.low,
                        high=row.high,
                    )
                )
    return measured


def _stored(version: versions.ModelVersion) -> Iterator[dict[str, Any]]:
    with queries.as_owner():
        epoch = version.epoch if version.snapshot else None
        found = queries.rows(_LAST_EVALUATION, version.id, queries.typed(epoch, "integer"))
    if not found:
        raise UndefinedObject(
            f'no evaluation of "{version}" is stored',
            hint=f"Evaluate it on data: delc.evaluate('{version}', 'data set or query').",
        )
    for row in found:
        yield _row(row["metric"], row["class"], row["value"], row["low"], row["high"], row["predicted"])


def _row(
    metric: str, label: str | None, value: float | None, low: float | None, high: float | None, predicted: str | None
) -> dict[str, Any]:
    return {"metric": metric, "class": label, "value": value, "low": low, "high": high, "predicted": predicted}


_LAST_EVALUATION = """
    SELECT metric.metric, metric.class, metric.value, metric.low, metric.high, metric.predicted
    FROM delc.metrics AS metric
    WHERE metric.run_id = (
        SELECT run.id FROM delc.runs AS run JOIN delc.run_inputs AS input ON input.run_id = run.id
        WHERE input.model_version_id = $1 AND input.epoch IS NOT DISTINCT FROM $2
            AND run.operation = 'evaluate' AND run.outcome = 'succeeded'
        ORDER BY run.finished_at DESC, run.id DESC LIMIT 1)
    ORDER BY metric.position
"""
