"""The rows that a model is measured on: a version of a data set, or a query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from delc.datasets.versions import resolve

QUERY_BEGINS = re.compile(r"\s*(\(|(select|with|values|table)\b|--|/\*)", re.IGNORECASE)


@dataclass(frozen=True)
class EvaluationData:
    """A query for the rows, and where they come from. ``split_name`` is what ``delc.metrics.split`` says."""

    query: str
    dataset_version_id: int | None
    split_name: str


def find_data(data: str, split: str | None) -> EvaluationData:
    """What ``evaluate`` was given as data."""
    if QUERY_BEGINS.match(data):
        return EvaluationData(data, None, "query")
    version = resolve(data)
    return EvaluationData(version.query(split), version.id, split or "all")
