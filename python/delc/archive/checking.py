"""Whether every stored tensor still gives the numbers that were stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delc.archive import scope
from delc.models import reading
from delc.models.stored_tensors import StoredTensor
from delc.server import interrupts, progress, queries
from delc.server.errors import DamagedData


def verify(text: str | None) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.verify_archive`` returns: one for each parameter that is damaged, and how."""
    versions = queries.typed(scope.find_versions(text), "bigint[]")
    with queries.as_owner():
        tensors = queries.rows(_TENSORS, versions)
    for place, tensor in enumerate(tensors):
        interrupts.check()
        progress.report("verifying tensors", batch=place, batches=len(tensors))
        problem = _problem(tensor)
        if problem is not None:
            for title in tensor["titles"]:
                yield {"parameter": title, "tensor_id": tensor["id"], "problem": problem}


def _problem(tensor: dict[str, Any]) -> str | None:
    stored = StoredTensor(*(tensor[name] for name in ("id", "dtype", "elements", "checksum", "hops")))
    try:
        reading.read(stored)
    except DamagedData as error:
        return error.detail
    return None


_TENSORS = """
    SELECT stored.id, stored.dtype, stored.elements, stored.checksum, stored.hops,
           array_agg(model.name || '@' || version.number || coalesce('#' || snapshot.epoch, '') || ' ' || parameter.name
                     || CASE WHEN parameter.chunk > 0 THEN ' chunk ' || parameter.chunk ELSE '' END
                     ORDER BY snapshot.id, parameter.name, parameter.chunk) AS titles
    FROM delc.snapshots AS snapshot
    JOIN delc.snapshot_parameters AS parameter ON parameter.snapshot_id = snapshot.id
    JOIN delc.stored_tensors AS stored ON stored.id = parameter.tensor_id
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE version.id = ANY ($1)
    GROUP BY stored.id ORDER BY stored.id
"""
