"""Getting a snapshot back from the archive: all of it, two bytes and one byte of each number (the paper's Table V).

Four snapshots of a real transformer (90 MB each: pretrained, and fine-tuned for 160, 200 and 240 steps) are stored
whole, in the least space, and within a budget; the last one is read, with the operating system's and the server's
caches empty (as root) and again with them full. Beside it, in every round, all of a copy is read that stays stored
whole: ratios are to that one. Differences are of method planes, so that two bytes of a chain can be read alone.

Claim: within the budget, all of a snapshot takes at most 1.5 times as long as stored whole (the paper: 2.3 times), and
two bytes at most half. A plan is held against what it was made to keep too: seconds of the processor, in one thread,
with caches full, for every snapshot.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import delc.client
from harness import checkpoints
from harness.machine import describe
from harness.measure import Timings, goals, interleaved
from harness.server import DATABASE, server
from support import minilm
from support.cluster import Cluster, Connection

PLANS = {
    "stored whole": "objective => 'fastest'",
    "least storage": "objective => 'smallest', method => 'planes'",
    "least storage, sub": "objective => 'smallest'",
    "within a budget of 1.5": "budget => '1.5', method => 'planes'",
    "within a budget of 2": "budget => '2', method => 'planes'",
}
BUDGETS = {"within a budget of 1.5": 1.5, "within a budget of 2": 2.0}
NUMBERS = (1, 2, 3, 4)
PARTS = {"all": "NULL", "two bytes": "2", "one byte": "1"}
WHOLE = "all of what is stored whole"
STORED = """
    SELECT sum(delc.stored_bytes(value)) FROM delc.stored_tensors WHERE id IN (
        SELECT tensor_id FROM delc.snapshot_parameters WHERE snapshot_id IN (
            SELECT snapshot_id FROM delc.archive_summary WHERE snapshot LIKE 'm@%'))
"""
PAPER = """
  the paper, seconds for a snapshot of its repository, independent retrieval, all | two bytes | one byte:
    materialised 3.49; least storage 8.47; PAS within a budget of 1.6: 8.10 | 3.19 | 1.60
"""


def snapshots() -> list[dict[str, Any]]:
    """The parameters of the pretrained model and its checkpoints, in delc's form."""
    states = checkpoints.minilm("decay")
    return [
        {name: np.ascontiguousarray(value) for name, value in minilm.pushed(dict(state), 2).items()}
        for _, state in sorted(states.items())
    ]


def fill(connection: Connection, model: str = "m") -> int:
    """Pushes the snapshots as versions of a model, each made from the one before; the bytes of one."""
    delc.client.register(connection)
    size = 0
    for number, state in enumerate(snapshots()):
        told: Mapping[str, Any] = {"network": minilm.network(2), "features": minilm.features(32)}
        if number:
            told = {"based_on": f"{model}@{number}"}
        delc.client.push(connection, model, state, **told)
        size = sum(value.nbytes for value in state.values())
    return size


def prepare(connection: Connection) -> None:
    """A function that reads a snapshot, in a session that has loaded what it needs."""
    connection.execute("""
        CREATE OR REPLACE FUNCTION pg_temp.read_snapshot(snapshot bigint, planes integer) RETURNS double precision
        LANGUAGE plpython3u TRANSFORM FOR TYPE delc.tensor AS $$
        if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
        import time
        from delc.models import parameters
        started = time.perf_counter()
        parameters.load(snapshot, planes)
        return time.perf_counter() - started
        $$
    """)
    connection.execute("""
        CREATE OR REPLACE FUNCTION pg_temp.processor_seconds(snapshot bigint) RETURNS double precision
        LANGUAGE plpython3u TRANSFORM FOR TYPE delc.tensor AS $$
        if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
        import time
        from delc.models import parameters
        started = time.process_time()
        parameters.load(snapshot, together=False)
        return time.process_time() - started
        $$
    """)
    connection.execute("SELECT delc.find_snapshot('m'), delc.restored_tensor(0)")


def seconds(connection: Connection, part: str) -> float:
    """How long a part of the last snapshot takes; WHOLE: all of the copy that is stored whole."""
    model, planes = ("w", "NULL") if part == WHOLE else ("m", PARTS[part])
    statement = f"SELECT pg_temp.read_snapshot(delc.find_snapshot('{model}@4'), {planes})"
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return float(row[0])


def processor_ratios(connection: Connection, rounds: int) -> dict[int, float]:
    """By version, what it takes of one core in that of the same version of the model that stays whole: rounds of both
    alternate.
    """
    found = {}
    query = "SELECT pg_temp.processor_seconds(delc.find_snapshot(%s))"
    for number in NUMBERS:
        ratios = []
        for _ in range(rounds):
            planned, whole = (connection.execute(query, [f"{model}@{number}"]).fetchone() for model in ("m", "w"))
            assert planned is not None
            assert whole is not None
            ratios.append(planned[0] / whole[0])
        found[number] = statistics.median(ratios)
    return found


def cold(cluster: Cluster, part: str) -> float:
    """With nothing of the snapshot in memory."""
    cluster.restart()
    with cluster.connect(DATABASE) as connection:
        prepare(connection)
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return seconds(connection, part)


def measure(cluster: Cluster, rounds: int, cold_rounds: int) -> tuple[dict[str, Timings], dict[int, float]]:
    """Timings of the parts, warm and (as root) cold, for what is archived now; ratios of processor time by version."""
    found = {}
    with cluster.connect(DATABASE) as connection:
        prepare(connection)
        ways = {part: partial(seconds, connection, part) for part in (WHOLE, *PARTS)}
        found["warm"] = interleaved(ways, rounds)
        kept = processor_ratios(connection, rounds)
    if os.geteuid() == 0 and cold_rounds:
        found["cold"] = interleaved({part: partial(cold, cluster, part) for part in (WHOLE, *PARTS)}, cold_rounds, 0)
    for state, timings in found.items():
        shown = [f"{part} {timings.median(part):.3f} s ({timings.ratio(part, WHOLE):.2f})" for part in PARTS]
        print(f"  {state}: {' | '.join(shown)}; whole {timings.median(WHOLE):.3f} s", flush=True)
    return found, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=3, help="0: none, for others' sake")
    chosen = parser.parse_args()
    found: dict[str, dict[str, Timings]] = {}
    kept: dict[str, dict[int, float]] = {}
    with server() as cluster:
        with cluster.connect(DATABASE) as connection:
            describe(connection)
            size = fill(connection)
            fill(connection, "w")
            connection.execute("SELECT delc.archive('w', objective => 'fastest')")
        for plan, arguments in PLANS.items():
            with cluster.connect(DATABASE) as connection:
                started = time.perf_counter()
                connection.execute(f"SELECT delc.archive('m', {arguments})".encode())
                taken = time.perf_counter() - started
                connection.execute("VACUUM")
                row = connection.execute(STORED).fetchone()
                assert row is not None
                print(f"\n{plan}: {int(row[0]) / 1e6:.0f} MB for four snapshots of {size / 1e6:.0f} MB,", end=" ")
                print(f"archived in {taken:.1f} s; in brackets, in the time of whole", flush=True)
            found[plan], kept[plan] = measure(cluster, chosen.rounds, chosen.cold_rounds)
    print(PAPER)
    with goals() as goal:
        for plan, budget in BUDGETS.items():
            shown = ", ".join(f"m@{number} {ratio:.2f}" for number, ratio in kept[plan].items())
            print(f"  {plan}: time of one core in that of whole, warm: {shown}")
            goal.at_most(f"{plan}: what its slowest snapshot takes of one core", max(kept[plan].values()), budget)
        for state, timings in found["within a budget of 1.5"].items():
            goal.at_most(f"{state}: all, in that of whole", timings.ratio("all", WHOLE), 1.5)
            goal.at_most(f"{state}: two bytes, in that of whole", timings.ratio("two bytes", WHOLE), 0.5)
        if os.geteuid() != 0:
            print("  cold: not measured, since only root can empty the caches")


if __name__ == "__main__":
    main()
