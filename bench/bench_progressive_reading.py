"""The time of progressive predictions against full ones, each in a session that holds no model yet.

A model of 200 MB and more is predicted with cold (its files and the server's buffers dropped) and with everything
cached, for few rows and for many; and a deep one that bounds hardly settle, for what is lost at worst. The weights are
random: what counts is how much is read and computed.

    make bench BENCHMARKS=bench/bench_progressive_reading.py
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

import delc.client
from delc.inference.progressive.costs import CONSTANT
from harness import machine
from harness.measure import Goals, goals
from harness.server import DATABASE, connected, server
from support.cluster import Cluster

WIDTHS = (784, 6144, 6144, 2048, 10)
MOST = 1.3
ROUNDS = 3
SETUP = """
    CREATE TABLE pictures AS
    SELECT i AS id, array_agg(abs(sin(i * place * 0.7))::real ORDER BY place) AS pixels
    FROM generate_series(1, 2000) AS i, generate_series(1, 784) AS place GROUP BY i
"""


def large_module() -> nn.Module:
    """Four linear layers, 55 million parameters."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def deep_module() -> nn.Module:
    """Sixteen layers: intervals blow up, and traces are dear."""
    torch.manual_seed(2)
    layers: list[nn.Module] = [nn.Linear(784, 256), nn.Tanh()]
    for _ in range(14):
        layers += [nn.Linear(256, 256), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def drop_caches(cluster: Cluster, data: Path) -> None:
    """Writes everything out and asks the system to forget the files of the server; its own buffers go by a restart."""
    with cluster.connect(DATABASE) as connection:
        connection.execute("CHECKPOINT")
    cluster.restart()
    for path in data.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def timed(cluster: Cluster, model: str, rows: int, reading: str) -> tuple[float, list[tuple[Any, ...]]]:
    """Seconds of a prediction in a new session that has torch already, and what it read."""
    with cluster.connect(DATABASE) as connection:
        query = f"SELECT id, pixels FROM pictures LIMIT {rows}"
        connection.execute("SELECT * FROM delc.predict_rows('warm', 'SELECT id, pixels FROM pictures LIMIT 1')")
        started = time.perf_counter()
        connection.execute(
            f"SELECT count(label) FROM delc.predict_rows('{model}', '{query}', reading => '{reading}')"
        )
        seconds = time.perf_counter() - started
        found = connection.execute(
            "SELECT bits, method, rows, bytes, stored_bytes, remark FROM delc.progressive_reading()"
        ).fetchall()
    return seconds, found


def compare(cluster: Cluster, model: str, rows: int, *, data: Path | None) -> tuple[float, float]:
    """Median seconds of full and of progressive readings, in turn; with ``data`` from cold files."""
    seconds: dict[str, list[float]] = {"full": [], "progressive": []}
    for _ in range(1 if data else ROUNDS):
        for reading, taken in seconds.items():
            if data is not None:
                drop_caches(cluster, data)
            once, found = timed(cluster, model, rows, reading)
            taken.append(once)
    full, progressive = (sorted(taken)[len(taken) // 2] for taken in seconds.values())
    read, stored = max(line[3] for line in found), found[0][4]
    settled = sum(line[2] for line in found if line[1] != "in full")
    where = "cold" if data else "cached"
    print(
        f"  {model:<6}{rows:>5} rows {where:<7}full {full:7.3f} s  progressive {progressive:7.3f} s"
        f"  ratio {progressive / full:5.2f}  {read / stored:6.1%} of {stored / 1e6:.0f} MB read, {settled} settled"
        f"  {found[-1][5] or ''}",
        flush=True,
    )
    return full, progressive


def at_worst(check: Goals, what: str, full: float, progressive: float) -> None:
    """Progressive takes at most 1.3 times as long, and the constant."""
    check.at_most(f"{what}: progressive less {CONSTANT:g} s, to full", max(0.0, progressive - CONSTANT) / full, MOST)


def main() -> None:
    with goals() as check, server(shared_buffers="1GB") as cluster:
        with connected(cluster) as connection:
            machine.describe(connection)
            connection.execute(SETUP)
            delc.client.register(connection)
            labels = [str(digit) for digit in range(10)]
            warm = nn.Sequential(nn.Linear(784, 10))
            for name, module in (("large", large_module()), ("deep", deep_module()), ("warm", warm)):
                delc.client.push(connection, name, module, input_shape=[784], labels=labels)
        print("\nseconds of one call in a session that has torch, but not the model; medians of", ROUNDS, "\n")
        data = Path(cluster.data)
        for rows in (1, 100):
            compare(cluster, "large", rows, data=data)
        for model, rows in (("large", 1), ("large", 2000), ("deep", 1), ("deep", 2000)):
            full, progressive = compare(cluster, model, rows, data=None)
            at_worst(check, f"{model}, {rows} rows, cached", full, progressive)


if __name__ == "__main__":
    main()
