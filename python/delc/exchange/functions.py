"""The room's SQL functions. ``told``: what the caller says of a model that is imported, see ``Description.told``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from delc.exchange import (
    exporting,
    onnx_export,
    onnx_import,
    program_export,
    program_file,
    safetensors_file,
    torch_file,
)
from delc.exchange.assembly import Assembly
from delc.exchange.chunks import cut, from_rows, stored
from delc.exchange.interface import Description, read_json
from delc.exchange.storing import Incoming, OpenSnapshot, import_model, open_snapshot
from delc.models import loaded, versions
from delc.server import queries
from delc.server.errors import InvalidData, InvalidParameter
from delc.server.memory import MemoryWatch


def import_state_dict(model: str, weights: bytes, *told: Any) -> str:
    """A safetensors file, or one that torch.save wrote, as a new version."""
    described = Description.told(*told)
    return import_model("import_state_dict", model, described, lambda watch: _state_dict(_bytes(weights, watch), watch))


def _state_dict(data: memoryview, watch: MemoryWatch) -> Incoming:
    if not data:
        raise InvalidData("the file is empty", hint="Give a safetensors file, or one that torch.save wrote.")
    if not safetensors_file.looks_like_one(data):
        return Incoming(cut(torch_file.read(data, watch.require)))
    tensors, metadata = safetensors_file.read(data)
    documents = {
        name: read_json(f"the file's delc.{name}", metadata[f"delc.{name}"])
        for name in ("network", "features", "target")
        if f"delc.{name}" in metadata
    }
    return Incoming(cut(tensors), documents=documents)


def import_program(model: str, program: bytes, *told: Any) -> str:
    """A program of torch.export as a new version."""
    described = Description.told(*told, has_network=True)
    return import_model(
        "import_program", model, described, lambda watch: _assembled(program_file.read, _bytes(program, watch), watch)
    )


def import_onnx(model: str, file: bytes, *told: Any) -> str:
    """An ONNX file as a new version."""
    described = Description.told(*told, has_network=True)
    return import_model(
        "import_onnx", model, described, lambda watch: _assembled(onnx_import.read, _bytes(file, watch), watch)
    )


def _assembled(
    read: Callable[[memoryview, Callable[[int, str], None]], Assembly], data: memoryview, watch: MemoryWatch
) -> Incoming:
    assembly = read(data, watch.require)
    return Incoming(cut(assembly.state), network=assembly.network(), inputs=assembly.inputs)


def import_parameters(model: str, query: str, *told: Any) -> str:
    """The rows (name, chunk, shape, value) of a query as a new version; few of them are in memory at a time."""
    described = Description.told(*told)
    return import_model("import_parameters", model, described, lambda watch: _rows(query))


def _rows(query: str | None) -> Incoming:
    if query is None:
        raise InvalidParameter("the query is NULL")
    types = {column.name: column.type for column in queries.describe(query)}
    wanted = {"name": "text", "value": "delc.tensor"}
    optional = {"chunk": "integer", "shape": "bigint[]"}
    for name, type_name in {**wanted, **{name: optional[name] for name in optional if name in types}}.items():
        if types.get(name, "").removeprefix("delc.") != type_name.removeprefix("delc."):
            raise InvalidParameter(
                f'the query has no column "{name}" of type {type_name}',
                detail=f"It has: {', '.join(f'{column} {kind}' for column, kind in types.items())}.",
                hint="Give name text and value delc.tensor; for pieces also chunk integer and shape bigint[].",
            )
    return Incoming(from_rows(queries.stream(query)))


def begin_import() -> int:
    """The id of a snapshot whose parameters are to come by COPY."""
    return open_snapshot().id


def finish_import(snapshot: int, model: str, *told: Any) -> str:
    """The parameters of an open snapshot as a new version."""
    described = Description.told(*told)
    return import_model("import_parameters", model, described, lambda watch: _snapshot(snapshot))


def _snapshot(snapshot_id: int) -> Incoming:
    with queries.as_owner():
        version_id = queries.value(_OPEN_VERSION, snapshot_id)
        rows = queries.rows(_STORED, snapshot_id)
    if version_id is None:
        raise InvalidParameter(
            f"{snapshot_id} is no open import", hint="Begin one with delc.begin_import() in the same transaction."
        )
    return Incoming(stored(rows), snapshot=OpenSnapshot(snapshot_id, version_id))


def export_safetensors(model: str) -> bytes:
    """The file."""
    return exporting.safetensors(versions.resolve(model))


def export_program(model: str) -> bytes:
    """The program."""
    version = versions.resolve(model)
    file = program_export.export(loaded.load(version).built)
    exporting.require_file(len(file), str(version))
    return file


def export_onnx(model: str) -> bytes:
    """The file."""
    version = versions.resolve(model)
    found = loaded.load(version)
    exporting.require_file(found.built.parameter_bytes, str(version))
    MemoryWatch.begin().require(3 * found.built.parameter_bytes, "the file")
    return onnx_export.export(found.built.resolved, found.built.module.state_dict(), str(version))


def model_document(model: str) -> str:
    """Task, network, features and target as JSON."""
    return json.dumps(exporting.document(versions.resolve(model)))


def _bytes(value: bytes | None, watch: MemoryWatch) -> memoryview:
    if value is None:
        raise InvalidParameter("the file is NULL", hint="Give its bytes, for example pg_read_binary_file('…').")
    watch.require(2 * len(value), "the file")
    return memoryview(value)


_OPEN_VERSION = """
    SELECT snapshot.version_id FROM delc.snapshots AS snapshot
    WHERE snapshot.id = $1 AND NOT EXISTS (SELECT FROM delc.model_versions WHERE id = snapshot.version_id)
"""

_STORED = """
    SELECT name, chunk, shape, delc.dtype(value) AS dtype, delc.shape(value) AS piece
    FROM delc.parameters WHERE snapshot_id = $1 ORDER BY name, chunk
"""
