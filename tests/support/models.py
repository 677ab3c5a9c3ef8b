"""Looking at stored models."""

from __future__ import annotations

import numpy as np

from support.cluster import Connection
from support.workplace import rows

_PARAMETERS = """
    SELECT parameter.name, parameter.value::text
    FROM delc.models AS model
    JOIN delc.model_versions AS version ON version.model_id = model.id
    JOIN delc.snapshots AS snapshot ON snapshot.version_id = version.id
    JOIN delc.parameters AS parameter ON parameter.snapshot_id = snapshot.id
    WHERE model.name = %s AND version.number = %s AND coalesce(snapshot.epoch = %s::integer, snapshot.is_latest)
    ORDER BY parameter.name, parameter.chunk
"""


def parameters(connection: Connection, model: str) -> dict[str, str]:
    """The parameters of name@7 or name@7#epoch: name → exact text."""
    version, _, epoch = model.partition("#")
    name, _, number = version.partition("@")
    found = rows(connection, _PARAMETERS, name, int(number), int(epoch) if epoch else None)
    assert found, f"{model} has no parameters"
    return dict(found)


def numbers(connection: Connection, model: str) -> dict[str, np.ndarray]:
    """The parameters of name@7 as arrays."""
    name, _, number = model.partition("@")
    found = rows(connection, _NUMBERS, name, int(number))
    assert found, f"{model} has no parameters"
    return {key: np.array(values, dtype=dtype).reshape(shape) for key, dtype, shape, values in found}


_NUMBERS = """
    SELECT parameter.name, delc.dtype(parameter.value), parameter.shape,
           (CASE WHEN parameter.shape = '{}' THEN delc.reshape(parameter.value, '{1}')
                 ELSE parameter.value END)::double precision[]
    FROM delc.models AS model
    JOIN delc.model_versions AS version ON version.model_id = model.id
    JOIN delc.snapshots AS snapshot ON snapshot.version_id = version.id AND snapshot.is_latest
    JOIN delc.parameters AS parameter ON parameter.snapshot_id = snapshot.id
    WHERE model.name = %s AND version.number = %s
    ORDER BY parameter.name
"""
