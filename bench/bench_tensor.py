"""The tensor type: writing and reading in GB of dense numbers per second, and what partial reads cost.

Tensors of float32 weights (normally distributed, as trained layers are), of random bits, which do not compress, and of
small integers. Encoding is the cast from an array into a temporary table; decoding is the transform into numpy. Beside
them the same bytes as `bytea` and as `real[]`.

    make bench BENCHMARKS=bench/bench_tensor.py
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness import machine
from harness.measure import goals, interleaved
from harness.server import connected, server
from support.cluster import Connection

MEGABYTE = 2**20


def values(elements: int) -> dict[str, npt.NDArray[np.generic]]:
    generator = np.random.default_rng(3)
    return {
        "weights": (generator.standard_normal(elements) * 0.05).astype(np.float32),
        "random_bits": generator.integers(0, 2**32, elements, dtype=np.uint32).view(np.float32),
        "small_integers": generator.integers(-8, 8, elements, dtype=np.int64),
    }


def define(connection: Connection) -> None:
    connection.execute("""DO $$ plpy.execute("SELECT delc.load_python()") $$ LANGUAGE plpython3u""")
    connection.execute(
        "CREATE FUNCTION pg_temp.decoded(value delc.tensor) RETURNS bigint LANGUAGE plpython3u"
        " TRANSFORM FOR TYPE delc.tensor AS 'return value.nbytes'"
    )
    connection.execute(
        "CREATE FUNCTION pg_temp.encoded(value delc.tensor) RETURNS delc.tensor LANGUAGE plpython3u"
        " TRANSFORM FOR TYPE delc.tensor AS 'return value'"
    )
    connection.execute(
        "CREATE FUNCTION pg_temp.bytes(value bytea) RETURNS bigint LANGUAGE plpython3u AS 'return len(value)'"
    )
    connection.execute("CREATE TABLE tensors (name text, value delc.tensor, plain bytea, numbers real[])")
    connection.execute("ALTER TABLE tensors ALTER plain SET STORAGE external, ALTER numbers SET STORAGE external")


def npy(array: npt.NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def buffers(connection: Connection, expression: str, name: str) -> int:
    """Blocks that a query touches, cold or not."""
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT {expression} FROM tensors WHERE name = '{name}'"
    plan = connection.execute(query).fetchone()
    assert plan is not None
    root = plan[0][0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def measure(connection: Connection, name: str, raw: int, rounds: int) -> float:
    """Prints throughput and blocks; gives the seconds of decoding in those of reading the bytes as bytea."""

    def ask(expression: str) -> Callable[[], object]:
        return lambda: connection.execute(f"SELECT {expression} FROM tensors WHERE name = '{name}'").fetchone()

    def write(expression: str) -> Callable[[], object]:
        return lambda: connection.execute(
            f"CREATE TEMP TABLE written AS SELECT {expression} AS value FROM tensors WHERE name = '{name}';"
            " DROP TABLE written"
        )

    ways = {
        "read: tensor → numpy": ask("pg_temp.decoded(value)"),
        "read: bytea → Python bytes": ask("pg_temp.bytes(plain)"),
        "write: numpy → tensor (and read)": write("pg_temp.encoded(value)"),
        "write: .npy bytes → tensor": write("delc.from_npy(plain)"),
        "planes(value, 1)": ask("delc.elements(delc.planes(value, 1))"),
    }
    if name == "weights":
        ways["read: real[], summed bare"] = ask("numbers[1]")
    timings = interleaved(ways, rounds)
    stored = connection.execute("SELECT delc.stored_bytes(value) FROM tensors WHERE name = %s", [name]).fetchone()
    assert stored is not None
    print(f"\n {name}: {raw / MEGABYTE:.0f} MiB dense, stored in {stored[0] / raw:.1%}, medians:")
    for way in ways:
        timings.print(way, f"{raw / timings.median(way) / 1e9:.2f} GB/s")
    return timings.ratio("read: tensor → numpy", "read: bytea → Python bytes")


def headers(connection: Connection, name: str, rounds: int) -> float:
    """Prints blocks read by part; gives the share of blocks that one plane takes of the whole."""
    whole = buffers(connection, "delc.elements(delc.planes(value, 8))", name)
    for expression in ("delc.shape(value)", "delc.planes(value, 1)", "delc.planes(value, 2)", "delc.planes(value, 8)"):
        touched = buffers(connection, f"pg_column_size({expression})", name)
        print(f"  {expression:<44} {touched:8,} blocks")
    one = buffers(connection, "pg_column_size(delc.planes(value, 1))", name)
    query = f"SELECT delc.shape(value) FROM tensors WHERE name = '{name}'"
    timings = interleaved({"header": lambda: connection.execute(query).fetchone()}, rounds * 20)
    print(f"  header of one tensor, statement included: {timings.median('header') * 1e6:.0f} µs")
    return one / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with server() as cluster, connected(cluster) as connection, goals() as goal:
        machine.describe(connection)
        define(connection)
        for name, array in values(chosen.megabytes * MEGABYTE // 4).items():
            numbers = array.tolist() if name == "weights" else None
            connection.execute(
                "INSERT INTO tensors SELECT %s, delc.from_npy(plain), plain, %s::real[]"
                " FROM (SELECT %b::bytea AS plain) AS file",
                [name, numbers, npy(array)],
            )
            measure(connection, name, array.nbytes, chosen.rounds)
            share = headers(connection, name, chosen.rounds)
            if name == "random_bits":
                goal.at_most("random bits, blocks of one plane of four, of all blocks", share, 0.27)


if __name__ == "__main__":
    main()
