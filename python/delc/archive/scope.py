"""What an archiving works on: the tensors of the chosen models' snapshots, as the catalog knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from delc.models import names, ownership, stored_tensors, versions
from delc.server import queries
from delc.server.errors import InvalidParameter, UndefinedObject, unknown


@dataclass(frozen=True)
class Snapshot:
    """A snapshot with the ids of its tensors. ``is_used``: read by an evaluation or training lately."""

    id: int
    title: str
    version_id: int
    number: int
    is_latest: bool
    is_tagged: bool
    is_used: bool
    tensors: frozenset[int]


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: its place in ``delc.stored_tensors`` and the parameters that it is, as users name them."""

    id: int
    dtype: str
    shape: tuple[int, ...]
    elements: int
    checksum: int
    base: int | None
    second_base: int | None
    hops: int
    encoding: str
    stored_bytes: int
    roles: tuple[Role, ...]

    @property
    def title(self) -> str:
        """The parameter that it first was."""
        return self.roles[0].title if self.roles else f"tensor {self.id}"


@dataclass(frozen=True, order=True)
class Role:
    """That a tensor is the parameter ``name`` (or a chunk of it) of a snapshot."""

    snapshot_id: int
    name: str
    chunk: int
    title: str
    model: str


@dataclass(frozen=True)
class Scope:
    """Snapshots in the order in which they were made, and all their tensors by id.

    ``outside`` are tensors of other snapshots that these are stored as differences from, or could be, and those that
    models of other owners have as well: they stay as they are.
    """

    snapshots: tuple[Snapshot, ...]
    tensors: Mapping[int, Tensor] = field(default_factory=dict)
    outside: Mapping[int, Tensor] = field(default_factory=dict)


def find_versions(text: str | None) -> list[int]:
    """The ids of the versions that a scope means: a model, a version, a pattern of ``LIKE`` over names of models, or
    (NULL) all that the caller owns.

    Errors: ``UndefinedObject`` for what there is not, ``InsufficientPrivilege`` for what others own.
    """
    if text is not None and "%" not in text:
        name = names.parse(text)
        if name.snapshot is not None:
            raise InvalidParameter(f'"{text}" names a snapshot', hint="Archived are models and versions: name, name@7.")
        version = versions.resolve(text)
        ownership.require_owner(version.name)
        if not name.is_whole:
            return [version.id]
        models = [version.name]
    else:
        models = _matching(text)
    with queries.as_owner():
        found = queries.rows(_VERSIONS, queries.typed(models, "text[]"))
    return [row["id"] for row in found]


def claim_versions(text: str | None) -> list[int]:
    """The versions of a scope as ``find_versions`` gives them, for changing how their tensors are stored: until the end
    of the transaction nobody else does, and nobody drops them.
    """
    find_versions(text)  # who may not is told so without waiting
    with queries.as_owner():
        stored_tensors.take_turn()
    return find_versions(text)


def _matching(pattern: str | None) -> list[str]:
    with queries.as_owner():
        found = queries.rows("SELECT name FROM delc.models WHERE $1 IS NULL OR name LIKE $1 ORDER BY name", pattern)
        everything = [] if found else [row["name"] for row in queries.rows("SELECT name FROM delc.models")]
    known = [row["name"] for row in found]
    if pattern is not None:
        if not known:
            error = unknown("model", pattern, everything)
            assert isinstance(error, UndefinedObject)
            raise error
        for name in known:
            ownership.require_owner(name)
        return known
    return ownership.owned(known)


def read(version_ids: Iterable[int], used_since: datetime | None = None) -> Scope:
    """The snapshots and tensors of versions, with the tensors that the versions they were made from have."""
    chosen = queries.typed(list(version_ids), "bigint[]")
    with queries.as_owner():
        snapshots = queries.rows(_SNAPSHOTS, chosen, queries.typed(used_since, "timestamptz"))
        tensors = queries.rows(_TENSORS, chosen)
        outside = queries.rows(_OUTSIDE, chosen)
    members: dict[int, set[int]] = {row["id"]: set() for row in snapshots}
    everything = _tensors(tensors)
    for tensor in everything.values():
        for role in tensor.roles:
            if role.snapshot_id in members:
                members[role.snapshot_id].add(tensor.id)
    # What models of others have too, by a copy, is stored as they had it stored.
    own = frozenset(ownership.owned(sorted({role.model for tensor in everything.values() for role in tensor.roles})))
    inside = {key: tensor for key, tensor in everything.items() if own.issuperset(role.model for role in tensor.roles)}
    return Scope(
        tuple(Snapshot(**{**row, "tensors": frozenset(members[row["id"]])}) for row in snapshots),
        inside,
        {key: tensor for key, tensor in {**_tensors(outside), **everything}.items() if key not in inside},
    )


def _tensors(rows: Iterable[Mapping[str, Any]]) -> dict[int, Tensor]:
    """Rows come one for each role, ordered by tensor."""
    found = {}
    for key, group in groupby(rows, key=itemgetter("id")):
        same = list(group)
        roles = [Role(*(row[name] for name in _ROLE)) for row in same if row["snapshot_id"] is not None]
        found[key] = Tensor(
            **{name: same[0][name] for name in _SAME_NAME},
            shape=tuple(same[0]["shape"]),
            base=same[0]["base_id"],
            second_base=same[0]["second_base_id"],
            roles=tuple(roles),
        )
    return found


_ROLE = ("snapshot_id", "name", "chunk", "title", "model")
_SAME_NAME = ("id", "dtype", "elements", "checksum", "hops", "encoding", "stored_bytes")

_VERSIONS = """
    SELECT version.id FROM delc.model_versions AS version JOIN delc.models AS model ON model.id = version.model_id
    WHERE model.name = ANY ($1) ORDER BY version.id
"""

_SNAPSHOTS = """
    SELECT snapshot.id, model.name || '@' || version.number || coalesce('#' || snapshot.epoch, '') AS title,
           snapshot.version_id, snapshot.number, snapshot.is_latest,
           EXISTS (SELECT FROM delc.model_aliases AS alias WHERE alias.version_id = version.id)
               AND snapshot.is_latest AS is_tagged,
           $2 IS NOT NULL AND snapshot.is_latest
               AND EXISTS (SELECT FROM delc.run_inputs AS input JOIN delc.runs AS run ON run.id = input.run_id
                           WHERE input.model_version_id = version.id AND run.started_at >= $2) AS is_used
    FROM delc.snapshots AS snapshot
    JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    JOIN delc.models AS model ON model.id = version.model_id
    WHERE version.id = ANY ($1)
    ORDER BY snapshot.version_id, snapshot.number
"""

_TENSOR_COLUMNS = """
    SELECT stored.id, stored.dtype, stored.elements, stored.checksum, stored.base_id, stored.second_base_id,
           stored.hops, stored.encoding, delc.stored_bytes(stored.value) AS stored_bytes,
           delc.shape(stored.value) AS shape,
           parameter.snapshot_id, parameter.name, parameter.chunk, model.name AS model,
           model.name || '@' || version.number || coalesce('#' || snapshot.epoch, '') || ' ' || parameter.name
               || CASE WHEN parameter.chunk > 0 THEN ' chunk ' || parameter.chunk ELSE '' END AS title
    FROM delc.stored_tensors AS stored
    LEFT JOIN delc.snapshot_parameters AS parameter ON parameter.tensor_id = stored.id
    LEFT JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id
    LEFT JOIN delc.model_versions AS version ON version.id = snapshot.version_id
    LEFT JOIN delc.models AS model ON model.id = version.model_id
"""

_TENSORS = f"""
    {_TENSOR_COLUMNS}
    WHERE stored.id IN (SELECT member.tensor_id FROM delc.snapshots AS own
                        JOIN delc.snapshot_parameters AS member ON member.snapshot_id = own.id
                        WHERE own.version_id = ANY ($1))
    ORDER BY stored.id, parameter.snapshot_id, parameter.name, parameter.chunk
"""

# What versions in the scope were made from, and all that their tensors and those are restored from now.
_OUTSIDE = f"""
    WITH RECURSIVE needed AS (
        SELECT member.tensor_id AS id FROM delc.snapshots AS own
        JOIN delc.snapshot_parameters AS member ON member.snapshot_id = own.id
        WHERE own.version_id = ANY ($1)
        UNION
        SELECT member.tensor_id FROM delc.model_version_parents AS edge
        JOIN delc.snapshots AS origin ON origin.version_id = edge.base
            AND (origin.id = edge.snapshot_id OR edge.snapshot_id IS NULL AND origin.is_latest)
        JOIN delc.snapshot_parameters AS member ON member.snapshot_id = origin.id
        WHERE edge.derived = ANY ($1)
        UNION
        SELECT stored.base_id FROM needed JOIN delc.stored_tensors AS stored ON stored.id = needed.id
        WHERE stored.base_id IS NOT NULL
    )
    {_TENSOR_COLUMNS}
    WHERE stored.id IN (SELECT id FROM needed)
    ORDER BY stored.id, parameter.snapshot_id, parameter.name, parameter.chunk
"""
