"""Training on a table that is larger than the memory that a call may take.

A table of 4 GB is committed as a data set and an MLP is trained on it for one epoch with delc.memory_limit = 1GB. Peak
sizes come from the backend's entry in /proc. VmHWM is all that was ever resident at once: it counts the pages of
shared_buffers that the backend has touched, which are not its own, and libraries. RssAnon is what the process itself
allocated, sampled while it runs; about 0.2 GiB of that is torch as it is imported.

    make bench BENCHMARKS=bench/bench_memory.py
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import torch

from harness import machine
from harness.measure import goals
from harness.networks import MLP
from harness.rows import WIDTH, make_table
from harness.server import connected, server
from support.cluster import Connection

GIGABYTE = 2**30
MEMORY_LIMIT = "1GB"
TEMPLATE_ROWS = 2_000
SAMPLE_SECONDS = 0.2


class Peak:
    """Samples the memory of a process until `stop`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.anonymous = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.anonymous = max(self.anonymous, status(self.pid).get("RssAnon", 0))

    def stop(self) -> int:
        """The largest RssAnon seen, in bytes."""
        self._ended.set()
        self._thread.join()
        return self.anonymous


def status(pid: int) -> dict[str, int]:
    """The sizes in /proc/pid/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, _, value in pairs}


def make_large_table(connection: Connection, size: int) -> int:
    """A table of at least so many bytes of numbers; how many rows. Every row is another: a template turned around."""
    make_table(connection, "templates", TEMPLATE_ROWS)
    turns = -(-size // (TEMPLATE_ROWS * WIDTH * 4))
    connection.execute("CREATE TABLE images (id bigint NOT NULL, label text NOT NULL, x real[] NOT NULL)")
    connection.execute(
        f"INSERT INTO images SELECT (turn - 1) * {TEMPLATE_ROWS} + id, label, x[turn:] || x[:turn - 1]"
        f" FROM generate_series(1, {turns}) AS turn, templates"
    )
    connection.execute("VACUUM ANALYZE images")
    return turns * TEMPLATE_ROWS


def relation_bytes(connection: Connection, relation: str) -> int:
    found = connection.execute("SELECT pg_total_relation_size(%s::regclass)", [relation]).fetchone()
    assert found is not None
    return int(found[0])


def timed(connection: Connection, what: str, sql: str, *arguments: object) -> None:
    """Runs a statement and prints its seconds with the memory of its backend."""
    peak = Peak(connection.info.backend_pid)
    started = time.perf_counter()
    connection.execute(sql, arguments)
    seconds = time.perf_counter() - started
    anonymous, highest = peak.stop(), status(connection.info.backend_pid)["VmHWM"]
    print(
        f"  {what:<28} {seconds:6.1f} s, own memory at most {anonymous / GIGABYTE:.2f} GiB, "
        f"resident with shared memory at most {highest / GIGABYTE:.2f} GiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    chosen = parser.parse_args()
    settings = {"delc__memory_limit": MEMORY_LIMIT, "delc__threads": str(torch.get_num_threads())}
    with server() as cluster, goals() as goal:
        with connected(cluster, **settings) as connection:
            machine.describe(connection)
            rows = make_large_table(connection, int(chosen.gigabytes * 1e9))
            print(f"\n{rows:,} rows × {WIDTH} float4, {relation_bytes(connection, 'images') / GIGABYTE:.2f} GiB:")
        with connected(cluster, **settings) as connection:
            timed(
                connection,
                "create_dataset",
                "SELECT delc.create_dataset('images', 'public.images', key => 'id', target => 'label',"
                " validation => 0.01, test => 0.01)",
            )
        with connected(cluster, **settings) as connection:
            peak = Peak(connection.info.backend_pid)
            timed(
                connection,
                "train, 1 epoch of an MLP",
                "SELECT delc.train('large', 'images', network => %s, epochs => 1, batch_size => 256)",
                MLP,
            )
            anonymous = peak.stop()
            goal.at_most("own memory of the training backend, in GiB", anonymous / GIGABYTE, 1)


if __name__ == "__main__":
    main()
