"""Merging: one version from the parameters of several with the same network.

``average``: the weighted mean of the parameters (Wortsman et al., "Model soups", 2022).
``task_arithmetic``: base + Σ weight · (version − base) (Ilharco et al., "Editing Models with Task Arithmetic", 2023).

Numbers that are not learned cannot be added up in the same way: running means and variances of batch_norm are averaged
by either method (with the weights of ``average``, evenly by ``task_arithmetic``), and of counters, which are integers,
the greatest is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from delc.features import FittedFeatures
from delc.features.fitted_target import target_from_json
from delc.log.runs import Run
from delc.models import deriving, parameters, versions
from delc.models.parents import MERGED, parent
from delc.models.versions import ModelVersion
from delc.networks import Network, restore
from delc.server import interrupts, progress, queries
from delc.server.errors import InvalidParameter, unknown

AVERAGE, TASK_ARITHMETIC = "average", "task_arithmetic"
MOST_MERGED = 1000


@dataclass(frozen=True)
class Merge:
    """What is merged and how; one weight for each version."""

    found: Sequence[ModelVersion]
    weights: Sequence[float]
    base: ModelVersion | None


def merge(
    run: Run,
    new_name: str | None,
    models: Sequence[str | None] | None,
    weights: Sequence[float | None] | None,
    method: str | None,
    base: str | None,
    message: str | None,
) -> str:
    """Makes the version; its name."""
    model = deriving.check_new_name(new_name, "merge_models")
    plan = _plan(run, models, weights, method, base)
    _check_same([*plan.found, *([plan.base] if plan.base else [])])
    version_id = versions.reserve_id()
    first = plan.found[0]
    state = dict(_merged(plan))
    built = restore(
        Network.parse(first.network), FittedFeatures.from_json(first.features).input_specs(), state, copy=False
    )
    deriving.store_state(version_id, built, state)
    parents = [parent(version, MERGED, message) for version in plan.found]
    if plan.base is not None:
        parents.append(parent(plan.base, f"{MERGED} (base)", message))
    data = {version.dataset_version_id for version in plan.found}
    return deriving.create(
        run,
        model,
        version_id,
        first,
        parents,
        message,
        options={"merged": [str(v) for v in plan.found], "weights": list(plan.weights), "method": method},
        dataset_version_id=data.pop() if len(data) == 1 else None,
    )


def _plan(
    run: Run,
    models: Sequence[str | None] | None,
    weights: Sequence[float | None] | None,
    method: str | None,
    base: str | None,
) -> Merge:
    if method not in (AVERAGE, TASK_ARITHMETIC):
        raise unknown("method", str(method), (AVERAGE, TASK_ARITHMETIC), kind=InvalidParameter)
    if (method == TASK_ARITHMETIC) != (base is not None):
        raise InvalidParameter(
            "task_arithmetic needs the version that the others were made from"
            if base is None
            else f'base is "{base}", but the method "{method}" has no base',
            hint="Name it: base => 'name@7'." if base is None else "Leave base out, or choose task_arithmetic.",
        )
    if not models or len(models) > MOST_MERGED:
        raise InvalidParameter(f"{len(models or [])} versions are given; allowed are 1 to {MOST_MERGED}")
    checked = _check_weights(weights, len(models), method)
    *found, last = deriving.read_all(run, [*models, *([] if base is None else [base])])
    if base is None:
        found.append(last)
    if len({version.snapshot_id for version in found}) < len(found):
        raise InvalidParameter("a version is given twice", hint="Give it once, with a greater weight.")
    return Merge(found, checked, None if base is None else last)


def _check_weights(weights: Sequence[float | None] | None, count: int, method: str) -> list[float]:
    if weights is None:
        return [1 / count if method == AVERAGE else 1.0] * count
    given = [float("nan") if weight is None else float(weight) for weight in weights]
    if len(given) != count:
        raise InvalidParameter(f"{len(given)} weights are given for {count} versions")
    if not all(math.isfinite(weight) for weight in given):
        raise InvalidParameter(f"the weights are {list(weights)}; each must be a finite number")
    if method == TASK_ARITHMETIC:
        return given
    total = math.fsum(given)
    if min(given) < 0 or total <= 0:
        raise InvalidParameter(
            f"the weights are {given}", detail="For an average none is negative, and they are not all 0."
        )
    return [weight / total for weight in given]


def _check_same(found: Sequence[ModelVersion]) -> None:
    first = found[0]
    for other in found[1:]:
        difference = _difference(first, other)
        if difference is not None:
            raise InvalidParameter(
                f'"{first}" and "{other}" cannot be merged: {difference}',
                detail="Versions are merged number by number, so they must have the same network, features and labels.",
                hint=f"SELECT * FROM delc.diff_models({queries.quote_literal(str(first))},"
                f" {queries.quote_literal(str(other))}) shows all differences.",
            )
        if first.features != other.features or first.target != other.target:
            progress.notice(
                f'"{other}" was fitted on other rows than "{first}", whose scales of features and target are taken'
            )


def _difference(first: ModelVersion, other: ModelVersion) -> str | None:
    layers, others = Network.parse(first.network).layers, Network.parse(other.network).layers
    if len(layers) != len(others):
        return f"one has {len(layers)} layers, the other {len(others)}"
    for mine, theirs in zip(layers, others, strict=True):
        if mine != theirs:
            return f"{mine} of the first is other than {theirs} of the second"
    specs = [FittedFeatures.from_json(version.features) for version in (first, other)]
    if specs[0].feature_names() != specs[1].feature_names():
        return "they read other features"
    targets = [target_from_json(version.target) for version in (first, other)]
    if targets[0].labels != targets[1].labels:
        return f"they have other labels: {', '.join(targets[0].labels[:9])} and {', '.join(targets[1].labels[:9])}"
    return None


def _merged(plan: Merge) -> Iterator[tuple[str, torch.Tensor]]:
    """Each parameter, computed in float64 and rounded once."""
    learnable = parameters.learnable(plan.found[0].snapshot_id)
    even = [1 / len(plan.found)] * len(plan.found)
    for name in parameters.names(plan.found[0].snapshot_id):
        interrupts.check()
        values = [parameters.load_one(version.snapshot_id, name) for version in plan.found]
        if not values[0].is_floating_point():
            yield name, torch.stack(values).amax(0)
        elif plan.base is None:
            yield name, _sum(values, plan.weights).to(values[0].dtype)
        elif name not in learnable:
            yield name, _sum(values, even).to(values[0].dtype)
        else:
            origin = parameters.load_one(plan.base.snapshot_id, name).double()
            total = origin + _sum([value.double() - origin for value in values], plan.weights)
            yield name, total.to(values[0].dtype)


def _sum(values: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    total = torch.zeros(values[0].shape, dtype=torch.float64)
    for value, weight in zip(values, weights, strict=True):
        total += value.double() * weight
    return total
