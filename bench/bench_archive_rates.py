"""What reading from the archive takes: the rates that its planner weighs space against time with.

Snapshots of a real transformer are stored in every encoding that there is: whole (dense, fast and in half planes), and
as chains of differences of each method. Every parameter of each is read in one thread, with caches full, by the
processor's clock; what one stored value takes, its bytes, and the bytes of numbers that an encoding gives, is then
fitted to all readings at once (non-negative least squares of relative errors).

Claim: in those of stored whole, the rates in `delc.archive.rates` and what they foretell for a snapshot are not quicker
than what is measured, so that plans keep their budgets, nor much slower: by three fifths at most, as far apart as
readings of one value are on a machine that others use as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from bench_checkout import fill
from scipy.optimize import nnls

from delc.archive import rates as planner
from harness.machine import describe
from harness.measure import goals
from harness.server import connected, server
from support.cluster import Connection

STORED = {
    "fast": "objective => 'fastest'",
    "halves": "objective => 'fastest', halves => true",
    "sub": "objective => 'smallest'",
    "planes": "objective => 'smallest', method => 'planes'",
    "xor": "objective => 'smallest', method => 'xor'",
    "budget": "budget => '2', method => 'planes'",
}
LARGE = 100_000
"""Bytes of a parameter from which on its reading tells of rates; the others tell what a call takes."""

CALL = "call"
TERMS = (CALL, "each", "fetched", "fast", "dense", "halves", "sub", "planes", "xor")
"""What a reading is made of: the statements of a call (which reads a whole snapshot otherwise), stored values, their
bytes, and bytes of numbers by encoding.
"""

CHAINS = """
    WITH RECURSIVE chain AS (
        SELECT p.snapshot_id, p.name, p.tensor_id AS id FROM delc.snapshot_parameters AS p
        UNION ALL
        SELECT chain.snapshot_id, chain.name, stored.base_id
        FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.id WHERE stored.base_id IS NOT NULL
    )
    SELECT chain.snapshot_id, chain.name,
           jsonb_agg(jsonb_build_array(stored.encoding, delc.stored_bytes(stored.value),
                                       stored.elements * 4))
    FROM chain JOIN delc.stored_tensors AS stored ON stored.id = chain.id
    WHERE stored.dtype = 'float32' GROUP BY 1, 2
"""

READ = """
    CREATE OR REPLACE FUNCTION pg_temp.read_parameters(snapshot bigint) RETURNS jsonb
    LANGUAGE plpython3u TRANSFORM FOR TYPE delc.tensor AS $$
    if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
    import json, time
    from delc.models import parameters
    found = {}
    for parameter in parameters.find(snapshot):
        times = []
        while len(times) < 3 or sum(times) < 0.03 and len(times) < 15:
            started = time.process_time()
            for chunk in parameters.read_chunks([parameter]):
                del chunk
            times.append(time.process_time() - started)
        found[parameter.name] = sorted(times)[len(times) // 2] * 1000
    return json.dumps(found)
    $$
"""


@dataclass(frozen=True)
class Reading:
    """One parameter as a plan stores it: milliseconds to read, and how much of each term is in that."""

    plan: str
    snapshot: int
    name: str
    milliseconds: float
    amounts: list[float]


def readings(connection: Connection, plan: str) -> list[Reading]:
    """Reads every parameter of every snapshot."""
    connection.execute(READ)
    chains: dict[int, dict[str, list[tuple[str, int, int]]]] = defaultdict(dict)
    for snapshot, name, links in connection.execute(CHAINS):
        chains[snapshot][name] = links
    found = []
    for snapshot in sorted(chains):
        row = connection.execute("SELECT pg_temp.read_parameters(%s)", [snapshot]).fetchone()
        assert row is not None
        times = row[0] if isinstance(row[0], dict) else json.loads(row[0])
        found += [
            Reading(plan, snapshot, name, times[name], amounts(links)) for name, links in chains[snapshot].items()
        ]
    return found


def amounts(links: list[tuple[str, int, int]]) -> list[float]:
    """By term: stored values, their bytes, and bytes of numbers by encoding."""
    total = dict.fromkeys(TERMS, 0.0) | {CALL: 1.0}
    for encoding, stored, raw in links:
        total["each"] += 1
        total["fetched"] += stored
        total[encoding] += raw
    return [total[term] for term in TERMS]


def fitted(found: list[Reading]) -> dict[str, float]:
    """Milliseconds of each term: a call, a stored value, or a byte. What fetching takes is the planner's: values of
    one encoding have about the same size, so that it cannot be told from decoding.
    """
    large = [one for one in found if max(one.amounts[TERMS.index("fast") :]) >= LARGE]
    times = np.array([one.milliseconds for one in large])
    amount = np.array([one.amounts for one in large])
    fetching = amount[:, TERMS.index("fetched")] / planner.FETCHED
    free = [place for place, term in enumerate(TERMS) if term != "fetched"]
    scale = np.array([1.0, 1.0, *[1e6] * (len(free) - 2)])
    solution, _ = nnls(amount[:, free] / scale / times[:, None], (times - fetching) / times)
    named = zip([TERMS[place] for place in free], solution / scale, strict=True)
    return {"fetched": 1 / planner.FETCHED, **dict(named)}


def assumed() -> dict[str, float]:
    """The same as the planner has it."""
    decoded = {encoding: 1 / rate for encoding, rate in planner.DECODED.items()}
    return {CALL: 0.0, "each": planner.EACH, "fetched": 1 / planner.FETCHED, **decoded}


def foretold(found: list[Reading], call: float) -> dict[tuple[str, int], float]:
    """By plan and snapshot, what the planner expects by what it is: 1 is right. All in that of stored whole."""
    rates = np.array([assumed()[term] for term in TERMS])
    taken: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one in found:
        taken[one.plan, one.snapshot][0] += one.milliseconds - call
        taken[one.plan, one.snapshot][1] += float(np.dot(one.amounts, rates))
    return {
        (plan, snapshot): (said / taken["fast", snapshot][1]) / (was / taken["fast", snapshot][0])
        for (plan, snapshot), (was, said) in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    found: list[Reading] = []
    with server() as cluster, connected(cluster) as connection:
        describe(connection)
        fill(connection)
        for plan, arguments in STORED.items():
            connection.execute(f"SELECT delc.archive('m', {arguments})".encode())
            connection.execute("VACUUM")
            for _ in range(chosen.rounds):
                found += readings(connection, plan)
    measured, known = fitted(found), assumed()
    print(f"\n{len(found)} readings; MB of numbers in a millisecond, in brackets in the rate of fast:")
    with goals() as goal:
        print(f"  a stored value: {measured['each']:.3f} ms (the planner: {known['each']:.3f})")
        for term in TERMS[2:]:
            print(f"  {term:<8} {1e-6 / measured[term]:.2f} ({measured['fast'] / measured[term]:.2f}; ", end="")
            print(f"the planner: {known['fast'] / known[term]:.2f})", flush=True)
        slower = {term: (measured["fast"] / measured[term]) / (known["fast"] / known[term]) for term in TERMS[3:]}
        goal.at_least("rates of decoding: the least of measured in planned", min(slower.values()), 0.9)
        goal.at_most("rates of decoding: the most of measured in planned", max(slower.values()), 1.6)
        right = foretold(found, measured[CALL])
        for plan in STORED:
            own = [ratio for (name, _), ratio in right.items() if name == plan]
            shown = f"{min(own):.2f} to {max(own):.2f}, median {statistics.median(own):.2f}"
            print(f"  {plan}: foretold in what was measured: {shown}")
        goal.at_least("time of a snapshot: the least of planned in measured", min(right.values()), 0.9)
        goal.at_most("time of a snapshot: the most of planned in measured", max(right.values()), 1.6)


if __name__ == "__main__":
    main()
