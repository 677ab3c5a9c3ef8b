"""Weights of a real pretrained transformer (90 MB) in and out, against COPY of the same bytes.

The plain way is a table (name text, value bytea) and COPY in the binary format, which neither checks nor describes what
it stores; TOAST's own compression is off, which halves its time. Claims: push and pull take at most 1.5 times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import delc.client
from harness.machine import describe
from harness.measure import goals, interleaved
from harness.server import connected, server
from support import minilm
from support.cluster import Connection

ROUNDS = 7
GOAL = 1.5
LENGTH = 32


def copy_in(connection: Connection, state: Mapping[str, Any]) -> None:
    """The same bytes into a table of their own."""
    with connection.cursor() as cursor, cursor.copy("COPY plain FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["text", "bytea"])
        for name, value in state.items():
            copy.write_row((name, value.data))


def copy_out(connection: Connection) -> int:
    """All of them back, not looked at."""
    with connection.cursor() as cursor, cursor.copy("COPY plain TO STDOUT (FORMAT binary)") as copy:
        return sum(len(data) for data in copy)


def into_an_empty_table(connection: Connection, state: Mapping[str, Any]) -> Callable[[], None]:
    def run() -> None:
        connection.execute("TRUNCATE plain")
        copy_in(connection, state)

    return run


def main() -> None:
    state = {name: np.ascontiguousarray(value) for name, value in minilm.pushed(minilm.state(), 2).items()}
    size = sum(value.nbytes for value in state.values())
    with server() as cluster, connected(cluster) as connection:
        describe(connection)
        print(f"{len(state)} parameters, {size / 1e6:.1f} MB")
        delc.client.register(connection)
        connection.execute("CREATE TABLE plain (name text, value bytea)")
        connection.execute("ALTER TABLE plain ALTER COLUMN value SET STORAGE external")
        network, features = minilm.network(2), minilm.features(LENGTH)
        ways: dict[str, Callable[[], object]] = {
            "COPY in, bytea": into_an_empty_table(connection, state),
            "push": lambda: delc.client.push(connection, "m", state, network=network, features=features),
            "COPY out, bytea": lambda: copy_out(connection),
            "pull": lambda: delc.client.pull(connection, "m"),
        }
        timings = interleaved(ways, ROUNDS)
        for name in ways:
            timings.print(name, f"{size / 1e6 / timings.median(name):.0f} MB/s")
        assert minilm.same_bits(delc.client.pull(connection, "m"), state)
        with goals() as claims:
            claims.at_most("push / COPY in", timings.ratio("push", "COPY in, bytea"), GOAL)
            claims.at_most("pull / COPY out", timings.ratio("pull", "COPY out, bytea"), GOAL)


if __name__ == "__main__":
    main()
