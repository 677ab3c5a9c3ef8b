"""Feeding rows into torch: through the row packer, through psycopg, through plpy.execute, and a bare scan.

A table of rows with 784 float4 numbers each becomes tensors in the memory of the process that computes. The bare scan
reads every number's value without giving it to anybody: it is what reading costs at least. plpy.execute holds all
numbers as Python objects, so that it gets a quarter of the rows; its seconds are counted four times.

    make bench BENCHMARKS=bench/bench_feeding.py
"""

from __future__ import annotations

import argparse

from harness import client, machine
from harness.measure import goals, interleaved
from harness.rows import make_table
from harness.server import connected, define, server
from support.cluster import Connection

PLPY_SHARE = 4

PACKED = """
import torch
from delc.server import packing
from delc.server.batches import PackColumn, PackLayout
layout = PackLayout((PackColumn(0, "number"),), ("float32",))
rows = 0
for batch in packing.read(query, layout, batch_size):
    rows += torch.from_numpy(batch.groups[0]).shape[0]
return rows
"""

EXECUTED = """
import numpy as np, torch
found = plpy.execute(query)
return torch.from_numpy(np.array([row["x"] for row in found], dtype=np.float32)).shape[0]
"""


def define_functions(connection: Connection) -> None:
    define(connection, "packed", "query text, batch_size integer", "bigint", PACKED)
    define(connection, "executed", "query text", "bigint", EXECUTED)


def run(connection: Connection, expected: int, sql: str, *arguments: object) -> None:
    found = connection.execute(sql, arguments).fetchone()
    assert found == (expected,), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rows, part = chosen.rows, chosen.rows // PLPY_SHARE
    with server() as cluster, connected(cluster) as connection, goals() as goal:
        machine.describe(connection)
        make_table(connection, "images", rows)
        define_functions(connection)
        query = "SELECT x FROM images"
        ways = {
            "bare scan": lambda: connection.execute("SELECT sum(x[1]) FROM images").fetchone(),
            "packer, batches of 10,000": lambda: run(connection, rows, "SELECT pg_temp.packed(%s, 10000)", query),
            "packer, batches of 1,000": lambda: run(connection, rows, "SELECT pg_temp.packed(%s, 1000)", query),
            "packer, one batch": lambda: run(connection, rows, "SELECT pg_temp.packed(%s, %s)", query, rows),
        }
        fast = interleaved(ways, 2 * chosen.rounds + 1)
        print(f"\nfeeding {rows:,} rows × 784 float4 into torch, medians:")
        for name in ways:
            fast.print(name)
        executed = f"plpy.execute, {part:,} rows"
        slow_ways = {
            "packer, one batch": ways["packer, one batch"],
            "packer, batches of 10,000": ways["packer, batches of 10,000"],
            "psycopg, binary": lambda: client.fetch_numbers(connection, query, rows),
            executed: lambda: run(connection, part, "SELECT pg_temp.executed(%s)", f"{query} LIMIT {part}"),
        }
        slow = interleaved(slow_ways, chosen.rounds, warm_up=0)
        slow.print("psycopg, binary")
        slow.print(executed, f"= {slow.median(executed) * PLPY_SHARE:.1f} s for all")
        for name in ("packer, batches of 10,000", "packer, one batch"):
            goal.at_least(f"{name}, times faster than psycopg", slow.ratio("psycopg, binary", name), 15)
            ratio = slow.ratio(executed, name, scale=PLPY_SHARE)
            goal.at_least(f"{name}, times faster than plpy.execute", ratio, 12)
            goal.at_most(f"{name}, in bare scans", fast.ratio(name, "bare scan"), 3)


if __name__ == "__main__":
    main()
