"""From one row of a data set to the versions of models that were trained or measured on it, and to all made from those.

A version of a model is trained on a version of a data set, which has some state of the row in one of its splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from delc.datasets import row_states
from delc.datasets.row_search import State
from delc.datasets.row_states import RowStates
from delc.server import progress, queries
from delc.server.errors import InsufficientPrivilege

TRAINED, VALIDATED, HELD_OUT, EVALUATED = "trained", "validated", "held out", "evaluated"
_USES = {"train": TRAINED, "validation": VALIDATED, "test": HELD_OUT}

Row = dict[str, Any]


def models_of_row(dataset: str | None, key: str | None) -> Iterator[Row]:
    """The rows that ``delc.models_of_row`` returns: first what was trained on the row, then what was made from that,
    then evaluations; then the same of data sets that were drawn from this one as samples.
    """
    found = row_states.find(dataset, key)
    yield from _uses(found)
    having = [found.members[number].id for number, state in found.held.items() if state]
    with queries.as_owner():
        samples = [row["name"] for row in queries.rows(_SAMPLES, queries.typed(having, "bigint[]"))]
    for sample in samples:
        try:
            yield from models_of_row(sample, key)
        except InsufficientPrivilege:
            progress.notice(f'models of data set "{sample}", a sample, are not listed, because you may not read it')


def _uses(found: RowStates) -> Iterator[Row]:
    by_id = {found.members[number].id: (number, state) for number, state in found.held.items() if state}
    ids = queries.typed(list(by_id), "bigint[]")
    with queries.as_owner():
        trained = queries.rows(_TRAINED, ids)
        derived = queries.rows(_DERIVED, queries.typed([row["id"] for row in trained], "bigint[]"))
        evaluated = queries.rows(_EVALUATED, ids)
    direct = {row["id"]: _row(found, by_id, row, None) for row in trained}
    yield from direct.values()
    for row in derived:
        base = direct[row["base"]]
        own = direct.get(row["id"])
        if base["use"] != HELD_OUT and (own is None or own["use"] != base["use"]):
            yield {**base, **_run(row), "via": base["model"]}
    for row in evaluated:
        measured = _row(found, by_id, row, EVALUATED)
        if row["tested_split"] in (None, measured["split"]):
            yield measured


def _row(found: RowStates, by_id: Mapping[int, tuple[int, State]], row: Row, use: str | None) -> Row:
    number, state = by_id[row["dataset_version_id"]]
    return {
        **_run(row),
        "use": use or _USES[state.split],
        "split": state.split,
        "version": f"{found.dataset}@{number}",
        "state": state.values,
        "via": None,
    }


def _run(row: Row) -> Row:
    return {name: row[name] for name in ("model", "operation", "run_id", "username", "at")}


_TRAINED = """
    SELECT version.id, model.name || '@' || version.number AS model, version.dataset_version_id,
           run.operation, version.run_id, version.created_by AS username, version.created_at::text AS at
    FROM delc.model_versions AS version
    JOIN delc.models AS model ON model.id = version.model_id
    LEFT JOIN delc.runs AS run ON run.id = version.run_id
    WHERE version.dataset_version_id = ANY ($1)
    ORDER BY version.id
"""

_SAMPLES = """
    SELECT DISTINCT dataset.name
    FROM delc.run_inputs AS drawn_from
    JOIN delc.runs AS run ON run.id = drawn_from.run_id AND run.operation = 'sample_dataset'
    JOIN delc.run_outputs AS output ON output.run_id = run.id
    JOIN delc.dataset_versions AS version ON version.id = output.dataset_version_id
    JOIN delc.datasets AS dataset ON dataset.id = version.dataset_id
    JOIN delc.dataset_versions AS source ON source.id = drawn_from.dataset_version_id
    WHERE drawn_from.dataset_version_id = ANY ($1) AND source.dataset_id <> dataset.id
    ORDER BY 1
"""

_DERIVED = """
    WITH RECURSIVE derived AS (
        SELECT parent.base AS base, parent.derived AS id
        FROM delc.model_version_parents AS parent WHERE parent.base = ANY ($1)
        UNION
        SELECT derived.base, parent.derived
        FROM derived JOIN delc.model_version_parents AS parent ON parent.base = derived.id
    )
    SELECT derived.base, version.id, model.name || '@' || version.number AS model,
           run.operation, version.run_id, version.created_by AS username, version.created_at::text AS at
    FROM derived
    JOIN delc.model_versions AS version ON version.id = derived.id
    JOIN delc.models AS model ON model.id = version.model_id
    LEFT JOIN delc.runs AS run ON run.id = version.run_id
    ORDER BY version.id, derived.base
"""

_EVALUATED = """
    SELECT tested.model_version_id AS id, model.name || '@' || version.number AS model, read.dataset_version_id,
           read.split AS tested_split, run.operation, run.id AS run_id, run.username, run.finished_at::text AS at
    FROM delc.run_inputs AS read
    JOIN delc.runs AS run ON run.id = read.run_id AND run.operation = 'evaluate' AND run.outcome = 'succeeded'
    JOIN delc.run_inputs AS tested ON tested.run_id = run.id AND tested.model_version_id IS NOT NULL
    JOIN delc.model_versions AS version ON version.id = tested.model_version_id
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE read.dataset_version_id = ANY ($1)
    ORDER BY run.id
"""
