"""Files that were damaged or made up are errors for their reader, and nothing else."""

from __future__ import annotations

import io
import json
import random
from contextlib import suppress
from typing import Any

import pytest
import torch
from exchange.examples import example
from exchange.test_onnx import linear_with
from exchange.test_programs import changed, member, program
from hypothesis import example as tried
from hypothesis import given
from hypothesis import strategies as st

from delc.exchange import onnx_import, program_file, torch_file
from delc.exchange.assembly import Assembly
from delc.server.errors import DelcError


def no_limit(size: int, what: str) -> None:
    """There is memory for everything in these tests' small files."""


@pytest.fixture(scope="module")
def exported() -> bytes:
    return program(*example("residual"))


def spoil(value: Any, chance: random.Random) -> Any:
    """JSON like this, with one thing changed."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        changed_value = {**value}
        if chance.random() < 0.1:
            del changed_value[key]
        else:
            changed_value[key] = spoil(value[key], chance)
        return changed_value
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [spoil(item, chance) if at == place else item for at, item in enumerate(value)]
    return chance.choice([None, -1, 0, 2**70, 1.5, "x", [], {}, [1, 2], {"as_int": 5}, True])


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("name", ["models/model.json", "model_weights_config.json"])
def test_spoiled_programs(exported: bytes, name: str, seed: int) -> None:
    document = json.loads(member(exported, name))
    file = changed(exported, name, json.dumps(spoil(document, random.Random(seed))).encode())
    with suppress(DelcError):
        assert isinstance(program_file.read(memoryview(file), no_limit), Assembly)


@given(st.binary(max_size=40), st.integers(0, 250))
def test_spoiled_onnx_files(noise: bytes, place: int) -> None:
    good = bytearray(linear_with().SerializeToString())
    good[place : place + len(noise)] = noise
    with suppress(DelcError):
        assert isinstance(onnx_import.read(memoryview(bytes(good)), no_limit), Assembly)


@tried(b"J", 288)  # a number that the file ends within
@given(st.binary(min_size=1, max_size=40), st.integers(0, 1500))
def test_spoiled_files_of_torch(noise: bytes, place: int) -> None:
    file = io.BytesIO()
    torch.save({"weight": torch.arange(6.0), "bias": torch.zeros(2)}, file)
    good = bytearray(file.getvalue())
    good[place : place + len(noise)] = noise
    with suppress(DelcError):
        found = torch_file.read(memoryview(bytes(good)), no_limit)
        assert all(isinstance(tensor, torch.Tensor) for _, tensor in found)
