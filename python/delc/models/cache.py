"""One copy of stored tensors for all sessions of a server: files that every session maps into its memory.

A tensor's id in ``delc.stored_tensors`` means the same numbers for ever and is never given again, so a file named after
it cannot become stale; and only who sees its row, in the caller's transaction, knows the id. The files lie among
PostgreSQL's own temporary files and carry their prefix: the server removes them when it starts, after a crash too, and
base backups leave them out. They appear under their names when they are complete, and go, the least recently used
first, when they pass ``delc.cache_size`` together; who has one mapped keeps it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch

from delc.models.stored_tensors import StoredTensor
from delc.server import progress, queries, settings, tensors

LEAST_BYTES = 256 * 1024
"""Smaller tensors are read by each session: a file of their own would not pay."""

_FOLDER = Path("base/pgsql_tmp")  # the server's working directory is the data directory
_PREFIX = "pgsql_tmp_delc_"
_CHECKSUM = struct.Struct("<q")


def find(parts: Sequence[StoredTensor]) -> torch.Tensor | None:
    """The numbers of tensors, one after the other and flat, from the file that all sessions share, if there is one.
    Writing to them changes the session's own copy alone.
    """
    return _map(_path(parts), parts) if _is_shared(parts, settings.cache_size_bytes()) else None


def add(parts: Sequence[StoredTensor], numbers: torch.Tensor) -> torch.Tensor:
    """The same where there was no file: it is made of ``numbers``, which are given back where they are not to be
    shared.
    """
    flat = numbers.reshape(-1)
    limit = settings.cache_size_bytes()
    if not _is_shared(parts, limit):
        return flat
    path = _path(parts)
    _make_room(limit - _bytes(parts))
    found = _map(path, parts) if _write(path, parts, flat) else None
    return flat if found is None else found


def _is_shared(parts: Sequence[StoredTensor], limit: int) -> bool:
    return LEAST_BYTES <= _bytes(parts) <= limit


def _bytes(parts: Sequence[StoredTensor]) -> int:
    return sum(part.bytes for part in parts)


def holds(parts: Sequence[StoredTensor]) -> bool:
    """Whether there is a file of these tensors."""
    return _path(parts).exists()


def _path(parts: Sequence[StoredTensor]) -> Path:
    ids = ",".join(str(part.id) for part in parts)
    name = ids if len(parts) == 1 else f"{parts[0].id}_{sha256(ids.encode()).hexdigest()[:32]}"
    return _FOLDER / f"{_PREFIX}{_database()}_{name}"


def _map(path: Path, parts: Sequence[StoredTensor]) -> torch.Tensor | None:
    """The numbers in the file; None where it is missing, holds others, or is damaged."""
    size = _bytes(parts)
    expected = _trailer(parts)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(descriptor).st_size != size + len(expected) + _CHECKSUM.size:
            return None
        trailer = os.pread(descriptor, len(expected) + _CHECKSUM.size, size)
        if not trailer.startswith(expected):
            return None
        # A private mapping: sessions share the pages as long as nobody writes to them.
        memory = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
        os.utime(descriptor)
    finally:
        os.close(descriptor)
    numbers = torch.frombuffer(memory, dtype=parts[0].torch_dtype)
    return numbers if _CHECKSUM.pack(tensors.checksum(numbers)) == trailer[len(expected) :] else None


def _write(path: Path, parts: Sequence[StoredTensor], numbers: torch.Tensor) -> bool:
    """Makes the file, all of it or nothing; False, with a warning, where the disk does not take it."""
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(numbers.contiguous().view(torch.uint8).numpy().data)
            file.write(_trailer(parts) + _CHECKSUM.pack(tensors.checksum(numbers)))
        unfinished.rename(path)
    except OSError as error:
        progress.warning(f"parameters are not shared with other sessions: {error.strerror}")
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _trailer(parts: Sequence[StoredTensor]) -> bytes:
    """What follows the numbers, to be recognised by: the checksums of the tensors in the catalog. That of all numbers
    together comes last.
    """
    return b"".join(struct.pack("<qq", part.checksum, part.elements) for part in parts)


def _make_room(most_bytes: int) -> None:
    """Removes the files that were not used for longest until the others take at most ``most_bytes``."""
    files = []
    for entry in os.scandir(_FOLDER) if _FOLDER.is_dir() else ():
        if entry.name.startswith(_PREFIX):
            try:
                status = entry.stat()
            except FileNotFoundError:  # another session was faster
                continue
            files.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
    taken = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if taken <= most_bytes:
            break
        path.unlink(missing_ok=True)
        taken -= size


def _database() -> int:
    oid: int = queries.value(
        "SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
    )
    return oid
