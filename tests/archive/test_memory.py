"""Getting a tensor back takes little more memory than the tensor, however long its chain."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from support.cluster import Connection
from support.workplace import value

MEGABYTES = 48
CONSTANT_MEGABYTES = 24
ADD = """
    INSERT INTO delc.stored_tensors (value, base_id, hops, encoding, dtype, elements, checksum)
    SELECT CASE WHEN base.id IS NULL THEN delc.compress(new.value)
                ELSE delc.tensor_delta(delc.restored_tensor(base.id), new.value, 'sub') END,
           base.id, coalesce(base.hops + 1, 0), CASE WHEN base.id IS NULL THEN 'dense' ELSE 'sub' END,
           'float32', delc.elements(new.value), delc.checksum(new.value)
    FROM (SELECT delc.from_npy(%s) AS value) AS new LEFT JOIN delc.stored_tensors AS base ON base.id = %s
    RETURNING id
"""


def peak_megabytes(db: Connection, query: str, *parameters: object) -> float:
    """What the statement takes at most, beyond what the session held before it."""
    process = Path(f"/proc/{db.info.backend_pid}")
    (process / "clear_refs").write_text("5")
    before = status(process, "VmRSS")
    db.execute(query, parameters)
    return (status(process, "VmHWM") - before) / 1024


def status(process: Path, name: str) -> int:
    """KiB, as the kernel counts them."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.fixture
def last(fresh_db: Connection) -> int:
    """The id of the last tensor of a chain."""
    numbers = np.random.default_rng(5).normal(0, 0.02, MEGABYTES * 2**18).astype(np.float32)
    tensor = None
    for _ in range(3):
        file = io.BytesIO()
        np.save(file, numbers)
        tensor = value(fresh_db, ADD, file.getvalue(), tensor)
        numbers *= np.float32(1.0001)
    assert isinstance(tensor, int)
    return tensor


def test_a_chain_is_restored_within_two_and_a_fifth_times_the_tensor(fresh_db: Connection, last: int) -> None:
    query = "SELECT delc.elements({}(%s))"
    fresh_db.execute(query.format("delc.restored_tensor"), [last])  # what the first call loads stays
    for function in ("delc.unchecked_tensor", "delc.restored_tensor"):
        taken = peak_megabytes(fresh_db, query.format(function), last)
        assert taken <= 2.2 * MEGABYTES + CONSTANT_MEGABYTES, function
