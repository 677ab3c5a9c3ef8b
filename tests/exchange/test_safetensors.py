"""A safetensors header is not trusted."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from delc.exchange import safetensors_file, torch_file
from delc.server.errors import InvalidData


def file(header: Any, numbers: bytes = b"", length: int | None = None) -> memoryview:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return memoryview(struct.pack("<Q", len(text) if length is None else length) + text + numbers)


def tensor(start: int, end: int, shape: Any = (2,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


LIES = {
    "empty": (memoryview(b""), "too few for a header"),
    "header beyond the file": (file({}, length=1000), "1000 bytes, but 2 follow"),
    "header of an exabyte": (file({}, length=2**60), "more than 100000000"),
    "not JSON": (file(b"{nonsense"), "not JSON"),
    "not UTF-8": (file(b'{"\xff": 1}'), "not JSON"),
    "nested deeply": (file(b"[" * 200_000), "not JSON"),
    "a list": (file([1, 2]), "the header is a JSON array"),
    "names twice": (file(b'{"a":1,"a":2}'), 'the name "a" stands twice'),
    "metadata with numbers": (file({"__metadata__": {"a": 1}}), "not an object of strings"),
    "no shape": (file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)), "is not described"),
    "more keys": (file({"a": {**tensor(0, 8), "x": 1}}, bytes(8)), "is not described"),
    "unknown dtype": (file({"a": tensor(0, 8, dtype="F8_E4M3")}, bytes(8)), "Known are: F64"),
    "negative shape": (file({"a": tensor(0, 8, [-2])}, bytes(8)), "has the shape"),
    "fractional shape": (file({"a": tensor(0, 8, [2.0])}, bytes(8)), "has the shape"),
    "huge shape": (file({"a": tensor(0, 8, [2**61, 2**61])}, bytes(8)), "takes"),
    "nine dimensions": (file({"a": tensor(0, 4, [1] * 9)}, bytes(4)), "has the shape"),
    "offsets backwards": (file({"a": tensor(8, 0)}, bytes(8)), "data_offsets"),
    "size differs": (file({"a": tensor(0, 8, [3])}, bytes(8)), "has 8 bytes, but F32 of shape [3] takes 12"),
    "cut off": (file({"a": tensor(0, 8)}, bytes(7)), "ends at byte 8 of 7"),
    "overlap": (file({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)), 'tensors "a" and "b" overlap'),
    "gap": (file({"a": tensor(0, 8), "b": tensor(12, 20)}, bytes(20)), "a gap of 4 bytes"),
    "bytes behind": (file({"a": tensor(0, 8)}, bytes(9)), "1 bytes follow"),
    "bool of 2": (file({"a": tensor(0, 1, [1], "BOOL")}, b"\x02"), "other than 0 and 1"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_an_error_that_says_how(lie: str) -> None:
    data, said = LIES[lie]
    with pytest.raises(InvalidData) as caught:
        safetensors_file.read(data)
    assert said in str(caught.value)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_damaged_files_are_errors_and_nothing_else(noise: bytes, place: int) -> None:
    good = bytearray(safetensors.torch.save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(0, 2)}))
    good[place : place + len(noise)] = noise
    try:
        tensors, _ = safetensors_file.read(memoryview(bytes(good)))
    except InvalidData:
        return
    assert all(isinstance(each, torch.Tensor) for _, each in tensors)


def test_every_dtype_reads_as_the_formats_own_library_wrote_it() -> None:
    state = {str(dtype): torch.tensor([[0, 1], [1, 0]]).to(dtype) for dtype in safetensors_file.DTYPES.values()}
    state["scalar"], state["nothing"] = torch.tensor(3.5), torch.empty(0, 7)
    tensors, _ = safetensors_file.read(memoryview(safetensors.torch.save(state)))
    found = dict(tensors)
    assert found.keys() == state.keys()
    assert all(found[name].dtype is state[name].dtype and torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("text", [b"[]", b"abc", b"3"])
def test_a_header_that_is_no_object_is_that_of_a_damaged_safetensors_file(text: bytes) -> None:
    file = memoryview(len(text).to_bytes(8, "little") + text)
    assert safetensors_file.looks_like_one(file)
    with pytest.raises(InvalidData, match="not a safetensors file: the header is"):
        safetensors_file.read(file)


FILES = {
    "JSON": (b'[{"weight": [1, 2, 3]}]', "JSON text"),
    "a page": (b"<!DOCTYPE html><html></html>", "HTML or XML text"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a pointer of Git LFS"),
    "a pickle": (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.", "a pickle file"),
    "numpy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", "a numpy array"),
    "half a number": (b"\x08\x00\x00", r"something else \(3 bytes\)"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_called_what_they_are(name: str) -> None:
    data, said = FILES[name]
    assert not safetensors_file.looks_like_one(memoryview(data))
    with pytest.raises(InvalidData, match=f"it is {said}"):
        torch_file.read(memoryview(data), lambda size, what: None)
