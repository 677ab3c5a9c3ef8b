"""Versions as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from delc.exchange import safetensors_file
from delc.exchange.naming import dotted
from delc.models.versions import ModelVersion
from delc.server import interrupts, queries
from delc.server.errors import LimitExceeded, WrongState
from delc.server.memory import MemoryWatch

MOST_FILE_BYTES = 2**30 - 2**20
"""What one bytea may hold."""


def safetensors(version: ModelVersion) -> bytes:
    """The version's parameters bit for bit, with network, features and target in the file's metadata."""
    with queries.as_owner():
        pieces = queries.rows(_PIECES, version.snapshot_id)
    if not pieces:
        raise WrongState(f'"{version}" has no parameters')
    entries = [(dotted(row["name"]), row["dtype"], row["shape"]) for row in pieces if row["chunk"] == 0]
    head = safetensors_file.header(entries, _metadata(version))
    size = len(head) + sum(row["bytes"] for row in pieces)
    require_file(size, str(version))
    MemoryWatch.begin().require(2 * size, "the file")
    file = bytearray(size)
    file[: len(head)] = head
    place = len(head)
    for row in pieces:
        interrupts.check()
        numbers = _bytes_of(version, row)
        file[place : place + len(numbers)] = numbers
        place += len(numbers)
    return bytes(file)


def require_file(size: int, model: str) -> None:
    """Raises ``LimitExceeded`` for a file that is too large for one value."""
    if size > MOST_FILE_BYTES:
        raise LimitExceeded(
            f'the file of "{model}" would have {size >> 20} MB, more than one value can hold (1023 MB)',
            hint="Take the parameters row by row: delc.export_parameters(), or pull() of the Python package"
            " delc.client.",
        )


def document(version: ModelVersion) -> dict[str, Any]:
    """Network, features and target of a version."""
    return {"task": version.task, "network": version.network, "features": version.features, "target": version.target}


def _metadata(version: ModelVersion) -> Mapping[str, str]:
    parts = {f"delc.{name}": json.dumps(value) for name, value in document(version).items() if name != "task"}
    return {"format": "pt", "delc.model": str(version), **parts}


def _bytes_of(version: ModelVersion, row: Mapping[str, Any]) -> memoryview:
    with queries.as_owner():
        value = queries.value(_VALUE, version.snapshot_id, row["name"], queries.typed(row["chunk"], "integer"))
    if isinstance(value, torch.Tensor):
        value = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data.cast("B")


_PIECES = """
    SELECT parameter.name, parameter.chunk, parameter.shape, delc.dtype(parameter.value) AS dtype,
           delc.raw_bytes(parameter.value) AS bytes
    FROM delc.parameters AS parameter
    WHERE parameter.snapshot_id = $1
    ORDER BY parameter.name, parameter.chunk
"""

_VALUE = "SELECT value FROM delc.parameters WHERE snapshot_id = $1 AND name = $2 AND chunk = $3"
