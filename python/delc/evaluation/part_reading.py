"""Metrics of a model of which only a part of the parameters is read."""

from __future__ import annotations

from collections.abc import Iterator

from delc.evaluation.costs import known_cost_rows
from delc.evaluation.data import EvaluationData
from delc.evaluation.rows import MetricRow
from delc.evaluation.scoring import collect_from, metrics
from delc.features import RowLayout
from delc.features.fitted_target import Regression
from delc.inference.forward import Outputs, inputs
from delc.inference.progressive import answering, precision
from delc.models.versions import ModelVersion

OF_LABELS = frozenset({
    "rows", "unseen_labels", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "support", "confusion",
    "exact_match", "hamming_loss", "micro_f1",
})  # fmt: skip
"""Metrics that the predicted labels decide. Others look at probabilities, which are known in full precision only."""


def measured_from_a_part(
    version: ModelVersion, data: EvaluationData, reading: str, confidence: float, seed: int
) -> list[MetricRow]:
    """The metrics, then parameters, stored bytes and flops; no latency, which is that of the whole model."""
    found = answering.answering(version, reading)
    answering.say_rounded(found)
    features, resolved = found.model.features, found.model.resolved

    def predict(query: str, layout: RowLayout) -> Iterator[Outputs]:
        for part in inputs(features, resolved.activation_bytes(1), query, layout):
            yield Outputs(part.portal, part.batch, found.answer(part.inputs).outputs)

    scores, targets = collect_from(features, found.target, predict, data)
    rows = metrics(found.target, scores, targets, confidence, seed)
    if found.chosen.kind == precision.PROGRESSIVE and not isinstance(found.target, Regression):
        rows = [row for row in rows if row.metric in OF_LABELS]
    return [*rows, *known_cost_rows(version, resolved.flops(1))]
