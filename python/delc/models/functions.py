"""The room's SQL functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from delc.log.runs import running
from delc.models import (
    aliases,
    committing,
    copying,
    describing,
    dropping,
    files,
    lineage,
    merging,
    pruning,
    row_uses,
    training_data,
    versions,
)
from delc.server.errors import InvalidParameter

Rows = Iterator[dict[str, Any]]

set_alias = aliases.set_alias
drop_alias = aliases.drop_alias
drop_model = dropping.drop_model
drop_snapshot = dropping.drop_snapshot
describe_model = describing.describe
describe_parameters = describing.describe_parameters
diff_models = describing.diff
diff_parameters = describing.diff_parameters
attach_file = files.attach
read_file = files.read
detach_file = files.detach
lineage_of = lineage.lineage_of
models_of_row = row_uses.models_of_row
training_query = training_data.training_query
training_rows_query = training_data.training_rows_query


def find_snapshot(model: str) -> int:
    """The id of the snapshot that a name means: by default the one that the version predicts with."""
    return versions.resolve(model).snapshot_id


def copy_model(source: str, new_name: str, network: str | None, seed: int, message: str | None) -> str:
    """Makes a version from another, with a changed network where changes are given; its name."""
    changes = {} if network is None else json.loads(network)
    if not isinstance(changes, dict):
        raise InvalidParameter(
            f"network is {network:.100}", detail='Expected are changes by layer, such as {"dropout1": {"p": 0.5}}.'
        )
    arguments = {"source": source, "new_name": new_name, "network": changes, "seed": seed, "message": message}
    with running("copy_model", subject=str(new_name), arguments=arguments, seed=seed) as run:
        return copying.copy(run, source, new_name, changes, seed or 0, message)


def merge_models(
    new_name: str,
    models: list[str | None] | None,
    weights: list[float | None] | None,
    method: str,
    base: str | None,
    message: str | None,
) -> str:
    """Makes one version of several; its name."""
    arguments = {
        "new_name": new_name,
        "models": models,
        "weights": weights,
        "method": method,
        "base": base,
        "message": message,
    }
    with running("merge_models", subject=str(new_name), arguments=arguments) as run:
        return merging.merge(run, new_name, models, weights, method, base, message)


def commit_parameters(model: str, base: str, query: str, message: str | None) -> str:
    """Makes a version of weights that a query gives; its name."""
    arguments = {"model": model, "base": base, "parameters": query, "message": message}
    with running("commit_parameters", subject=str(model), arguments=arguments) as run:
        return committing.commit(run, model, base, query, message)


def prune_model(
    model: str, keep_last: int, keep_best: int, metric: str | None, keep_tagged: bool, dry_run: bool
) -> Rows:
    """Says which versions of a model stay and which go, and drops those unless ``dry_run``."""
    if dry_run or dry_run is None:
        yield from pruning.prune(model, keep_last, keep_best, metric, keep_tagged, dry_run)
        return
    arguments = {
        "model": model,
        "keep_last": keep_last,
        "keep_best": keep_best,
        "metric": metric,
        "keep_tagged": keep_tagged,
    }
    with running("prune_model", subject=str(model), arguments=arguments):
        found = list(pruning.prune(model, keep_last, keep_best, metric, keep_tagged, dry_run))
    yield from found
