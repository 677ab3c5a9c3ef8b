"""Weights go in and out piece by piece: what a session holds of them does not grow with the model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import delc.client
from support.cluster import Connection

LAYERS = [{"name": "table", "kind": "linear", "out_features": 1, "bias": False}]
MEGABYTE = 2**20
LARGE, MOST = 320, 160
"""Megabytes of a model, and by how many its session may grow: by some rows of at most 64 MB."""


def anonymous_bytes(pid: int) -> int:
    """The memory that a process has of its own."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@contextmanager
def peak_of(connection: Connection) -> Iterator[list[int]]:
    """By how much the session's memory grew at most while the block ran; one number, when it has ended."""
    pid, ended = connection.info.backend_pid, threading.Event()
    before = anonymous_bytes(pid)
    seen, grown = [before], []

    def watch() -> None:
        while not ended.wait(0.005):
            seen.append(anonymous_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield grown
    finally:
        ended.set()
        watcher.join()
        grown.append(max(seen) - before)


def push(connection: Connection, megabytes: int) -> None:
    weight = torch.randn(1, megabytes * MEGABYTE // 4)
    state = {"table.weight": weight}
    delc.client.push(connection, f"of{megabytes}", state, network=LAYERS, input_shape=weight.shape[1:])


@pytest.fixture
def session(fresh_db: Connection) -> Connection:
    """A connection whose server process has imported what every later call uses."""
    fresh_db.autocommit = True
    delc.client.register(fresh_db)
    for _ in range(2):
        push(fresh_db, 64)
        import_again(fresh_db, 64)
        export(fresh_db, 64)
    return fresh_db


def import_again(connection: Connection, megabytes: int) -> None:
    model = f"of{megabytes}"
    query = f"SELECT * FROM delc.export_parameters('{model}')"
    connection.execute("SELECT delc.import_parameters('again', %s, based_on => %s)", [query, model])


def export(connection: Connection, megabytes: int) -> None:
    query = f"SELECT * FROM delc.export_parameters('of{megabytes}')"
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
        assert sum(len(data) for data in copy) > megabytes * MEGABYTE


def test_parameters_that_are_pushed_are_stored_row_by_row(session: Connection) -> None:
    with peak_of(session) as grown:
        push(session, LARGE)
    assert grown[0] < MOST * MEGABYTE


def test_parameters_of_a_query_are_stored_row_by_row(session: Connection) -> None:
    push(session, LARGE)
    with peak_of(session) as grown:
        import_again(session, LARGE)
    assert grown[0] < MOST * MEGABYTE


def test_parameters_go_out_row_by_row(session: Connection) -> None:
    push(session, LARGE)
    with peak_of(session) as grown:
        export(session, LARGE)
    assert grown[0] < MOST * MEGABYTE


def test_what_a_session_holds_of_many_outputs_is_their_weights(session: Connection) -> None:
    outputs = 409_600
    layers = [{"name": "wide", "kind": "linear", "out_features": outputs, "bias": False}]
    state = {"wide.weight": torch.arange(outputs, dtype=torch.float32).reshape(-1, 1)}
    with peak_of(session) as grown:
        delc.client.push(session, "wide", state, network=layers, input_shape=[1])
    assert grown[0] < 64 * MEGABYTE
    with peak_of(session) as grown:
        found = delc.client.predict(session, "wide", torch.tensor([2.0]).numpy())
    assert found is not None
    assert grown[0] < MOST * MEGABYTE


def test_what_a_session_holds_of_an_embedding_is_its_table(session: Connection) -> None:
    codes = 2_000_000
    layers = [{"name": "table", "kind": "embedding", "num_embeddings": codes, "embedding_dim": 4}, {"kind": "flatten"}]
    features = {"input": {"kind": "tokens", "shape": [2], "size": codes}}
    with peak_of(session) as grown:
        delc.client.push(session, "words", {"table.weight": torch.ones(codes, 4)}, network=layers, features=features)
    assert grown[0] < 96 * MEGABYTE
    with peak_of(session) as grown:
        delc.client.predict(session, "words", {"input": [0, codes - 1]})
    assert grown[0] < MOST * MEGABYTE
