"""What a training needs to go on from a snapshot: plain tensors in ``delc.optimizer_states``, and a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from delc.models.parameters import chunks, joined
from delc.server import interrupts, queries

Tensors = dict[tuple[str, str], torch.Tensor]
"""By parameter and slot."""


def save(snapshot_id: int, tensors: Mapping[tuple[str, str], torch.Tensor], document: Mapping[str, Any]) -> None:
    """Stores the state of the training beside a snapshot."""
    with queries.as_owner():
        queries.execute(_INSERT_DOCUMENT, snapshot_id, queries.json_parameter(dict(document)))
        for (parameter, slot), tensor in tensors.items():
            for number, chunk in enumerate(chunks(tensor)):
                interrupts.check()
                queries.execute(
                    _INSERT_TENSOR,
                    snapshot_id,
                    parameter,
                    slot,
                    queries.typed(number, "integer"),
                    queries.typed(list(tensor.shape), "bigint[]"),
                    queries.typed(chunk, "delc.tensor"),
                )


def load(snapshot_id: int) -> tuple[Tensors, dict[str, Any]] | None:
    """What ``save`` stored; None where the training was not told to keep it."""
    with queries.as_owner():
        document = queries.value("SELECT state FROM delc.training_states WHERE snapshot_id = $1", snapshot_id)
        if document is None:
            return None
        parts: dict[tuple[str, str], list[torch.Tensor]] = {}
        shapes: dict[tuple[str, str], tuple[int, ...]] = {}
        for each in queries.rows(_TENSORS, snapshot_id):
            interrupts.check()
            key = each["parameter"], each["slot"]
            value = queries.value(_VALUE, snapshot_id, *key, queries.typed(each["chunk"], "integer"))
            parts.setdefault(key, []).append(torch.as_tensor(value).clone())
            shapes[key] = tuple(each["shape"])
    return {key: joined(found, shapes[key]) for key, found in parts.items()}, json.loads(document)


_INSERT_DOCUMENT = "INSERT INTO delc.training_states (snapshot_id, state) VALUES ($1, $2)"

_INSERT_TENSOR = """
    INSERT INTO delc.optimizer_states (snapshot_id, parameter, slot, chunk, shape, value)
    VALUES ($1, $2, $3, $4, $5, $6)
"""

_TENSORS = """
    SELECT parameter, slot, chunk, shape FROM delc.optimizer_states WHERE snapshot_id = $1
    ORDER BY parameter, slot, chunk
"""

_VALUE = """
    SELECT value FROM delc.optimizer_states WHERE snapshot_id = $1 AND parameter = $2 AND slot = $3 AND chunk = $4
"""
