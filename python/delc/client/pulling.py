"""Weights from the database into the application, in one COPY."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from psycopg import Connection

from delc.client import copying
from delc.client.wire import Array, Kind, decode, to_kind

if TYPE_CHECKING:
    from torch import nn


@overload
def pull(connection: Connection[Any], model: str, *, tensors: Literal["numpy"] = "numpy") -> dict[str, Array]: ...
@overload
def pull(connection: Connection[Any], model: str, *, tensors: Literal["torch"]) -> dict[str, Any]: ...
@overload
def pull(connection: Connection[Any], model: str, *, tensors: Literal["module"]) -> nn.Module: ...
def pull(connection: Connection[Any], model: str, *, tensors: Kind | Literal["module"] = "numpy") -> Any:
    """The parameters of a version of a model, by name, bit for bit.

    ``model``: ``name``, ``name@7``, ``name@alias``, or with a snapshot ``name@7#5``. ``tensors``: numpy arrays (the
    default), torch tensors, or "module": the network as a ``torch.nn.Module`` in evaluation mode, ready to compute or
    to be trained further. Names are those of the module that was pushed: ``load_state_dict`` takes them. Needs a member
    of delc_trainer.
    """
    with connection.transaction():
        kind: Kind = "numpy" if tensors == "numpy" else "torch"
        state = {name: to_kind(array, kind) for name, array in _arrays(connection, model).items()}
        if tensors != "module":
            return {dotted(name): value for name, value in state.items()}
        return _module(connection, model, state)


def dotted(name: str) -> str:
    """A parameter's name as torch has it: layers of a pushed module have "-" where the module has "."."""
    layer, dot, parameter = name.partition(".")
    return layer.replace("-", ".") + dot + parameter


def _arrays(connection: Connection[Any], model: str) -> dict[str, Array]:
    found: dict[str, Array] = {}
    open_parts: dict[str, int] = {}
    query = "COPY (SELECT name, chunk, shape, value FROM delc.export_parameters({})) TO STDOUT (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(query.format(_literal(connection, model))) as copy:
        for row in copying.messages(copy):
            name_bytes, chunk, shape_bytes, value = copying.fields(row)
            assert name_bytes is not None
            assert chunk is not None
            assert shape_bytes is not None
            assert value is not None
            name, shape = bytes(name_bytes).decode(), copying.read_bigints(shape_bytes)
            part = decode(value)
            if part.shape == shape and copying.read_integer(chunk) == 0:
                found[name] = part.copy()  # the answer's memory is read-only and not aligned
                continue
            if name not in found:
                found[name], open_parts[name] = np.empty(math.prod(shape), dtype=part.dtype), 0
            start = open_parts[name]
            found[name].reshape(-1)[start : start + part.size] = part
            open_parts[name] = start + part.size
            if open_parts[name] == math.prod(shape):
                found[name] = found[name].reshape(shape)
    return found


def _literal(connection: Connection[Any], text: str) -> str:
    from psycopg.sql import Literal as SqlLiteral

    return SqlLiteral(text).as_string(connection)


def _module(connection: Connection[Any], model: str, state: dict[str, Any]) -> nn.Module:
    from psycopg.rows import tuple_row

    from delc.features import FittedFeatures
    from delc.networks import Network, restore

    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT delc.model_document(%s)::text", [model])
        found = cursor.fetchone()
    assert found is not None
    document = json.loads(found[0])
    specs = FittedFeatures.from_json(document["features"]).input_specs()
    return restore(Network.parse(document["network"]), specs, state).module
