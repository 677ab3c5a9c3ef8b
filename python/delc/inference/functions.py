"""The room's SQL functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from delc.datasets.identifiers import split_identifiers
from delc.features import FittedFeatures
from delc.features.fitted_target import Regression, target_from_json
from delc.inference import row
from delc.inference.forward import inputs, outputs
from delc.inference.outputs import Codes, Scores, ranked, scores, text_of
from delc.inference.progressive import answering, comparing, details, precision
from delc.models import loaded, versions
from delc.server import queries, settings, threads
from delc.server.batches import QueryColumn
from delc.server.errors import InvalidParameter, unknown


def prepare_prediction(model: str, names: Sequence[str], types: Sequence[str], argument: str) -> int:
    """The handle of a prediction for rows of these columns."""
    return row.prepare(model, names, types, argument)


def predict_packed(handle: int) -> str:
    """The prediction for the packed row, as text."""
    prediction = row.of_handle(handle)
    if prediction.argument:
        return _predict_reading(prediction)
    return text_of(prediction.model.target, prediction.logits())


def _predict_reading(prediction: row.RowPrediction) -> str:
    """The prediction from a part of the parameters; the argument says which."""
    found = answering.answering(prediction.version, prediction.argument)
    if not prediction.said:
        prediction.said = True
        answering.say_rounded(found)
    return text_of(found.target, found.answer(prediction.inputs()).outputs)


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


def run_prediction(
    model: str,
    query: str,
    top: int | None,
    key_column: str | None,
    how: str | None,
    tolerance: float | None,
    detailed: bool,
) -> None:
    """Gives the predictions for a query's rows to the running ``predict_rows`` or ``predict_rows_progressive``."""
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
    chosen = precision.parse(how)
    precision.check_tolerance(tolerance)
    threads.use(settings.threads())
    version = versions.resolve(model)
    whole = loaded.load(version) if chosen.full and not detailed else None
    features = whole.features if whole else FittedFeatures.from_json(version.features)
    target = whole.target if whole else target_from_json(version.target)
    if top is not None and isinstance(target, Regression):
        raise InvalidParameter(
            f'top is {top}, but model "{version}" predicts numbers, which have no order',
            hint="Leave top away: every output is a row.",
        )
    if tolerance is not None and not isinstance(target, Regression):
        raise InvalidParameter(
            f'tolerance is {tolerance:g}, but model "{version}" predicts labels, which are certified as they are',
            detail="A tolerance is how far a certified number of a regression may be from that of full precision.",
            hint="Leave tolerance away.",
        )
    columns = queries.describe(query)
    keys = [key_column] if key_column is not None else default_key(features, columns)
    layout = features.layout_for(columns, keys=keys)
    with queries.as_owner():
        queries.execute(
            "SELECT delc.begin_predictions($1, $2)",
            queries.typed(list(target.labels), "text[]"),
            not isinstance(target, Regression),
        )
    if whole:
        for computed in outputs(whole, query, layout):
            _emit(computed.portal, *ranked(target, computed.logits, top))
        return
    found = answering.answering(version, how or "", top, tolerance)
    answering.say_rounded(found)
    for part in inputs(features, found.model.resolved.activation_bytes(1), query, layout):
        answers = found.answer(part.inputs)
        codes, values = ranked(target, answers.outputs, top)
        with queries.as_owner():
            queries.execute(
                "SELECT delc.emit_details($1, $2)",
                queries.typed(list(details.METHODS), "text[]"),
                details.packed(answers, found.error_rates, codes.shape[1]),
            )
        _emit(part.portal, codes, values)


def _emit(portal: str, codes: Codes, values: Scores) -> None:
    with queries.as_owner():
        queries.execute(
            "SELECT delc.emit_predictions($1, $2, $3, $4)",
            portal,
            queries.typed(codes.shape[1], "integer"),
            np.ascontiguousarray(codes, dtype=np.int32).tobytes(),
            np.ascontiguousarray(values, dtype=np.float64).tobytes(),
        )


describe_parameters_progressive = comparing.describe_parameters
diff_parameters_progressive = comparing.diff_parameters


def progressive_reading() -> Iterator[dict[str, Any]]:
    """The rows that ``delc.progressive_reading`` returns."""
    return answering.last_report()


def default_key(features: FittedFeatures, columns: Sequence[QueryColumn]) -> list[str]:
    """The first column that the model does not read, if there is one; a lone array may go by another name."""
    names = {column.planned.name for column in features.columns}
    others = [column.name for column in columns if column.name not in names]
    if len(names) == 1 and not names & {column.name for column in columns}:
        layout = features.layout_for(columns)
        taken = {slot.name for slot in layout.slots.values()}
        others = [name for name in others if name not in taken]
    return others[:1]
