"""The room's SQL functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from delc.datasets.identifiers import split_identifiers
from delc.features.fitted_target import Regression
from delc.inference import row
from delc.inference.forward import outputs
from delc.inference.outputs import ranked, scores, text_of
from delc.models import loaded, versions
from delc.models.loaded import LoadedModel
from delc.server import queries, settings, threads
from delc.server.batches import QueryColumn
from delc.server.errors import InvalidParameter, unknown


def prepare_prediction(model: str, names: Sequence[str], types: Sequence[str], argument: str) -> int:
    """The handle of a prediction for rows of these columns."""
    return row.prepare(model, names, types, argument)


def predict_packed(handle: int) -> str:
    """The prediction for the packed row, as text."""
    prediction = row.of_handle(handle)
    return text_of(prediction.model.target, prediction.logits())


def predict_value_packed(handle: int) -> float:
    """The number predicted for the packed row."""
    prediction = row.of_handle(handle)
    target = prediction.model.target
    if not isinstance(target, Regression) or target.outputs != 1:
        raise InvalidParameter(
            f'model "{prediction.model.version}" does not predict one number',
            detail=f"Its task is {target.task}, with {target.outputs} outputs.",
            hint="Use predict(), predict_probability() or predict_rows().",
        )
    return float(scores(target, prediction.logits())[0, 0])


def predict_probability_packed(handle: int) -> float:
    """The probability that the packed row has the label."""
    prediction = row.of_handle(handle)
    target = prediction.model.target
    if isinstance(target, Regression):
        raise InvalidParameter(f'model "{prediction.model.version}" predicts numbers, which have no probability')
    if prediction.argument not in target.labels:
        raise unknown("label", prediction.argument, target.labels, where=f'of model "{prediction.model.version}"')
    return float(scores(target, prediction.logits())[0, target.labels.index(prediction.argument)])


def embed_packed(handle: int) -> Any:
    """The activations for the packed row, flat float32."""
    prediction = row.of_handle(handle)
    module = prediction.model.built.module
    layer = prediction.argument or module.embedding_layer()
    return row.as_float32(module.activations(prediction.inputs(), layer))


def run_prediction(model: str, query: str, top: int | None, key_column: str | None) -> None:
    """Gives the predictions for a query's rows to the running ``predict_rows``."""
    if query is None:
        raise InvalidParameter("the query is NULL", hint="Give one for the rows, such as 'SELECT * FROM …'.")
    if split_identifiers(query, ".") is not None:
        raise InvalidParameter(
            f'"{query}" is a name, not a query',
            hint=f"Give one SELECT: 'SELECT * FROM {query}' for a table,"
            f" delc.dataset_query({queries.quote_literal(query)}) for a data set.",
        )
    if top is not None and top < 1:
        raise InvalidParameter(f"top is {top}, but must be at least 1")
    threads.use(settings.threads())
    found = loaded.load(versions.resolve(model))
    if top is not None and isinstance(found.target, Regression):
        raise InvalidParameter(
            f'top is {top}, but model "{found.version}" predicts numbers, which have no order',
            hint="Leave top away: every output is a row.",
        )
    columns = queries.describe(query)
    keys = [key_column] if key_column is not None else default_key(found, columns)
    layout = found.features.layout_for(columns, keys=keys)
    with queries.as_owner():
        queries.execute(
            "SELECT delc.begin_predictions($1, $2)",
            queries.typed(list(found.target.labels), "text[]"),
            not isinstance(found.target, Regression),
        )
    for part in outputs(found, query, layout):
        codes, values = ranked(found.target, part.logits, top)
        with queries.as_owner():
            queries.execute(
                "SELECT delc.emit_predictions($1, $2, $3, $4)",
                part.portal,
                queries.typed(codes.shape[1], "integer"),
                np.ascontiguousarray(codes, dtype=np.int32).tobytes(),
                np.ascontiguousarray(values, dtype=np.float64).tobytes(),
            )


def default_key(model: LoadedModel, columns: Sequence[QueryColumn]) -> list[str]:
    """The first column that the model does not read, if there is one; a lone array may go by another name."""
    features = {column.planned.name for column in model.features.columns}
    others = [column.name for column in columns if column.name not in features]
    if len(features) == 1 and not features & {column.name for column in columns}:
        layout = model.features.layout_for(columns)
        taken = {slot.name for slot in layout.slots.values()}
        others = [name for name in others if name not in taken]
    return others[:1]
