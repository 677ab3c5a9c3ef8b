"""Rows on which two versions of models say different things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delc.datasets.versions import resolve
from delc.evaluation.data import QUERY_BEGINS
from delc.models import versions
from delc.server import queries
from delc.server.errors import InvalidParameter


def disagreements(
    a: str, b: str, data: str, split: str | None, key_column: str | None, tolerance: float
) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.diff_predictions`` returns."""
    if data is None:
        raise InvalidParameter("data is NULL", hint="Name a data set, or give a query.")
    if tolerance is None or not tolerance >= 0:
        raise InvalidParameter(f"tolerance is {tolerance}; it must be a number >= 0")
    first, second = versions.resolve(a), versions.resolve(b)
    if first.task != second.task:
        raise InvalidParameter(
            f'"{first}" and "{second}" have different tasks: {first.task} and {second.task}',
            hint="Compare versions that predict the same.",
        )
    query, key = _rows(data, split, key_column)
    if first.task == "regression":
        yield from queries.rows(_VALUES, str(first), str(second), query, key, float(tolerance))
    else:
        text = _LABEL if first.task == "classification" else _LABELS
        yield from queries.rows(text, str(first), str(second), query, key)


def _rows(data: str, split: str | None, key_column: str | None) -> tuple[str, str | None]:
    """The query, and the column that tells its rows apart."""
    if QUERY_BEGINS.match(data):
        return data, key_column
    version = resolve(data)
    if key_column is None and len(version.key_columns) != 1:
        return version.query(split, row_number=True), "delc_row"
    return version.query(split), key_column or version.key_columns[0]


_LABEL = """
    WITH a AS (
        SELECT found.*, row_number() OVER (PARTITION BY found.key ORDER BY found.ordinality) AS copy
        FROM delc.predict_rows($1, $3, 1, $4) WITH ORDINALITY AS found
    ), b AS (
        SELECT found.*, row_number() OVER (PARTITION BY found.key ORDER BY found.ordinality) AS copy
        FROM delc.predict_rows($2, $3, 1, $4) WITH ORDINALITY AS found
    )
    SELECT a.key, a.label AS label_a, b.label AS label_b, a.probability AS probability_a,
           b.probability AS probability_b, NULL::double precision AS value_a, NULL::double precision AS value_b
    FROM a JOIN b ON b.key = a.key AND b.copy = a.copy
    WHERE a.label IS DISTINCT FROM b.label
    ORDER BY a.ordinality
"""

_LABELS = """
    WITH a AS (
        SELECT found.key, min(found.ordinality) AS ordinality,
               array_remove(array_agg(found.label ORDER BY found.label), NULL) AS labels
        FROM delc.predict_rows($1, $3, NULL, $4) WITH ORDINALITY AS found GROUP BY found.key
    ), b AS (
        SELECT found.key, array_remove(array_agg(found.label ORDER BY found.label), NULL) AS labels
        FROM delc.predict_rows($2, $3, NULL, $4) AS found GROUP BY found.key
    )
    SELECT coalesce(a.key, b.key) AS key, coalesce(a.labels, '{}')::text AS label_a,
           coalesce(b.labels, '{}')::text AS label_b, NULL::double precision AS probability_a,
           NULL::double precision AS probability_b, NULL::double precision AS value_a, NULL::double precision AS value_b
    FROM a FULL JOIN b ON b.key = a.key
    WHERE coalesce(a.labels, '{}') <> coalesce(b.labels, '{}')
    ORDER BY a.ordinality
"""

_VALUES = """
    WITH a AS (
        SELECT found.*, row_number() OVER (PARTITION BY found.key, found.label ORDER BY found.ordinality) AS copy
        FROM delc.predict_rows($1, $3, NULL, $4) WITH ORDINALITY AS found
    ), b AS (
        SELECT found.*, row_number() OVER (PARTITION BY found.key, found.label ORDER BY found.ordinality) AS copy
        FROM delc.predict_rows($2, $3, NULL, $4) WITH ORDINALITY AS found
    )
    SELECT a.key, a.label AS label_a, b.label AS label_b, NULL::double precision AS probability_a,
           NULL::double precision AS probability_b, a.value AS value_a, b.value AS value_b
    FROM a JOIN b ON b.key = a.key AND b.label = a.label AND b.copy = a.copy
    WHERE abs(a.value - b.value) > $5
    ORDER BY a.ordinality
"""
