"""Training inside PostgreSQL against plain PyTorch.

Per epoch: what `delc.train` logs as an epoch's seconds, against the loop of PyTorch's tutorials over tensors that lie
in memory, with the same layers, optimiser, batch size and number of threads. Trainings of the two alternate.

End to end: rows in PostgreSQL → trained model in PostgreSQL. delc commits the rows as a data set first, once for all
trainings on it, and trains; the client fetches with psycopg (binary), trains with the plain loop and stores the weights
as bytea. All rows are for training, so that both see the same.

    make bench BENCHMARKS=bench/bench_training.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from safetensors.torch import save

from harness import client, machine
from harness.measure import goals, interleaved
from harness.networks import DEFINITIONS, plain
from harness.rows import images, make_table
from harness.server import connected, server
from support.cluster import Connection

BATCH_SIZE = 128

TRAIN = """
SELECT run_id FROM delc.train(%(model)s, %(dataset)s, network => %(network)s, epochs => %(epochs)s,
    batch_size => %(batch_size)s, features => '{"x": {"kind": "array", "standardize": "none"}}')
"""


def train_inside(connection: Connection, name: str, dataset: str, epochs: int) -> list[float]:
    """Trains a new version; the seconds of its epochs."""
    arguments = {"model": name, "dataset": dataset, "network": DEFINITIONS[name], "epochs": epochs}
    run = connection.execute(TRAIN, {**arguments, "batch_size": BATCH_SIZE}).fetchone()
    query = "SELECT value FROM delc.metrics WHERE run_id = %s AND metric = 'seconds' ORDER BY epoch"
    return [row[0] for row in connection.execute(query, run)]


def epochs_side_by_side(connection: Connection, name: str, rows: int, epochs: int, rounds: int) -> float:
    """Prints the seconds of epochs; gives their ratio. The first epoch of each training warms up."""
    numbers, labels = (torch.from_numpy(values) for values in images(0, rows))
    ratios, inside_seconds, plain_seconds = [], [], []
    for _ in range(rounds):
        inside = statistics.median(train_inside(connection, name, "images", epochs)[1:])
        outside = statistics.median(
            client.train_plain(plain(name), numbers, labels, epochs=epochs, batch_size=BATCH_SIZE)[1:]
        )
        inside_seconds.append(inside)
        plain_seconds.append(outside)
        ratios.append(inside / outside)
    print(
        f"  {name}: an epoch of delc.train {statistics.median(inside_seconds):.3f} s, "
        f"of plain PyTorch {statistics.median(plain_seconds):.3f} s "
        f"(ratios of the rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    )
    return statistics.median(ratios)


def client_end_to_end(connection: Connection, name: str, rows: int, epochs: int) -> None:
    """Fetch, train, store."""
    labels, numbers = client.fetch_labelled(connection, "SELECT label, x FROM images", rows)
    names = sorted(set(labels))
    codes = {label: code for code, label in enumerate(names)}
    target = torch.from_numpy(np.array([codes[label] for label in labels]))
    module = plain(name)
    client.train_plain(module, numbers, target, epochs=epochs, batch_size=BATCH_SIZE)
    connection.execute("INSERT INTO weights VALUES (%s, %b)", [name, save(module.state_dict())])


def end_to_end(connection: Connection, name: str, rows: int, epochs: int, rounds: int) -> tuple[float, float]:
    """Prints the seconds; gives the client's as a multiple of delc's, with and without committing the data set."""
    committing: list[float] = []

    def inside() -> None:
        started = time.perf_counter()
        connection.execute(
            "SELECT delc.create_dataset('rows', 'public.images', target => 'label', validation => 0, test => 0)"
        )
        committing.append(time.perf_counter() - started)
        train_inside(connection, name, "rows", epochs)

    def with_dataset() -> None:
        train_inside(connection, name, "images", epochs)

    def outside() -> None:
        client_end_to_end(connection, name, rows, epochs)

    def tidy() -> float:
        connection.execute("SELECT delc.drop_model(%s)", [name])
        connection.execute("SELECT delc.drop_dataset('rows')")
        return 0.0

    ways = {
        "delc: commit the data set and train": inside,
        "delc: train on a data set committed before": with_dataset,
        "client: fetch, train, store": outside,
        "(tidying)": tidy,
    }
    timings = interleaved(ways, rounds)
    print(f" {name}, {epochs} epochs:")
    for way in list(ways)[:3]:
        note = f"of which committing {statistics.median(committing):.2f} s" if way.startswith("delc: commit") else ""
        timings.print(way, note)
    outside_name = "client: fetch, train, store"
    return timings.ratio(outside_name, "delc: commit the data set and train"), timings.ratio(
        outside_name, "delc: train on a data set committed before"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    threads = chosen.threads
    torch.set_num_threads(threads)
    with server() as cluster, connected(cluster, delc__threads=str(threads)) as connection, goals() as goal:
        machine.describe(connection)
        make_table(connection, "images", chosen.rows)
        connection.execute(
            "SELECT delc.create_dataset('images', 'public.images', target => 'label', validation => 0, test => 0)"
        )
        connection.execute("CREATE TABLE weights (name text, data bytea)")
        print(f"\ntraining on {chosen.rows:,} rows × 784 float4, batches of {BATCH_SIZE}, adam, {threads} threads:")
        for name in DEFINITIONS:
            ratio = epochs_side_by_side(connection, name, chosen.rows, chosen.epochs, chosen.rounds)
            goal.at_most(f"{name}, an epoch, in epochs of plain PyTorch", ratio, 1.10)
        print("\nend to end, from rows in PostgreSQL to a model in PostgreSQL:")
        for name in DEFINITIONS:
            whole, training = end_to_end(connection, name, chosen.rows, chosen.epochs, chosen.rounds)
            goal.at_least(f"{name}, data set and training, times faster than the client", whole, 1)
            goal.at_least(f"{name}, training alone, times faster than the client", training, 1)


if __name__ == "__main__":
    main()
