"""Describing one version, and two side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from delc.features import target_from_json
from delc.features.numbered import Numbered
from delc.models import parameters, versions
from delc.models.versions import ModelVersion
from delc.networks import Network
from delc.server import interrupts, queries

Row = dict[str, Any]
Cell = str | None


def describe(model: str) -> Iterator[Row]:
    """The rows (section, item, value) that ``delc.describe_model`` returns."""
    version = versions.resolve(model)
    with queries.as_owner():
        sections = {name: queries.rows(text, version.id) for name, text in _SECTIONS.items()}
    for row in sections.pop("version"):
        yield from ({"section": "version", "item": item, "value": value} for item, value in row.items())
    for name, value in sorted(version.options.items()):
        yield {"section": "options", "item": name, "value": _text(value)}
    for name, found in sections.items():
        if name == "network":
            labels = _described_labels(version)
            yield from ({"section": "target", "item": label, "value": told} for label, told in labels)
        yield from ({"section": name, "item": row["item"], "value": row["value"]} for row in found)


def describe_parameters(model: str) -> Iterator[Row]:
    """The rows that ``delc.describe_parameters`` returns: one for each parameter."""
    version = versions.resolve(model)
    learnable = parameters.learnable(version.snapshot_id)
    for name in parameters.names(version.snapshot_id):
        interrupts.check()
        value = parameters.load_one(version.snapshot_id, name)
        numbers = value.double().reshape(-1)
        count = numbers.numel()
        yield {
            "layer": name.partition(".")[0],
            "parameter": name,
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "learnable": name in learnable,
            "count": count,
            "mean": float(numbers.mean()) if count else None,
            "std": float(numbers.std(correction=0)) if count else None,
            "min": float(numbers.min()) if count else None,
            "max": float(numbers.max()) if count else None,
            "norm": float(torch.linalg.vector_norm(numbers)),
            "zeros": float((numbers == 0).double().mean()) if count else None,
        }


def diff(a: str, b: str) -> Iterator[Row]:
    """The rows (aspect, item, a, b, difference) that ``delc.diff_models`` returns: what is not the same."""
    first, second = versions.resolve(a), versions.resolve(b)
    yield from _diff_maps("network", _layers(first), _layers(second))
    yield from _diff_maps("features", _columns(first), _columns(second))
    yield from _diff_maps("target", _target(first), _target(second))
    yield from _diff_maps("options", _options(first), _options(second))
    with queries.as_owner():
        metrics = [
            {row["item"]: row["value"] for row in queries.rows(_METRICS, version.id)} for version in (first, second)
        ]
    for name in sorted({*metrics[0], *metrics[1]}):
        left, right = metrics[0].get(name), metrics[1].get(name)
        if left != right:
            gap = None if left is None or right is None else right - left
            yield _row("metrics", name, _number(left), _number(right), gap)
    for row in diff_parameters(a, b) if _may_read_parameters() else ():
        if row["unchanged"] != 1:
            yield _row("parameters", row["parameter"], _number(row["norm_a"]), _number(row["norm_b"]), row["distance"])


def diff_parameters(a: str, b: str) -> Iterator[Row]:
    """The rows that ``delc.diff_parameters`` returns: one for each parameter of either version."""
    first, second = versions.resolve(a), versions.resolve(b)
    names = parameters.names(first.snapshot_id), parameters.names(second.snapshot_id)
    for name in dict.fromkeys([*names[0], *names[1]]):
        interrupts.check()
        left = parameters.load_one(first.snapshot_id, name) if name in names[0] else None
        right = parameters.load_one(second.snapshot_id, name) if name in names[1] else None
        yield {"layer": name.partition(".")[0], "parameter": name, **_compared(left, right)}


def _compared(left: torch.Tensor | None, right: torch.Tensor | None) -> Row:
    row: Row = {
        "shape_a": None if left is None else list(left.shape),
        "shape_b": None if right is None else list(right.shape),
        "norm_a": None if left is None else _norm(left),
        "norm_b": None if right is None else _norm(right),
        "distance": None,
        "cosine": None,
        "unchanged": None,
    }
    if left is None or right is None or left.shape != right.shape:
        return row
    one, other = left.double().reshape(-1), right.double().reshape(-1)
    lengths = row["norm_a"] * row["norm_b"]
    row["distance"] = _norm(one - other)
    row["cosine"] = min(1.0, max(-1.0, float(one @ other) / lengths)) if lengths > 0 else None
    row["unchanged"] = float((one == other).double().mean()) if one.numel() else 1.0
    return row


def _norm(value: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(value.double()))


def _may_read_parameters() -> bool:
    """How far apart weights are says something of them: it is told to those who may read them."""
    allowed: bool = queries.value("SELECT pg_catalog.has_table_privilege('delc.parameters', 'SELECT')")
    return allowed


def _diff_maps(aspect: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Row]:
    """What is in only one of the two, or not the same; first that of ``a`` in its order."""
    for item in dict.fromkeys([*a, *b]):
        if a.get(item) != b.get(item):
            yield _row(aspect, item, a.get(item), b.get(item))


def _row(aspect: str, item: str, a: Cell, b: Cell, difference: float | None = None) -> Row:
    change = "added" if a is None else "removed" if b is None else "changed"
    return {"aspect": aspect, "item": item, "change": change, "a": a, "b": b, "difference": difference}


def _layers(version: ModelVersion) -> dict[str, str]:
    return {
        layer.name: f"{layer.kind}({', '.join(f'{name}={_text(value)}' for name, value in layer.arguments.items())})"
        f" of {', '.join(layer.inputs)}"
        for layer in Network.parse(version.network)
    }


def _columns(version: ModelVersion) -> dict[str, str]:
    return {column["name"]: f"{column['kind']} {_text(column['settings'])}" for column in version.features["columns"]}


def _target(version: ModelVersion) -> dict[str, str]:
    labels = (label if told is None else f"{label} ({told})" for label, told in _described_labels(version))
    return {
        "task": version.task,
        "columns": ", ".join(column["name"] for column in version.target["columns"]),
        "labels": ", ".join(labels),
    }


def _described_labels(version: ModelVersion) -> list[tuple[str, Cell]]:
    """The labels, and what is to be said of them; those that are numbered through are told by the first and last."""
    labels = target_from_json(version.target).labels
    if isinstance(labels, Numbered):
        return [(f"{labels[0]} … {labels[len(labels) - 1]}", f"{len(labels)} outputs, numbered through")]
    return [(label, None) for label in labels]


def _options(version: ModelVersion) -> dict[str, str]:
    return {name: _text(value) for name, value in sorted(version.options.items())}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> Cell:
    return None if value is None else repr(value)


_METRICS = """
    SELECT name.metric AS item, delc.metric_of($1, name.metric) AS value
    FROM (SELECT DISTINCT metric.metric
          FROM delc.model_versions AS version
          LEFT JOIN delc.run_inputs AS tested ON tested.model_version_id = version.id AND tested.epoch IS NULL
          JOIN delc.metrics AS metric ON metric.run_id IN (version.run_id, tested.run_id)
          WHERE version.id = $1 AND metric.class IS NULL AND metric.predicted IS NULL) AS name
    WHERE delc.metric_of($1, name.metric) IS NOT NULL
    ORDER BY 1
"""

_SECTIONS = {
    "version": """
        SELECT summary.model, summary.task, summary.dataset, summary.parameters::text AS parameters,
               summary.stored_bytes::text AS stored_bytes, array_to_string(summary.aliases, ', ') AS aliases,
               summary.run_id::text AS run_id, summary.created_by, summary.created_at::text AS created_at,
               summary.message
        FROM delc.model_summary AS summary JOIN delc.model_versions AS version ON version.id = $1
        JOIN delc.models AS model ON model.id = version.model_id AND model.name = summary.name
        WHERE summary.version = version.number
    """,
    "features": """
        SELECT feature.value ->> 'name' AS item, feature.value ->> 'kind' AS value
        FROM delc.model_versions AS version,
             jsonb_array_elements(version.features -> 'columns') WITH ORDINALITY AS feature(value, position)
        WHERE version.id = $1 ORDER BY feature.position
    """,
    "network": """
        SELECT layer.name AS item,
               layer.kind || ' → ' || array_to_string(layer.output_shape, '×') || ', '
                   || layer.parameters || ' parameters' AS value
        FROM delc.layers AS layer WHERE layer.version_id = $1 ORDER BY layer.position
    """,
    "snapshots": """
        SELECT coalesce('#' || snapshot.epoch, 'number ' || snapshot.number) AS item,
               concat_ws(', ', CASE WHEN snapshot.is_latest THEN 'in use' END,
                         CASE WHEN state.snapshot_id IS NOT NULL THEN 'can be resumed' END) AS value
        FROM delc.snapshots AS snapshot LEFT JOIN delc.training_states AS state ON state.snapshot_id = snapshot.id
        WHERE snapshot.version_id = $1 ORDER BY snapshot.epoch, snapshot.number
    """,
    "curves": """
        SELECT concat_ws(' ', metric.split, metric.metric) AS item,
               string_agg(metric.value::real::text, ' ' ORDER BY metric.epoch) AS value
        FROM delc.model_versions AS version JOIN delc.metrics AS metric ON metric.run_id = version.run_id
        WHERE version.id = $1 AND metric.epoch IS NOT NULL AND metric.class IS NULL
        GROUP BY metric.split, metric.metric ORDER BY 1
    """,
    "metrics": _METRICS.replace("AS value", "::text AS value", 1),
    "lineage": """
        SELECT model.name || '@' || base.number AS item, edge.relation AS value
        FROM delc.model_version_parents AS edge JOIN delc.model_versions AS base ON base.id = edge.base
        JOIN delc.models AS model ON model.id = base.model_id WHERE edge.derived = $1
        UNION ALL
        SELECT model.name || '@' || derived.number, 'base of it, ' || edge.relation
        FROM delc.model_version_parents AS edge JOIN delc.model_versions AS derived ON derived.id = edge.derived
        JOIN delc.models AS model ON model.id = derived.model_id WHERE edge.base = $1
    """,
    "files": """
        SELECT file.path AS item, concat_ws(', ', file.media_type, content.bytes || ' bytes') AS value
        FROM delc.model_files AS file JOIN delc.files AS content ON content.hash = file.hash
        WHERE file.version_id = $1 ORDER BY file.path
    """,
}
