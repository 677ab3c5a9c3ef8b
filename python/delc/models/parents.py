"""Lineage among versions: which one a version was made from, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delc.models.versions import ModelVersion, noted
from delc.server import queries

WARM_START, RESUMED, COPIED, DERIVED, MERGED = "warm start", "resumed", "copied", "derived", "merged"


@dataclass(frozen=True)
class Parent:
    """A version that another is made from; ``snapshot_id`` where it is another snapshot than the one in use."""

    version_id: int
    relation: str
    message: str | None = None
    snapshot_id: int | None = None


def parent(version: ModelVersion, relation: str, message: str | None = None) -> Parent:
    """The parent that a resolved name stands for."""
    return Parent(version.id, relation, message, version.snapshot_id if version.snapshot else None)


def add_parents(derived: int, parents: Sequence[Parent]) -> None:
    """Notes what a version was made from. Its id must be greater than theirs, as ids that were reserved later are."""
    with queries.as_owner(), noted("a version that this one is made from"):
        for each in parents:
            queries.execute(
                _INSERT_PARENT,
                each.version_id,
                derived,
                each.relation,
                each.message,
                queries.typed(each.snapshot_id, "bigint"),
            )


_INSERT_PARENT = """
    INSERT INTO delc.model_version_parents (base, derived, relation, message, snapshot_id) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (derived, base) DO NOTHING
"""
