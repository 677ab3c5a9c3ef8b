"""The rows that ``delc.dql`` returns."""

from __future__ import annotations

from typing import Any

from delc.dql.making import NewModel
from delc.dql.selecting import Found, describe

Row = dict[str, Any]

COLUMNS = (
    "number",
    "variable",
    "model",
    "state",
    "source",
    "detail",
    "metric",
    "value",
    "iterations",
    "run_id",
    "version_id",
)
_EMPTY: Row = dict.fromkeys(COLUMNS)


def row(**values: Any) -> Row:
    """One row, with its columns in order; what is not given is NULL."""
    return {**_EMPTY, **values}


def found_rows(found: Found) -> list[Row]:
    """A row for each variable of each match."""
    known = describe([version_id for ids in found.rows for version_id in ids])
    result = []
    for number, (ids, value) in enumerate(zip(found.rows, found.values, strict=True), start=1):
        for variable, version_id in zip(found.variables, ids, strict=True):
            version = known[version_id]
            result.append(
                row(
                    number=number,
                    variable=variable,
                    model=version["title"],
                    state="matched",
                    source=version["source"],
                    detail=version["detail"],
                    metric=found.metric,
                    value=value,
                    run_id=version["run_id"],
                    version_id=version_id,
                )
            )
    return result


def made_rows(variable: str, made: list[NewModel], run_id: int) -> list[Row]:
    """A row for each version that slice or construct made."""
    return [
        row(
            number=number,
            variable=variable,
            model=model.title,
            state=model.relation,
            source=model.source,
            detail=model.detail,
            run_id=run_id,
            version_id=model.version_id,
        )
        for number, model in enumerate(made, start=1)
    ]


def plan_rows(lines: list[tuple[str, str]]) -> list[Row]:
    """A row for each step of a plan: what it works on, and what would be done."""
    return [row(number=number, state="plan", source=what, detail=text) for number, (what, text) in enumerate(lines, 1)]
