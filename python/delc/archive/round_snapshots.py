"""Rounding the parameters of snapshots for good, where the user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from delc.archive import rounding, scope
from delc.log.runs import Run
from delc.models import stored_tensors
from delc.server import interrupts, progress, queries
from delc.server.errors import InvalidParameter, WrongState


def round_snapshots(run: Run, text: str | None, scheme: rounding.Scheme, with_latest: bool) -> Iterator[dict[str, Any]]:
    """Rounds the learnable parameters of checkpoints, and of the snapshots that versions predict with where asked for;
    the rows that ``delc.round_snapshots`` returns.
    """
    if text is None:
        raise InvalidParameter("scope is NULL", hint="Name the model or version whose checkpoints are to be rounded.")
    chosen = scope.claim_versions(text)
    with queries.as_owner():
        snapshots = queries.rows(_SNAPSHOTS, queries.typed(chosen, "bigint[]"), with_latest)
        _refuse_resumable(snapshots)
    for place, snapshot in enumerate(snapshots):
        progress.report(f"rounding {snapshot['title']}", batch=place, batches=len(snapshots))
        run.add_input(model_version_id=snapshot["version_id"])
        with queries.as_owner():
            before, after, change = _round(snapshot["id"], scheme)
            queries.execute(_MARK, snapshot["id"], str(scheme))
        yield {
            "snapshot": snapshot["title"],
            "bytes_before": before,
            "bytes": after,
            "largest_change": change,
        }


def _round(snapshot_id: int, scheme: rounding.Scheme) -> tuple[int, int, float]:
    """Bytes before and after, and the largest change of a number."""
    before, after, change = 0, 0, 0.0
    replaced = []
    for row in queries.rows(_PARAMETERS, snapshot_id):
        interrupts.check()
        exact = torch.as_tensor(queries.value("SELECT delc.restored_tensor($1)", row["tensor_id"]))
        rounded = scheme.round(exact)
        size = queries.value(
            _REPLACE,
            snapshot_id,
            row["name"],
            queries.typed(row["chunk"], "integer"),
            queries.typed(rounded, "delc.tensor"),
        )
        replaced.append(row["tensor_id"])
        before, after = before + row["bytes"], after + size
        if exact.numel():
            change = max(change, float((rounded.double() - exact.double()).abs().max()))
    stored_tensors.release(replaced)
    return before, after, change


def _refuse_resumable(snapshots: list[dict[str, Any]]) -> None:
    for snapshot in snapshots:
        if snapshot["is_resumable"]:
            raise WrongState(
                f'"{snapshot["title"]}" keeps the state of its training, which goes on from exact parameters',
                hint="Drop that snapshot, or round other versions.",
            )


_SNAPSHOTS = """
    SELECT snapshot.id, snapshot.version_id,
           model.name || '@' || version.number || coalesce('#' || snapshot.epoch, '') AS title,
           EXISTS (SELECT FROM delc.training_states AS state WHERE state.snapshot_id = snapshot.id) AS is_resumable
    FROM delc.snapshots AS snapshot
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE version.id = ANY ($1) AND ($2 OR NOT snapshot.is_latest)
    ORDER BY snapshot.version_id, snapshot.number
"""

_PARAMETERS = """
    SELECT parameter.name, parameter.chunk, parameter.tensor_id, delc.stored_bytes(stored.value) AS bytes
    FROM delc.snapshot_parameters AS parameter JOIN delc.stored_tensors AS stored ON stored.id = parameter.tensor_id
    WHERE parameter.snapshot_id = $1 AND parameter.learnable ORDER BY parameter.name, parameter.chunk
"""

_REPLACE = """
    WITH stored AS (
        INSERT INTO delc.stored_tensors (value, encoding, dtype, elements, checksum)
        SELECT dense.value, 'dense', delc.dtype($4), delc.elements($4), delc.checksum($4)
        FROM (SELECT delc.compress($4) AS value) AS dense
        RETURNING id, delc.stored_bytes(value) AS bytes
    ), replaced AS (
        UPDATE delc.snapshot_parameters AS parameter SET tensor_id = stored.id FROM stored
        WHERE parameter.snapshot_id = $1 AND parameter.name = $2 AND parameter.chunk = $3
    )
    SELECT bytes FROM stored
"""

_MARK = "UPDATE delc.snapshots SET scheme = concat_ws(', ', scheme, $2) WHERE id = $1"
