"""Whether every stored tensor still gives the numbers that were stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import plpy

from delc.archive import scope
from delc.models import reading
from delc.models.stored_tensors import StoredTensor, tells_damage
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


@contextmanager
def naming_damage(text: str | None) -> Iterator[None]:
    """Where a query in the block meets a damaged tensor, an error with the names of the first parameter that is
    damaged, of the scope or of what else the caller owns: what decodes tensors knows no names.
    """
    try:
        yield
    except plpy.SPIError as error:
        if not tells_damage(error):
            raise
        found = next(verify(text), None) or next(verify(None), None)
        if found is None:
            raise
        raise DamagedData(
            f"{found['parameter']} is damaged",
            detail=found["problem"],
            hint="SELECT * FROM delc.verify_archive() lists all that is. Restore it from a backup or drop its version.",
        ) from None


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
