"""Files that belong to a version; each content is stored once, by its hash."""

from __future__ import annotations

import hashlib
from typing import Any

from delc.models import versions
from delc.models.ownership import require_owner
from delc.models.versions import ModelVersion
from delc.server import interrupts, queries, rights
from delc.server.errors import DuplicateObject, InvalidParameter, LimitExceeded, UndefinedObject, unknown

CHUNK_BYTES = 64 * 1024 * 1024
LONGEST_PATH = 1024
MOST_BYTES_READ = 1000 * 1000 * 1000
"""PostgreSQL holds values below 1 GB."""


def attach(model: str, path: str, content: bytes, media_type: str | None) -> str:
    """Gives a file to a version; the SHA-256 of its content in hexadecimal digits."""
    _check_path(path)
    if content is None:
        raise InvalidParameter("the content is NULL", hint="Give it as bytea; an empty file is ''.")
    version = versions.resolve(model)
    require_owner(version.name)
    versions.hold([version])
    username = rights.caller()
    digest = hashlib.sha256(content).digest()
    with queries.as_owner():
        if queries.execute(_INSERT_FILE, digest, len(content)):
            _store(digest, content)
        if not queries.execute(_ATTACH, version.id, path, digest, media_type, username):
            _refuse_other(version, path, digest)
    return digest.hex()


def read(model: str, path: str) -> bytes:
    """The content of a file of a version."""
    version = versions.resolve(model)
    found = _find(version, path)
    if found["bytes"] > MOST_BYTES_READ:
        raise LimitExceeded(
            f'"{path}" has {found["bytes"]} bytes, more than one value can hold', hint="Read delc.file_chunks."
        )
    parts = []
    for number in range(found["chunks"]):
        interrupts.check()
        with queries.as_owner():
            parts.append(queries.value(_CHUNK, found["hash"], queries.typed(number, "integer")))
    return b"".join(parts)


def detach(model: str, path: str) -> None:
    """Takes a file from a version; its content goes with the last version that has it."""
    version = versions.resolve(model)
    require_owner(version.name)
    found = _find(version, path)
    with queries.as_owner():
        queries.execute("DELETE FROM delc.model_files WHERE version_id = $1 AND path = $2", version.id, path)
        queries.execute(_DROP_UNUSED, found["hash"])


def _store(digest: bytes, content: bytes) -> None:
    for number, start in enumerate(range(0, len(content), CHUNK_BYTES)):
        interrupts.check()
        part = content[start : start + CHUNK_BYTES]
        queries.execute(_INSERT_CHUNK, digest, queries.typed(number, "integer"), part)


def _refuse_other(version: ModelVersion, path: str, digest: bytes) -> None:
    stored = queries.value("SELECT hash FROM delc.model_files WHERE version_id = $1 AND path = $2", version.id, path)
    if stored != digest:
        raise DuplicateObject(
            f'"{version.title}" has another file "{path}"',
            hint="Take it away with delc.detach_file(), or choose another path.",
        )


def _find(version: ModelVersion, path: str) -> dict[str, Any]:
    with queries.as_owner():
        found = queries.row(_FIND, version.id, path)
        known = [row["path"] for row in queries.rows(_PATHS, version.id)]
    if found is None:
        error = unknown("file", str(path), known, where=f'of "{version.title}"')
        assert isinstance(error, UndefinedObject)
        raise error
    return found


def _check_path(path: str | None) -> None:
    parts = [] if path is None else path.split("/")
    if not parts or len(str(path).encode()) > LONGEST_PATH or any(part in ("", ".", "..") for part in parts):
        raise InvalidParameter(
            f'"{path}" cannot be the path of a file',
            detail=f"Allowed are names separated by /, such as docs/card.md, up to {LONGEST_PATH} bytes in all.",
        )


_INSERT_FILE = "INSERT INTO delc.files (hash, bytes) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING"

_INSERT_CHUNK = "INSERT INTO delc.file_chunks (hash, number, content) VALUES ($1, $2, $3)"

_ATTACH = """
    INSERT INTO delc.model_files (version_id, path, hash, media_type, attached_by) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (version_id, path) DO NOTHING
"""

_FIND = """
    SELECT file.hash, content.bytes,
           (SELECT count(*)::integer FROM delc.file_chunks AS chunk WHERE chunk.hash = file.hash) AS chunks
    FROM delc.model_files AS file JOIN delc.files AS content ON content.hash = file.hash
    WHERE file.version_id = $1 AND file.path = $2
"""

_PATHS = "SELECT path FROM delc.model_files WHERE version_id = $1"

_CHUNK = "SELECT content FROM delc.file_chunks WHERE hash = $1 AND number = $2"

_DROP_UNUSED = """
    DELETE FROM delc.files AS file
    WHERE file.hash = $1 AND NOT EXISTS (SELECT FROM delc.model_files AS attached WHERE attached.hash = file.hash)
"""
