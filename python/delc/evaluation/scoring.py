"""Running a model over rows whose target is known, and computing its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from delc.evaluation.classification import classification_metrics
from delc.evaluation.data import EvaluationData
from delc.evaluation.multilabel import multilabel_metrics
from delc.evaluation.regression import regression_metrics
from delc.evaluation.rows import MetricRow
from delc.features import FittedFeatures, RowLayout
from delc.features.fitted_target import Classification, FittedTarget, Multilabel
from delc.inference.forward import Outputs, outputs
from delc.inference.outputs import Scores, scores
from delc.models.loaded import LoadedModel
from delc.server import interrupts, progress, queries
from delc.server.errors import InvalidData
from delc.server.memory import MemoryWatch

Targets = npt.NDArray[Any]
"""What is right for each row, encoded as the loss takes it."""

Predict = Callable[[str, RowLayout], Iterator[Outputs]]
"""The outputs for the rows of a query, in batches."""


def scored_rows(model: LoadedModel, data: EvaluationData, confidence: float, seed: int) -> list[MetricRow]:
    """The metrics of the model's task. Raises ``InvalidData`` when there are no rows."""
    predicted, targets = collect(model, data)
    progress.report("computing metrics")
    return metrics(model.target, predicted, targets, confidence, seed)


def collect(model: LoadedModel, data: EvaluationData) -> tuple[Scores, Targets]:
    """Scores and encoded targets of all rows. Raises ``InvalidData`` when there are none."""
    return collect_from(model.features, model.target, lambda query, layout: outputs(model, query, layout), data)


def collect_from(
    features: FittedFeatures, target: FittedTarget, predict: Predict, data: EvaluationData
) -> tuple[Scores, Targets]:
    """As ``collect``, of what ``predict`` says."""
    watch = MemoryWatch.begin()
    layout = features.layout_for(queries.describe(data.query), target=target)
    encoder = target.encoder(layout)
    found, actual, rows = [], [], 0
    for part in predict(data.query, layout):
        found.append(scores(target, part.logits))
        actual.append(encoder.encode(part.batch).numpy())
        rows += part.batch.rows
        progress.report("predicting", batch=len(found))
        watch.check()
    if not rows:
        raise InvalidData("there are no rows to evaluate", hint="Look at the data set's split, or at the query.")
    return np.concatenate(found), np.concatenate(actual)


def metrics(target: FittedTarget, predicted: Scores, targets: Targets, confidence: float, seed: int) -> list[MetricRow]:
    """The metrics of a task for what ``collect`` found."""
    check = interrupts.check
    if isinstance(target, Classification):
        return classification_metrics(predicted, targets, target.labels, confidence, seed, check)
    if isinstance(target, Multilabel):
        return multilabel_metrics(predicted, targets, target.labels, confidence, check)
    return regression_metrics(predicted, target.unscale(targets), target.labels, confidence, check)
