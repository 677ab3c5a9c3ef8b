"""From a version of a model back to the rows that it was trained on."""

from __future__ import annotations

from delc.datasets import versions as datasets
from delc.datasets.comparing import jsonb_object, split_name
from delc.datasets.splits import check_split
from delc.datasets.versions import DatasetVersion
from delc.models import versions
from delc.server import queries
from delc.server.errors import WrongState


def training_query(model: str | None, split: str | None) -> str:
    """SQL for the rows of the data set's version, or of one split, as ``delc.dataset_query`` gives them."""
    found = _data_of(model)
    return found.query(split, found.column_names)


def training_rows_query(model: str | None, split: str | None) -> str:
    """SQL for the same rows as (key, split, state): JSON, whatever columns the data set has."""
    found = _data_of(model)
    letter = check_split(split)
    condition = "" if letter is None else f" WHERE {split_name('r.delc_split')} = {queries.quote_literal(letter)}"
    key = _object(found, found.key_columns) if found.key_columns else "NULL::pg_catalog.jsonb"
    return (
        f"SELECT {key}, {split_name('r.delc_split')}, {_object(found, found.column_names)}"
        f" FROM ({found.rows_query()}) AS r{condition}"
    )


def _object(version: DatasetVersion, names: list[str] | tuple[str, ...]) -> str:
    return jsonb_object([(name, f"r.{queries.quote_identifier(name)}") for name in names])


def _data_of(model: str | None) -> DatasetVersion:
    version = versions.resolve(model)
    if version.dataset_version_id is None:
        raise WrongState(
            f'"{version}" was not trained on a data set, but imported or made from other versions',
            hint=f"What it was made from: SELECT * FROM delc.lineage_of('model', "
            f"{queries.quote_literal(version.title)}, 'up').",
        )
    return datasets.resolve(datasets.title_of(version.dataset_version_id))
