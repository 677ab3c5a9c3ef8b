"""The safetensors format: eight bytes with the length of a JSON header, the header, then the numbers.

The header says of every tensor its dtype, shape and place. It is read without trust: every place must lie inside the
file, follow the one before without a gap, and be as long as dtype and shape say. (The format's rules:
huggingface/safetensors, README, "Format".)
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from delc.server.errors import InvalidData

MOST_HEADER_BYTES = 100_000_000
"""As in the format's own library."""

MOST_DIMENSIONS = 8

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {str(dtype).removeprefix("torch."): name for name, dtype in DTYPES.items()}
METADATA = "__metadata__"


@dataclass(frozen=True)
class Entry:
    """A tensor of the file: its numbers lie at ``start`` to ``end`` behind the header."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def looks_like_one(data: memoryview) -> bool:
    """Whether the bytes begin as a safetensors file does: with the length of a header that is there, or with one.
    Zip archives and pickles begin with what would be far too great a length.
    """
    if len(data) >= 9 and bytes(data[8:9]) in (b"{", b"["):
        return True
    return len(data) >= 8 and int.from_bytes(data[:8], "little") <= len(data) - 8


def read(data: memoryview) -> tuple[list[tuple[str, torch.Tensor]], dict[str, str]]:
    """The tensors, on the memory of ``data``, and the metadata. Raises ``InvalidData`` for a file that lies."""
    entries, metadata, begin = _header(data)
    tensors = []
    for entry in entries:
        body = data[begin + entry.start : begin + entry.end]
        if entry.dtype is torch.bool and len(body) and max(body) > 1:
            _refuse(f'tensor "{entry.name}" of dtype BOOL holds bytes other than 0 and 1')
        tensors.append((entry.name, _view(body, entry.dtype).reshape(entry.shape)))
    return tensors, metadata


def _view(body: memoryview, dtype: torch.dtype) -> torch.Tensor:
    if not len(body):
        return torch.empty(0, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the memory is not to be written, and nobody does
        return torch.frombuffer(body, dtype=dtype)


def header(entries: Sequence[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the numbers of tensors (name, dtype as delc names it, shape), which follow in this order."""
    described: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    place = 0
    for name, dtype, shape in entries:
        size = math.prod(shape) * DTYPES[NAMES[dtype]].itemsize
        described[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(described, separators=(",", ":")).encode()
    padded = text + b" " * (-len(text) % 8)
    return len(padded).to_bytes(8, "little") + padded


def _header(data: memoryview) -> tuple[list[Entry], dict[str, str], int]:
    if len(data) < 8:
        _refuse(f"{len(data)} bytes are too few for a header")
    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER_BYTES:
        _refuse(f"the header is said to have {length} bytes, more than {MOST_HEADER_BYTES}")
    if length > len(data) - 8:
        _refuse(f"the header is said to have {length} bytes, but {len(data) - 8} follow: the file is cut off, or lies")
    described = _json(bytes(data[8 : 8 + length]))
    metadata = _metadata(described.pop(METADATA, {}))
    entries = [_entry(name, value) for name, value in described.items()]
    _check_places(entries, len(data) - 8 - length)
    return entries, metadata, 8 + length


_JSON_NAMES: dict[type, str] = {list: "array", str: "string", int: "number", float: "number"}


def _json(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        _refuse(f"the header is not JSON: {str(error)[:200]}")
    if not isinstance(value, dict):
        _refuse(f"the header is a JSON {_JSON_NAMES.get(type(value), 'value')}, where an object belongs")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            _refuse(f'the name "{name[:100]}" stands twice in the header')
        result[name] = value
    return result


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _refuse(f"{METADATA} is not an object of strings")
    return value


def _entry(name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        _refuse(f'tensor "{name[:100]}" is not described by dtype, shape and data_offsets alone')
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InvalidData(
            f'tensor "{name[:100]}" of the safetensors file has the dtype {dtype!r:.50}',
            detail=f"Known are: {', '.join(DTYPES)}.",
            hint="Convert it before saving, for example with .float().",
        )
    if not _are_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        _refuse(f'tensor "{name[:100]}" has the shape {shape!r:.100}')
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[1] < offsets[0]:
        _refuse(f'tensor "{name[:100]}" has the data_offsets {offsets!r:.100}')
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != size:
        _refuse(
            f'tensor "{name[:100]}" has {offsets[1] - offsets[0]} bytes, but {dtype} of shape {shape!r:.100} takes'
            f" {size}"
        )
    return Entry(name, DTYPES[dtype], tuple(shape), offsets[0], offsets[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**62 for size in value)


def _check_places(entries: Sequence[Entry], length: int) -> None:
    """Tensors must follow one another without gaps, from the header to the end of the file."""
    place, before = 0, ""
    for entry in _by_place(entries):
        if entry.end > length:
            _refuse(f'tensor "{entry.name[:100]}" ends at byte {entry.end} of {length}: the file is cut off')
        if entry.start < place:
            _refuse(f'tensors "{before[:100]}" and "{entry.name[:100]}" overlap')
        if entry.start > place:
            _refuse(f'there is a gap of {entry.start - place} bytes before tensor "{entry.name[:100]}"')
        place, before = entry.end, entry.name
    if place != length:
        _refuse(f"{length - place} bytes follow the last tensor")


def _by_place(entries: Sequence[Entry]) -> Iterator[Entry]:
    return iter(sorted(entries, key=lambda entry: (entry.start, entry.end)))


def _refuse(why: str) -> NoReturn:
    raise InvalidData(
        f"not a safetensors file: {why}", hint="The file is damaged or was made up; write it anew with safetensors."
    )
