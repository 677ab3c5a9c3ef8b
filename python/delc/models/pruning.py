"""Retention: which versions of a model stay, and why; the others go."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from delc.models import dropping, names, versions
from delc.models.ownership import require_owner
from delc.server import queries, rights
from delc.server.errors import InvalidParameter, UndefinedObject, unknown

DEFAULT_METRICS = {"classification": "accuracy", "multilabel": "f1", "regression": "r2"}


@dataclass(frozen=True)
class Policy:
    """What stays: the last, the best by a metric, those with an alias."""

    keep_last: int
    keep_best: int
    keep_tagged: bool


def prune(
    model: str, keep_last: int, keep_best: int, metric: str | None, keep_tagged: bool, dry_run: bool
) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.prune_model`` returns, newest version first."""
    name = names.parse(model)
    if not name.is_whole:
        raise InvalidParameter(f'"{model}" names a version', hint=f'Versions of a model are pruned: "{name.model}".')
    if None in (keep_last, keep_best, keep_tagged, dry_run):
        raise InvalidParameter("keep_last, keep_best, keep_tagged and dry_run must not be NULL")
    if keep_last < 1 or keep_best < 0:
        raise InvalidParameter(
            f"keep_last is {keep_last} and keep_best is {keep_best}",
            detail="The last version always stays, so keep_last is at least 1; keep_best is at least 0.",
        )
    newest = versions.resolve(name.model)
    require_owner(name.model)
    username = rights.caller()
    measured = metric or DEFAULT_METRICS[newest.task]
    with queries.as_owner():
        found = queries.rows(_VERSIONS, newest.model_id, measured)
        if metric is not None and all(row["value"] is None for row in found):
            raise _never_measured(metric, name.model, newest.model_id)
        policy, lower_is_better = Policy(keep_last, keep_best, keep_tagged), _is_cost(measured)
        reasons = _reasons(found, policy, measured, lower_is_better)
        if not dry_run:
            # What others were making of these versions is there, or is not made any more, once they are locked.
            dropping.lock([row["id"] for row in found])
            found = queries.rows(_VERSIONS, newest.model_id, measured)
            reasons = _reasons(found, policy, measured, lower_is_better)
            dropping.drop_versions([row["id"] for row in found if row["id"] not in reasons], newest.model_id, username)
    for row in found:
        yield {
            "version": f"{name.model}@{row['number']}",
            "action": "keep" if row["id"] in reasons else "drop",
            "reason": "; ".join(reasons.get(row["id"], ["no rule keeps it"])),
            "metric": measured,
            "value": row["value"],
            "stored_bytes": row["stored_bytes"],
        }


def _is_cost(metric: str) -> bool:
    return bool(queries.value("SELECT delc.lower_is_better($1)", metric))


def _reasons(
    found: Sequence[dict[str, Any]], policy: Policy, metric: str, lower_is_better: bool
) -> dict[int, list[str]]:
    """Why versions stay, by id; ``found`` goes from the newest to the oldest."""
    reasons: dict[int, list[str]] = {}
    for place, row in enumerate(found[: policy.keep_last], start=1):
        reasons.setdefault(row["id"], []).append("the last" if place == 1 else f"one of the last {policy.keep_last}")
    for place, row in enumerate(_best(found, lower_is_better)[: policy.keep_best], start=1):
        reasons.setdefault(row["id"], []).append(f"number {place} by {metric}")
    for row in found:
        kept = row["aliases"] if policy.keep_tagged else [alias for alias in row["aliases"] if alias == "default"]
        if kept:
            reasons.setdefault(row["id"], []).append(f"alias {', '.join(kept)}")
    _keep_ancestors(found, reasons)
    return reasons


def _best(found: Sequence[dict[str, Any]], lower_is_better: bool) -> list[dict[str, Any]]:
    """Those that were measured, as numbers, the best first; of equals the newest."""
    measured = [row for row in found if row["value"] is not None and not math.isnan(row["value"])]
    return sorted(measured, key=lambda row: row["value"] if lower_is_better else -row["value"])


def _keep_ancestors(found: Sequence[dict[str, Any]], reasons: dict[int, list[str]]) -> None:
    """A version from which one that stays was made must stay. Newer ones come first, so one pass is enough."""
    own = {row["id"] for row in found}
    for row in sorted(found, key=lambda row: -int(row["id"])):
        derived = zip(row["derived"], row["derived_names"], strict=True)
        staying = [name for version, name in derived if version not in own or version in reasons]
        if staying:
            reasons.setdefault(row["id"], []).append(f"{', '.join(staying[:3])} was made from it")


def _never_measured(metric: str, model: str, model_id: int) -> UndefinedObject:
    error = unknown(
        "metric", metric, [row["metric"] for row in queries.rows(_METRICS, model_id)], where=f'of "{model}"'
    )
    assert isinstance(error, UndefinedObject)
    return error


_VERSIONS = """
    SELECT version.id, version.number, delc.metric_of(version.id, $2) AS value,
           (SELECT coalesce(sum(delc.stored_bytes(stored.value)), 0)::bigint FROM delc.stored_tensors AS stored
            WHERE stored.id IN (SELECT parameter.tensor_id FROM delc.snapshots AS snapshot
                                JOIN delc.snapshot_parameters AS parameter ON parameter.snapshot_id = snapshot.id
                                WHERE snapshot.version_id = version.id)) AS stored_bytes,
           ARRAY(SELECT alias.alias FROM delc.model_aliases AS alias
                 WHERE alias.version_id = version.id ORDER BY 1) AS aliases,
           ARRAY(SELECT edge.derived FROM delc.model_version_parents AS edge
                 WHERE edge.base = version.id ORDER BY edge.derived) AS derived,
           ARRAY(SELECT model.name || '@' || other.number FROM delc.model_version_parents AS edge
                 JOIN delc.model_versions AS other ON other.id = edge.derived
                 JOIN delc.models AS model ON model.id = other.model_id
                 WHERE edge.base = version.id ORDER BY edge.derived) AS derived_names
    FROM delc.model_versions AS version
    WHERE version.model_id = $1
    ORDER BY version.number DESC
"""

_METRICS = """
    SELECT DISTINCT metric.metric
    FROM delc.model_versions AS version
    LEFT JOIN delc.run_inputs AS tested ON tested.model_version_id = version.id
    JOIN delc.metrics AS metric ON metric.run_id IN (version.run_id, tested.run_id)
    WHERE version.model_id = $1 AND metric.class IS NULL AND metric.predicted IS NULL
"""
