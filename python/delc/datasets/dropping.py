"""Dropping a data set, unless models were made from it."""

from __future__ import annotations

from delc.datasets import catalog, names, store
from delc.server import foreign_keys, queries
from delc.server.errors import DependentObjects

_MOST_MODELS_LISTED = 20


def drop(name: str) -> int:
    """Drops a data set with its versions, rows and tables; how many versions went. What ran on it stays in the log."""
    dataset = catalog.lock_dataset(names.parse_dataset(name, "Drop all versions with"))
    catalog.require_ownership(dataset, "drop", or_admin=True)
    _require_no_models(dataset)
    _require_no_views(dataset)
    in_use = f'data set "{dataset.name}" was not dropped: another transaction has used a version of it meanwhile'
    with queries.as_owner(), foreign_keys.conflict(in_use, "Try again: what keeps it is then seen."):
        for statement in _DELETIONS:
            queries.execute(statement, dataset.id)
        dropped: int = queries.execute("DELETE FROM delc.dataset_versions WHERE dataset_id = $1", dataset.id)
        queries.execute("DELETE FROM delc.datasets WHERE id = $1", dataset.id)
    store.drop_tables(dataset.id)
    return dropped


def _require_no_models(dataset: catalog.Dataset) -> None:
    with queries.as_owner():
        models = [row["model"] for row in queries.rows(_MODELS, dataset.id)]
    if models:
        listed = ", ".join(models[:_MOST_MODELS_LISTED])
        more = f" and {len(models) - _MOST_MODELS_LISTED} more" if len(models) > _MOST_MODELS_LISTED else ""
        raise DependentObjects(
            f'data set "{dataset.name}" cannot be dropped: models were trained on it',
            detail=f"Models: {listed}{more}.",
            hint="Drop them first with delc.drop_model().",
        )


def _require_no_views(dataset: catalog.Dataset) -> None:
    views = store.views(dataset.id)
    if views:
        raise DependentObjects(
            f'data set "{dataset.name}" cannot be dropped: views read its versions',
            detail=f"Views: {', '.join(views)}.",
            hint=f"Drop them first, such as DROP VIEW {views[0]}.",
        )


_MODELS = """
    SELECT DISTINCT model.name AS model
    FROM delc.dataset_versions AS version
    JOIN delc.run_inputs AS input ON input.dataset_version_id = version.id
    JOIN delc.run_outputs AS output ON output.run_id = input.run_id
    JOIN delc.model_versions AS made ON made.id = output.model_version_id
    JOIN delc.models AS model ON model.id = made.model_id
    WHERE version.dataset_id = $1
    ORDER BY 1
"""

_DELETIONS = (
    "DELETE FROM delc.dataset_refs WHERE dataset_id = $1",
    """
    DELETE FROM delc.run_inputs AS input USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND input.dataset_version_id = version.id
    """,
    """
    DELETE FROM delc.run_outputs AS output USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND output.dataset_version_id = version.id
    """,
    """
    DELETE FROM delc.dataset_version_parents AS parent USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND parent.version_id = version.id
    """,
)
