"""What a model costs: its size, and the time of one prediction."""

from __future__ import annotations

import time

import torch

from delc.evaluation.rows import MetricRow
from delc.models.loaded import LoadedModel
from delc.models.versions import ModelVersion
from delc.server import interrupts, queries

WARM_UP_PASSES = 5
TIMED_PASSES = 31


def cost_rows(model: LoadedModel) -> list[MetricRow]:
    """parameters, stored_bytes, flops (of one row; a multiply-add counts as two) and latency_ms.

    The latency is the median time of the network's forward pass over one row; low and high are the 5th and 95th
    percentile.
    """
    times = sorted(_timed_passes(model))
    latency = MetricRow("latency_ms", None, _percentile(times, 50), _percentile(times, 5), _percentile(times, 95))
    return [*known_cost_rows(model.version, model.built.flops(1)), latency]


def known_cost_rows(version: ModelVersion, flops: int) -> list[MetricRow]:
    """What it costs as far as that is known without running it."""
    return [
        MetricRow("parameters", None, float(version.parameters)),
        MetricRow("stored_bytes", None, float(_stored_bytes(version.snapshot_id))),
        MetricRow("flops", None, float(flops)),
    ]


def _timed_passes(model: LoadedModel) -> list[float]:
    inputs = {
        name: torch.zeros((1, *spec.shape), dtype=torch.int64 if spec.dtype == "int64" else torch.float32)
        for name, spec in model.features.input_specs().items()
    }
    milliseconds = []
    for _ in range(WARM_UP_PASSES + TIMED_PASSES):
        interrupts.check()
        started = time.perf_counter()
        model.built.module(inputs)
        milliseconds.append((time.perf_counter() - started) * 1000)
    return milliseconds[WARM_UP_PASSES:]


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[round((len(ordered) - 1) * percent / 100)]


def _stored_bytes(snapshot_id: int) -> int:
    with queries.as_owner():
        stored: int = queries.value(_STORED_BYTES, snapshot_id)
    return stored


_STORED_BYTES = """
    SELECT sum(delc.stored_bytes(stored.value))::bigint FROM delc.stored_tensors AS stored
    WHERE stored.id IN (SELECT tensor_id FROM delc.snapshot_parameters WHERE snapshot_id = $1)
"""
