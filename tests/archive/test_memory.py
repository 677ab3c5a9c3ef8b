"""Getting a tensor back takes little more memory than the tensor, however long its chain."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import delc.client
from support.cluster import Connection
from support.python_function import run_inside
from support.workplace import failure, message, rows, value

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


def npy(numbers: npt.NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, numbers)
    return file.getvalue()


@pytest.fixture
def last(fresh_db: Connection) -> int:
    """The id of the last tensor of a chain."""
    numbers = np.random.default_rng(5).normal(0, 0.02, MEGABYTES * 2**18).astype(np.float32)
    tensor = None
    for _ in range(3):
        tensor = value(fresh_db, ADD, npy(numbers), tensor)
        numbers *= np.float32(1.0001)
    assert isinstance(tensor, int)
    return tensor


def test_a_chain_is_restored_within_two_and_a_fifth_times_the_tensor(fresh_db: Connection, last: int) -> None:
    query = "SELECT delc.elements({}(%s))"
    fresh_db.execute(query.format("delc.restored_tensor"), [last])  # what the first call loads stays
    for function in ("delc.unchecked_tensor", "delc.restored_tensor"):
        taken = peak_megabytes(fresh_db, query.format(function), last)
        assert taken <= 2.2 * MEGABYTES + CONSTANT_MEGABYTES, function


READ = """
from delc.models import reading, stored_tensors
from delc.server import queries
with queries.as_owner():
    row = queries.rows("SELECT id, dtype, elements, checksum, hops FROM delc.stored_tensors WHERE id = $1", args[0])[0]
stored = stored_tensors.StoredTensor(**row)
for numbers in reading.read_each([stored] * args[1], args[2], together=args[3]):
    assert numbers.numel() == stored.elements
    del numbers  # or it would be there while the next is read
"""


@pytest.mark.parametrize("planes", [None, 2])
def test_python_reads_a_tensor_within_two_and_a_fifth_times_its_size(
    fresh_db: Connection, last: int, planes: int | None
) -> None:
    tiny = value(fresh_db, ADD, npy(np.zeros(10, np.float32)), None)
    run_inside(fresh_db, READ, tiny, 1, planes, False)  # what the first call loads stays
    call = "SELECT pg_temp.run_inside(%s)"
    for tensor in (value(fresh_db, "SELECT base_id FROM delc.stored_tensors WHERE id = %s", last), last):
        taken = peak_megabytes(fresh_db, call, json.dumps([tensor, 1, planes, False]))
        assert taken <= 2.2 * MEGABYTES + CONSTANT_MEGABYTES, tensor


def test_reading_several_at_once_keeps_to_its_share_of_the_memory_limit(fresh_db: Connection, last: int) -> None:
    tiny = value(fresh_db, ADD, npy(np.zeros(10, np.float32)), None)
    run_inside(fresh_db, READ, tiny, 1, None, True)
    first = value(fresh_db, "SELECT min(id) FROM delc.stored_tensors")
    fresh_db.execute("SET delc.threads = 2")
    for limit in (1024, 4096):
        fresh_db.execute(f"SET delc.memory_limit = '{limit}MB'")
        taken = peak_megabytes(fresh_db, "SELECT pg_temp.run_inside(%s)", json.dumps([first, 8, None, True]))
        assert taken <= max(limit / 16, 2.2 * MEGABYTES) + CONSTANT_MEGABYTES, limit


CHUNK_MEGABYTES = 16
"""What the client makes of large parameters."""


@pytest.fixture
def large(fresh_db: Connection) -> Connection:
    """A model "large" with a parameter of six chunks, and a tiny one."""
    delc.client.register(fresh_db)
    for name, inputs in (("large", 6 * CHUNK_MEGABYTES * 2**18 // 64), ("tiny", 3)):
        weight = np.random.default_rng(5).normal(0, 0.02, (64, inputs)).astype(np.float32)
        state = {"out.weight": weight, "out.bias": np.zeros(64, np.float32)}
        layers = [{"name": "out", "kind": "linear", "out_features": 64}]
        delc.client.push(fresh_db, name, state, network=layers, input_shape=[inputs], task="regression")
    return fresh_db


@pytest.mark.parametrize("retrieval", ["independent", "reusable"])
def test_checkout_takes_no_more_for_more_chunks(large: Connection, retrieval: str) -> None:
    query = "SELECT sum(delc.elements(value)) FROM delc.checkout(%s, NULL, %s)"
    large.execute("SET work_mem = '1MB'")
    large.execute(query, ["tiny", retrieval])  # what the first call loads stays
    taken = peak_megabytes(large, query, "large", retrieval)
    assert taken <= 2.2 * CHUNK_MEGABYTES + CONSTANT_MEGABYTES


def test_an_error_between_rows_says_what_it_is(large: Connection) -> None:
    large.execute(
        "UPDATE delc.stored_tensors SET checksum = checksum + 1"
        " WHERE elements = (SELECT max(elements) FROM delc.stored_tensors)"
    )
    error = failure(large, "SELECT count(value) FROM delc.checkout('large', NULL, 'independent')")
    assert error.sqlstate == "XX001"
    assert message(error).startswith('delc: parameter "out.weight" of "large@1" is damaged')
    assert error.diag.message_hint is not None


LIMIT_ADDRESSES = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (args[0], resource.getrlimit(resource.RLIMIT_AS)[1]))
"""


@pytest.mark.parametrize(
    "query", ["SELECT count(value) FROM delc.checkout('large')", "SELECT * FROM delc.verify_archive('large')"]
)
def test_memory_that_the_system_does_not_give_is_no_damage(large: Connection, query: str) -> None:
    large.execute("SET delc.threads = 4; SELECT count(value) FROM delc.checkout('tiny')")
    process = Path(f"/proc/{large.info.backend_pid}")
    run_inside(large, LIMIT_ADDRESSES, -1)
    for megabytes in (8, 16):
        run_inside(large, LIMIT_ADDRESSES, status(process, "VmSize") * 1024 + megabytes * 2**20)
        error = failure(large, query)
        run_inside(large, LIMIT_ADDRESSES, -1)
        assert error.sqlstate == "53200", message(error)
    assert rows(large, "SELECT * FROM delc.verify_archive('large')") == []




def test_memory_that_the_system_does_not_give_to_torch_is_told_as_such(large: Connection) -> None:
    large.execute("SELECT delc.describe_parameters('tiny')")
    process = Path(f"/proc/{large.info.backend_pid}")
    run_inside(large, LIMIT_ADDRESSES, -1)
    for share in (0.5, 1.2, 1.5):
        room = int(share * 6 * CHUNK_MEGABYTES) * 2**20
        run_inside(large, LIMIT_ADDRESSES, status(process, "VmSize") * 1024 + room)
        error = failure(large, "SELECT * FROM delc.describe_parameters('large')")
        run_inside(large, LIMIT_ADDRESSES, -1)
        assert error.sqlstate == "53200", message(error)
        assert message(error).startswith("delc: out of memory")


def test_storing_a_difference_takes_what_archiving_counts_with(fresh_db: Connection, last: int) -> None:
    store = """
from delc.archive import archiving, encoding
from delc.server import queries
first, second, third = args
with queries.as_owner():
    queries.execute(encoding._STORE_DIFFERENCE, third, second, "sub", queries.typed(first, "bigint"))
return [archiving._ENCODING_TIMES, archiving._ENCODING_BYTES / 2**20]
"""
    times, constant = run_inside(fresh_db, store, last - 2, last - 1, last)
    taken = peak_megabytes(fresh_db, "SELECT pg_temp.run_inside(%s)", json.dumps([last - 2, last - 1, last]))
    assert taken <= times * MEGABYTES + constant
