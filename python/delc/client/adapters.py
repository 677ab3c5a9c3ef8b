"""psycopg adapters: delc.tensor as numpy arrays or torch tensors, in text and in binary."""

from __future__ import annotations

from typing import Any

import numpy as np
from psycopg import Connection, ProgrammingError
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from delc.client.text import decode_text, encode_text
from delc.client.wire import Kind, decode, encode, to_kind

TYPE = "delc.tensor"


class _BinaryDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return encode(obj)


class _TextDumper(Dumper):
    format = Format.TEXT

    def dump(self, obj: Any) -> bytes:
        return encode_text(obj).encode()


class _BinaryLoader(Loader):
    format = Format.BINARY
    kind: Kind = "numpy"

    def load(self, data: Any) -> Any:
        return to_kind(decode(bytes(data)), self.kind)


class _TextLoader(Loader):
    format = Format.TEXT
    kind: Kind = "numpy"

    def load(self, data: Any) -> Any:
        return to_kind(decode_text(bytes(data).decode()), self.kind)


def register(connection: Connection[Any], tensors: Kind = "numpy") -> None:
    """Lets a connection take numpy arrays and torch tensors as delc.tensor, and give delc.tensor as ``tensors`` says.

    Arrays arrive read-only, on the memory of the answer. bfloat16 arrives as ``delc.client.BFLOAT16`` in numpy and as
    itself in torch; nothing is rounded. Ask for results in binary: ``connection.execute(query, binary=True)``.

    Raises ``psycopg.ProgrammingError`` when the extension is not in the database.
    """
    info = tensor_type(connection)
    for base in (_BinaryDumper, _TextDumper):
        dumper = type(base.__name__, (base,), {"oid": info.oid})
        for adapted in (np.ndarray, "torch.Tensor", "torch.nn.parameter.Parameter"):
            connection.adapters.register_dumper(adapted, dumper)
    connection.adapters.register_loader(info.oid, type("_BinaryLoader", (_BinaryLoader,), {"kind": tensors}))
    connection.adapters.register_loader(info.oid, type("_TextLoader", (_TextLoader,), {"kind": tensors}))


def tensor_type(connection: Connection[Any]) -> TypeInfo:
    """The type delc.tensor of the connection's database."""
    info = TypeInfo.fetch(connection, TYPE)
    if info is None:
        raise ProgrammingError(
            f'type {TYPE} is not in database "{connection.info.dbname}"; run CREATE EXTENSION delc CASCADE there'
        )
    return info
