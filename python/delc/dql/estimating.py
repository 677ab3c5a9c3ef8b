"""How long trials will take: by the sizes of their networks, and by what earlier runs took of the time so guessed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from delc.dql.trial_data import RowStore, TrialRows
from delc.dql.trials import Trial
from delc.server import queries

FLOPS_PER_SECOND = 4e9
SECONDS_PER_BATCH = 0.0012
"""What a batch of a small network takes on one processor, whatever it computes."""

SECONDS_PER_EPOCH = 0.001

PASSES = 6.0
"""Operations for each parameter and place of its use: a multiplication and an addition, forward and twice back."""

MOST_RUNS = 20
USUAL_BATCH = 128


@dataclass(frozen=True)
class Estimate:
    """Seconds that one iteration of one trial takes on one processor, and by how many earlier runs that is known."""

    seconds: float
    runs: int


def estimate(trials: Sequence[Trial], rows: RowStore) -> Estimate:
    """The mean of all trials. Runs of the models that they begin with, and of those nearest to them, say how much
    longer or shorter it takes here than sizes alone say; first epochs do not count, in which libraries are loaded.
    """
    if not trials:
        return Estimate(0.0, 0)
    ids = sorted({trial.source.id for trial in trials})
    with queries.as_owner():
        runs = queries.rows(_RUNS, queries.typed(ids, "bigint[]"), MOST_RUNS)
    uses = _uses([*ids, *(run["id"] for run in runs)])
    total = 0.0
    for trial in trials:
        read = rows.find(trial.source, trial.settings.dataset)
        if isinstance(read, TrialRows):  # otherwise it fails at once
            batch = int(trial.settings.options.get("batch_size") or USUAL_BATCH)
            total += by_size(uses[trial.source.id], read.prepared.train.rows, batch)
    factors = [run["seconds"] / by_size(uses[run["id"]], run["rows"], run["batch_size"]) for run in runs]
    return Estimate(total / len(trials) * (statistics.median(factors) if factors else 1.0), len(factors))


def by_size(uses: float, rows: int, batch: int) -> float:
    """A guess at the seconds of one epoch; ``uses``: how often parameters are used for one row, in all."""
    batches = math.ceil(rows / max(batch, 1))
    return PASSES * uses * rows / FLOPS_PER_SECOND + batches * SECONDS_PER_BATCH + SECONDS_PER_EPOCH


def _uses(ids: Sequence[int]) -> dict[int, float]:
    """For each version the sum over layers of parameters, times the places of the output where they are used."""
    with queries.as_owner():
        layers = queries.rows(_LAYERS, queries.typed(sorted(set(ids)), "bigint[]"))
    found = dict.fromkeys(ids, 0.0)
    for layer in layers:
        shape = layer["output_shape"] or []
        places = shape[1:] if layer["kind"].startswith("conv") else shape[:-1]
        found[layer["version_id"]] += layer["parameters"] * float(math.prod(places))
    return found


_LAYERS = """
    SELECT version_id, kind, parameters, output_shape FROM delc.layers WHERE version_id = ANY ($1) AND parameters > 0
"""

_RUNS = """
    WITH near AS (
        SELECT id FROM unnest($1) AS given(id)
        UNION SELECT edge.base FROM delc.model_version_parents AS edge WHERE edge.derived = ANY ($1)
        UNION SELECT edge.derived FROM delc.model_version_parents AS edge WHERE edge.base = ANY ($1)
    )
    SELECT version.id, data.rows, coalesce((version.options ->> 'batch_size')::integer, 128) AS batch_size,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY metric.value) AS seconds
    FROM near JOIN delc.model_versions AS version ON version.id = near.id
    JOIN delc.dataset_versions AS data ON data.id = version.dataset_version_id
    JOIN delc.metrics AS metric ON metric.run_id = version.run_id AND metric.metric = 'seconds' AND metric.epoch > 1
    GROUP BY version.id, data.rows, batch_size
    ORDER BY version.id DESC LIMIT $2
"""
