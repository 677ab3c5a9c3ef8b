"""Finding versions of models, and making new ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from delc.models import snapshots
from delc.models.names import DEFAULT_ALIAS, ModelName, parse
from delc.networks import LayerReport
from delc.server import foreign_keys, queries
from delc.server.errors import UndefinedObject, nearest, unknown


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model, without its parameters. The four documents are as ``delc.model_versions`` keeps them.

    ``snapshot_id`` and ``epoch`` are those of the snapshot that was named, or of the one that the version is used with;
    ``snapshot`` is what names it: "#5" where it was named, otherwise empty.
    """

    id: int
    model_id: int
    name: str
    number: int
    task: str
    network: Any
    features: Any
    target: Any
    options: Mapping[str, Any]
    parameters: int
    dataset_version_id: int | None
    run_id: int | None
    snapshot_id: int
    epoch: int | None
    snapshot: str = ""
    scheme: str | None = None
    """How the snapshot was rounded, if it was."""

    @property
    def title(self) -> str:
        """The version as users name it, without the snapshot: ``name@7``."""
        return f"{self.name}@{self.number}"

    def __str__(self) -> str:
        return f"{self.title}{self.snapshot}"


@dataclass(frozen=True)
class NewVersion:
    """What a version is made from; see ``delc.model_versions`` for the documents. ``id`` comes from ``reserve_id``."""

    id: int
    run_id: int
    dataset_version_id: int | None
    task: str
    network: Any
    features: Any
    target: Any
    options: Mapping[str, Any]
    layers: list[LayerReport]
    parameters: int
    message: str | None


def resolve(text: str | None) -> ModelVersion:
    """The version that ``name``, ``name@7`` or ``name@alias`` means, with the snapshot that ``#5``, ``#best`` or
    ``#latest`` names. Raises ``UndefinedObject`` with the nearest name.
    """
    name = parse(text)
    with queries.as_owner():
        found = queries.row(
            _FIND_VERSION,
            name.model,
            queries.typed(name.number, "integer"),
            name.alias or DEFAULT_ALIAS,
            name.alias is not None,
        )
        if found is None:
            raise _not_found(name)
    documents = {key: json.loads(found[key]) for key in ("network", "features", "target", "options")}
    version = ModelVersion(**{**found, **documents})
    return version if name.snapshot is None else snapshots.choose(version, name.snapshot)


def hold(found: Sequence[ModelVersion]) -> None:
    """Keeps versions from being dropped until the transaction ends.

    Raises ``UndefinedObject`` for one that another transaction has dropped since it was found. Whoever locks several
    versions does so in the order of their ids, and before aliases, models and tensors, so that none waits in a circle.
    """
    with queries.as_owner():
        held = {row["id"] for row in queries.rows(_HOLD, queries.typed([version.id for version in found], "bigint[]"))}
    for version in found:
        if version.id not in held:
            raise dropped(version.title)


def dropped(title: str) -> UndefinedObject:
    """The error for a version that went while it was waited for."""
    return UndefinedObject(
        f'unknown version "{title}": another transaction has dropped it meanwhile', hint="Name another one."
    )


@contextmanager
def noted(what: str) -> Iterator[None]:
    """Queries in the block refer to versions; ``Conflict`` where another transaction has dropped one of them."""
    message = f"{what} was dropped by another transaction meanwhile"
    with foreign_keys.conflict(message, "Try again: what is there now is then found."):
        yield


def reserve_id() -> int:
    """An id for a version to come, so that its snapshots can be stored before it is made."""
    with queries.as_owner():
        reserved: int = queries.value("SELECT nextval('delc.model_versions_id_seq')")
    return reserved


def create(model: str, username: str, version: NewVersion) -> int:
    """Adds a version under the name ``model``, which is made when it is new; returns its number.

    The model's row is locked, so trainings of one model that end at the same time number their versions one after the
    other.
    """
    with queries.as_owner():
        queries.execute(_CREATE_MODEL, model, username)
        numbered = queries.rows(_NEXT_NUMBER, model)[0]
        number: int = numbered["last_number"]
        with noted("the version of the data set that the model was trained on"):
            queries.execute(
                _CREATE_VERSION,
                numbered["id"],
                queries.typed(number, "integer"),
                version.id,
                version.run_id,
                queries.typed(version.dataset_version_id, "bigint"),
                version.task,
                *[
                    queries.json_parameter(part)
                    for part in (version.network, version.features, version.target, dict(version.options))
                ],
                queries.typed(len(version.layers), "integer"),
                version.parameters,
                version.message,
                username,
            )
        _write_graph(version.id, version.layers)
    return number


def _write_graph(version_id: int, layers: list[LayerReport]) -> None:
    nodes = [
        {
            "position": layer.position,
            "name": layer.name,
            "kind": layer.kind,
            "arguments": dict(layer.arguments),
            "output_shape": list(layer.output_shape),
            "parameters": layer.parameters,
        }
        for layer in layers
    ]
    edges = [
        {"from_layer": source, "to_layer": layer.name, "position": position}
        for layer in layers
        for position, source in enumerate(layer.inputs, start=1)
    ]
    queries.execute(_INSERT_LAYERS, version_id, queries.json_parameter(nodes))
    queries.execute(_INSERT_EDGES, version_id, queries.json_parameter(edges))


def _not_found(name: ModelName) -> UndefinedObject:
    names = [row["name"] for row in queries.rows("SELECT name FROM delc.models")]
    if name.model not in names:
        error = unknown("model", name.model, names)
        assert isinstance(error, UndefinedObject)
        return error
    known = [row["known"] for row in queries.rows(_KNOWN_SUFFIXES, name.model)]
    match = nearest(name.version.partition("@")[2], known)
    return UndefinedObject(
        f'model "{name.model}" has no version "{name.version.partition("@")[2]}"',
        detail=f"It has: {', '.join(known)}.",
        hint=f'Did you mean "{name.model}@{match}"?'
        if match
        else f'"{name.model}" alone is the latest, or the one with the alias default.',
    )


_FIND_VERSION = """
    SELECT version.id, version.model_id, model.name, version.number, version.task, version.network, version.features,
           version.target, version.options, version.parameters, version.dataset_version_id, version.run_id,
           used.id AS snapshot_id, used.epoch, used.scheme
    FROM delc.models AS model
    JOIN delc.model_versions AS version ON version.model_id = model.id
    JOIN delc.snapshots AS used ON used.version_id = version.id AND used.is_latest
    LEFT JOIN delc.model_aliases AS alias
        ON alias.version_id = version.id AND alias.model_id = model.id AND alias.alias = $3
    WHERE model.name = $1 AND ($2 IS NULL OR version.number = $2) AND (NOT $4 OR alias.alias IS NOT NULL)
    ORDER BY (alias.alias IS NOT NULL) DESC, version.number DESC
    LIMIT 1
"""

_HOLD = "SELECT id FROM delc.model_versions WHERE id = ANY ($1) ORDER BY id FOR KEY SHARE"

_KNOWN_SUFFIXES = """
    SELECT version.number::text AS known FROM delc.model_versions AS version
    JOIN delc.models AS model ON model.id = version.model_id WHERE model.name = $1
    UNION ALL
    SELECT alias.alias FROM delc.model_aliases AS alias
    JOIN delc.models AS model ON model.id = alias.model_id WHERE model.name = $1
"""

_CREATE_MODEL = "INSERT INTO delc.models (name, owner) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"

_NEXT_NUMBER = "UPDATE delc.models SET last_number = last_number + 1 WHERE name = $1 RETURNING id, last_number"

_CREATE_VERSION = """
    INSERT INTO delc.model_versions (model_id, number, id, run_id, dataset_version_id, task,
                                     network, features, target, options, layers, parameters, message, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""

_INSERT_LAYERS = """
    INSERT INTO delc.layers (version_id, position, name, kind, arguments, output_shape, parameters)
    SELECT $1, position, name, kind, arguments, output_shape, parameters
    FROM jsonb_to_recordset($2)
        AS layer(position integer, name text, kind text, arguments jsonb, output_shape integer[], parameters bigint)
"""

_INSERT_EDGES = """
    INSERT INTO delc.layer_edges (version_id, from_layer, to_layer, position)
    SELECT $1, from_layer, to_layer, position
    FROM jsonb_to_recordset($2) AS edge(from_layer text, to_layer text, position integer)
"""
