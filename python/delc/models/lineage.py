"""Walking lineage: from anything that was made to all that it was made of, and to all that came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delc.datasets import names as dataset_names
from delc.datasets import versions as datasets
from delc.models import versions
from delc.server import interrupts, queries
from delc.server.errors import InvalidParameter, UndefinedObject, unknown

KINDS = ("model", "dataset", "run")
_DIRECTIONS = ("up", "down")


def lineage_of(kind: str, name: str, direction: str) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.lineage_of`` returns, nearest first."""
    if direction not in (*_DIRECTIONS, "both"):
        raise unknown("direction", str(direction), (*_DIRECTIONS, "both"), kind=InvalidParameter)
    start = kind, _id_of(kind, name)
    for way in _DIRECTIONS if direction == "both" else [direction]:
        yield from _walk(start, way)


def _walk(start: tuple[str, int], way: str) -> Iterator[dict[str, Any]]:
    """Level by level; what was seen is not visited again, so that it ends whatever the relations hold."""
    seen, level, depth = {start}, [start], 0
    while level:
        interrupts.check()
        depth += 1
        with queries.as_owner():
            found = queries.rows(
                _UP if way == "up" else _DOWN,
                queries.typed([kind for kind, _ in level], "text[]"),
                queries.typed([number for _, number in level], "bigint[]"),
            )
        level = []
        for row in found:
            node = row.pop("kind"), row.pop("id")
            if node not in seen:
                seen.add(node)
                level.append(node)
                yield {"direction": way, "depth": depth, "kind": node[0], **row}


def _id_of(kind: str, name: str) -> int:
    if kind == "model":
        return versions.resolve(name).id
    if kind == "dataset":
        return datasets.find(dataset_names.parse(name)).id
    if kind != "run":
        raise unknown("kind", str(kind), KINDS, kind=InvalidParameter)
    with queries.as_owner():
        run_id = queries.value("SELECT id FROM delc.runs WHERE id::text = $1", name)
    if run_id is None:
        raise UndefinedObject(f'there is no run "{name}"', hint="delc.runs lists them by id.")
    return int(run_id)


_UP = """
    SELECT edge.from_kind AS kind, edge.from_id AS id, edge.from_name AS name, edge.relation,
           edge.to_name AS related_to
    FROM delc.lineage_edges AS edge
    JOIN unnest($1, $2) AS node(kind, id) ON node.kind = edge.to_kind AND node.id = edge.to_id
    ORDER BY 1, 2
"""

_DOWN = """
    SELECT edge.to_kind AS kind, edge.to_id AS id, edge.to_name AS name, edge.relation, edge.from_name AS related_to
    FROM delc.lineage_edges AS edge
    JOIN unnest($1, $2) AS node(kind, id) ON node.kind = edge.from_kind AND node.id = edge.from_id
    ORDER BY 1, 2
"""
