"""The text form of delc.tensor: readable where it is small, otherwise base64 of the stored value.

psycopg sends and receives text unless it is told otherwise; the binary format is several times as fast.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from delc.client.wire import BFLOAT16, CODES, MOST_DIMENSIONS, NAMES, Array, dense, storage

_RAW, _ZSTD, _CONSTANT = 0, 1, 2
_DENSE = (3, 4, 5)
"""What `delc.compress` chooses: an entropy coder, packed rows, a table. Only the server decodes these."""
_FIXED = struct.Struct("<2sBBBBHI")
_PLANE = struct.Struct("<BBII")
_VERSION = 2
_UNCHECKED = 2
"""A flag: the server makes the checksums, which take long in Python."""
_HEADER = re.compile(r"([a-z0-9]+)\[([0-9,]*)\](base64:)?", re.ASCII)
_BRACES = str.maketrans("{}", "  ")


def encode_text(value: Any) -> str:
    """A numpy array or torch tensor in the text form that every server takes: base64 of planes as they are."""
    dtype, shape, numbers = dense(value)
    size = storage(dtype).itemsize
    planes = np.frombuffer(numbers, np.uint8).reshape(-1, size)[:, ::-1].T
    count = planes.shape[1]
    head = _FIXED.pack(b"\xde\x1c", _VERSION, CODES[dtype], len(shape), size, _UNCHECKED, 0)
    head += struct.pack(f"<{len(shape)}q", *shape)
    stored = base64.b64encode(head + _PLANE.pack(_RAW, 8, count, 0) * size + planes.tobytes()).decode()
    return f"{dtype}[{','.join(map(str, shape))}]base64:{stored}"


def decode_text(text: str) -> Array:
    """The array of a tensor's text form. ``ValueError`` for anything else, ``RuntimeError`` where planes are compressed
    and no library for zstd is there, or the value came from ``delc.compress``.
    """
    found = _HEADER.match(text)
    if found is None or found[1] not in CODES:
        raise ValueError(f"no delc.tensor: {text:.40}")
    shape = tuple(map(int, found[2].split(","))) if found[2] else ()
    if found[3]:
        return _decode_stored(base64.b64decode(text[found.end() :]))
    words = text[found.end() :].translate(_BRACES).replace(",", " ").split()
    return _numbers(words, found[1]).reshape(shape)


def _numbers(words: list[str], dtype: str) -> Array:
    if dtype == "bool":
        return np.array([word in ("t", "true", "1") for word in words], dtype=bool)
    if dtype == "bfloat16":
        bits = np.array(words, dtype=np.float32).view(np.uint32) >> 16
        return bits.astype("<u2").view(BFLOAT16)
    return np.array([float(word) if "float" in dtype else int(word) for word in words], dtype=storage(dtype))


def _decode_stored(stored: bytes) -> Array:
    magic, version, code, rank, planes, flags, _ = _FIXED.unpack_from(stored)
    known = magic == b"\xde\x1c" and version == _VERSION and not flags & ~_UNCHECKED
    if not known or code not in NAMES or rank > MOST_DIMENSIONS:
        raise ValueError("the value is stored in a format that this version of delc.client does not know")
    shape = struct.unpack_from(f"<{rank}q", stored, _FIXED.size)
    dtype, count = storage(NAMES[code]), math.prod(shape)
    if planes == 2 * dtype.itemsize - 1 > 1:
        raise _only_binary()
    if planes != dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError("no delc.tensor: the header does not fit")
    if count > 1 << 31:
        raise ValueError(f"no delc.tensor: shape {shape}")
    bytes_of_elements = np.empty((count, planes), dtype=np.uint8)
    directory = _FIXED.size + 8 * rank
    start = directory + _PLANE.size * planes
    for plane in range(planes):
        encoding, width, length, _ = _PLANE.unpack_from(stored, directory + _PLANE.size * plane)
        bytes_of_elements[:, planes - 1 - plane] = _plane(encoding, width, stored[start : start + length], count)
        start += length
    return bytes_of_elements.reshape(-1).view(dtype).reshape(shape)


def _plane(encoding: int, width: int, body: bytes, count: int) -> Any:
    if encoding in _DENSE:
        raise _only_binary()
    if width != 8 or encoding not in (_RAW, _ZSTD, _CONSTANT):
        raise ValueError("the value is stored in a format that this version of delc.client does not know")
    if encoding == _CONSTANT:
        return body[0]
    plane = np.frombuffer(_decompressor()(body) if encoding == _ZSTD else body, dtype=np.uint8)
    if len(plane) != count:
        raise ValueError(f"no delc.tensor: a plane has {len(plane)} bytes for {count} elements")
    return plane


def _only_binary() -> RuntimeError:
    return RuntimeError(
        "this tensor came as text and is stored as delc.compress does, which only the server decodes; fetch it in the"
        " binary format, connection.cursor(binary=True) or execute(…, binary=True)"
    )


def _decompressor() -> Callable[[bytes], bytes]:
    for module, name in (("compression.zstd", "decompress"), ("zstandard", "decompress"), ("pyzstd", "decompress")):
        try:
            decompress: Callable[[bytes], bytes] = getattr(import_module(module), name)
        except ImportError:
            continue
        return decompress
    raise RuntimeError(
        "this tensor came as text and is compressed; fetch it in the binary format, connection.cursor(binary=True) or"
        " execute(…, binary=True), or install zstandard"
    )
