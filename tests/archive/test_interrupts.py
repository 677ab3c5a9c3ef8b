"""Cancelling while threads decode: the usual error, nothing left behind, and the session goes on."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
import pytest

from support.cluster import Cluster, Connection
from support.python_function import run_inside
from support.workplace import value

ADD = """
    INSERT INTO delc.stored_tensors (value, base_id, hops, encoding, dtype, elements, checksum)
    SELECT CASE WHEN base.id IS NULL THEN delc.compress(new.value)
                ELSE delc.tensor_delta(delc.restored_tensor(base.id), new.value, new.method) END,
           base.id, coalesce(base.hops + 1, 0), CASE WHEN base.id IS NULL THEN 'dense' ELSE new.method END,
           'float32', delc.elements(new.value), delc.checksum(new.value)
    FROM (SELECT delc.from_npy(%s) AS value, %s::text AS method) AS new
    LEFT JOIN delc.stored_tensors AS base ON base.id = %s
    RETURNING id
"""

FOREVER = """
import plpy
from delc.models import reading, stored_tensors
from delc.server import queries, settings
assert settings.threads() == 4
with queries.as_owner():
    rows = queries.rows("SELECT id, dtype, elements, checksum, hops FROM delc.stored_tensors ORDER BY id")
wanted = [stored_tensors.StoredTensor(**row) for row in rows] * 8
for numbers in reading.read_each(wanted, None, together=True):
    assert numbers.numel()
if args[0]:
    plpy.notice("reading")
while args[0]:
    for numbers in reading.read_each(wanted, None, together=True):
        del numbers
return True
"""
"""Reads chains of eight tensors at a time, in four threads: once, or again and again, after a notice."""


@pytest.fixture
def reader(fresh_db: Connection) -> Connection:
    """A session that reads in four threads, and has done so once."""
    numbers = np.random.default_rng(3).normal(0, 0.02, 2**21).astype(np.float32)
    tensor = None
    for method in ("sub", "sub", "planes", "sub"):
        file = io.BytesIO()
        np.save(file, numbers)
        tensor = value(fresh_db, ADD, file.getvalue(), method, tensor)
        numbers *= np.float32(1.0001)
    fresh_db.execute("SET delc.threads = 4")
    run_inside(fresh_db, FOREVER, False)
    return fresh_db


def stop(reader: Connection, do: Callable[[], object]) -> psycopg.Error:
    """The error that reading forever ends with when ``do`` is called in the midst of it."""
    started = threading.Event()
    reader.add_notice_handler(lambda notice: started.set())
    other = threading.Thread(target=lambda: started.wait() and do())
    other.start()
    with pytest.raises(psycopg.Error) as caught:
        reader.execute("SELECT pg_temp.run_inside('[true]')")
    started.set()
    other.join()
    return caught.value


def threads_of(reader: Connection) -> int:
    return len(list(Path(f"/proc/{reader.info.backend_pid}/task").iterdir()))


def resident_megabytes(reader: Connection) -> float:
    lines = Path(f"/proc/{reader.info.backend_pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def test_a_cancel_stops_the_threads_and_leaves_nothing(reader: Connection) -> None:
    stop(reader, reader.cancel)  # what the first error loads stays
    threads, memory = threads_of(reader), resident_megabytes(reader)
    for _ in range(16):
        assert stop(reader, reader.cancel).sqlstate == "57014"
    assert threads_of(reader) == threads
    # one of the tensors left behind each time were 128; malloc may keep the room of what was fetched last
    assert resident_megabytes(reader) < memory + 96
    assert run_inside(reader, FOREVER, False) is True


def test_a_timeout_stops_the_threads_wherever_they_are(reader: Connection) -> None:
    threads = threads_of(reader)
    for milliseconds in range(1, 60, 4):
        reader.execute(f"SET statement_timeout = {milliseconds}".encode())
        assert stop(reader, lambda: None).sqlstate == "57014"
    reader.execute("SET statement_timeout = 0")
    assert threads_of(reader) == threads
    assert run_inside(reader, FOREVER, False) is True


def test_a_session_that_is_terminated_takes_no_other_with_it(reader: Connection, cluster: Cluster) -> None:
    with cluster.connect(reader.info.dbname) as other:
        started = value(other, "SELECT pg_postmaster_start_time()")
        kill = b"SELECT pg_terminate_backend(%s, 10000)"
        assert stop(reader, lambda: other.execute(kill, [reader.info.backend_pid])).sqlstate == "57P01"
        assert value(other, "SELECT pg_postmaster_start_time()") == started
        assert value(other, "SELECT count(*) FROM delc.stored_tensors") == 4
