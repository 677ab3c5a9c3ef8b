"""What the figures of a benchmark depend on, printed in front of them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy
import psycopg
import torch

from support.cluster import Connection


def describe(connection: Connection | None = None) -> None:
    """Prints the machine, the libraries and, for a connection, the server with the settings that matter."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    processors = len(os.sched_getaffinity(0))
    print(f"machine: {processors} × {_processor()}, {pages / 2**30:.0f} GiB, Linux {platform.release()}")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"load averages at the start: {load} (others' work on the machine makes all figures worse)")
    print(
        f"client: Python {platform.python_version()}, torch {torch.__version__}, numpy {numpy.__version__}, "
        f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__})"
    )
    if connection is not None:
        version = connection.execute("SHOW server_version").fetchone()
        names = ["shared_buffers", "work_mem", "fsync", "max_parallel_workers_per_gather", "jit"]
        names += ["delc.memory_limit", "delc.threads"]
        settings = [f"{name} = {connection.execute(f'SHOW {name}').fetchone()[0]}" for name in names]
        print(f"server: PostgreSQL {version[0]}, {', '.join(settings)}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
