"""Prediction by set and by row.

By set: `delc.predict_rows` puts a label beside each key in a new table, against a client that fetches with psycopg
(binary), predicts in torch and writes keys and labels back with COPY, and against torch's forward pass alone over
tensors that already lie in memory (in batches of the size that is fastest).

By row: `delc.predict` in a SELECT over a table, against a PL/Python function that keeps the model in SD and calls it
with `torch.tensor([x])`.

First call: `delc.predict` as the first statement of a new connection, against importing torch and nothing else.

    make bench BENCHMARKS=bench/bench_prediction.py
"""

from __future__ import annotations

import argparse
import time

import torch
from safetensors.torch import save
from torch import nn

from harness import client, machine
from harness.measure import Goals, goals, interleaved
from harness.networks import DEFINITIONS, plain
from harness.rows import make_table
from harness.server import connected, define, server
from support.cluster import Cluster, Connection

FORWARD_GOALS = {"mlp": 2.5, "cnn": 1.3}
FORWARD_BATCHES = (256, 1024, 8192)
CNN_SHARE = 8
"""The convolutional network, which takes much longer, gets this part of the rows."""

ROW_FUNCTION = """
if "module" not in SD:
    import torch
    from torch import nn
    from safetensors.torch import load
    torch.set_num_threads(int(plpy.execute("SHOW delc.threads")[0]["delc.threads"]))
    SD["torch"] = torch
    SD["module"] = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    SD["module"].load_state_dict(load(plpy.execute("SELECT data FROM weights WHERE name = 'mlp'")[0]["data"]))
    SD["module"].eval()
torch = SD["torch"]
with torch.inference_mode():
    return str(int(SD["module"](torch.tensor([x])).argmax()))
"""


def prepare(connection: Connection, name: str) -> nn.Sequential:
    """Trains a model inside, and gives the same network in plain PyTorch; what the weights are makes no difference."""
    connection.execute(
        "SELECT delc.train(%s, 'small', network => %s, epochs => 1, batch_size => 128,"
        ' features => \'{"x": {"kind": "array", "standardize": "none"}}\')',
        [name, DEFINITIONS[name]],
    )
    return plain(name).eval()


def by_set(connection: Connection, goal: Goals, name: str, module: nn.Module, rows: int, rounds: int) -> None:
    numbers = client.fetch_numbers(connection, f"SELECT x FROM images LIMIT {rows}", rows)
    query = f"SELECT id, x FROM images LIMIT {rows}"

    def forward(batch_size: int) -> None:
        client.forward(module, numbers, batch_size)

    def inside() -> None:
        connection.execute(
            "CREATE TEMP TABLE predicted AS SELECT key::bigint AS id, label FROM delc.predict_rows(%s, %s)",
            [name, query],
        )
        connection.execute("DROP TABLE predicted")

    def outside() -> None:
        keys, inputs = client.fetch_labelled(connection, query, rows)
        labels = [str(code) for code in client.forward(module, inputs, FORWARD_BATCHES[1]).tolist()]
        client.write_labels(connection, "predicted", keys, labels)
        connection.execute("DROP TABLE predicted")

    ways = {
        **{f"torch alone, batches of {size}": lambda size=size: forward(size) for size in FORWARD_BATCHES},
        "delc.predict_rows, labels in a table": inside,
    }
    timings = interleaved(ways, rounds)
    print(f" {name}, {rows:,} rows, medians:")
    for way in ways:
        timings.print(way)
    best = min((way for way in ways if way.startswith("torch")), key=timings.median)
    own = "delc.predict_rows, labels in a table"
    against = interleaved({own: inside, "client: fetch, predict, COPY": outside}, max(rounds // 2, 1), 0)
    against.print("client: fetch, predict, COPY")
    times_faster = against.ratio("client: fetch, predict, COPY", own)
    if name == "mlp":
        goal.at_least(f"{name}, times faster than the client", times_faster, 5)
    else:  # nearly all the time is the network's own, on both sides
        print(f"         {name}, times faster than the client: {times_faster:.2f}")
    goal.at_most(f"{name}, in forward passes of torch alone", timings.ratio(own, best), FORWARD_GOALS[name])


def by_row(connection: Connection, goal: Goals, rows: int, rounds: int) -> None:
    module = plain("mlp")
    connection.execute("CREATE TABLE weights (name text, data bytea)")
    connection.execute("INSERT INTO weights VALUES ('mlp', %b)", [save(module.state_dict())])
    define(connection, "predict_row", "x real[]", "text", ROW_FUNCTION)
    define(connection, "takes_array", "x real[]", "text", 'return "0"')
    part = f"(SELECT x FROM images LIMIT {rows}) AS part"
    ways = {
        "bare scan": f"SELECT sum(x[1]) FROM {part}",
        "delc.predict": f"SELECT count(delc.predict('mlp', x)) FROM {part}",
        "PL/Python with torch.tensor([x])": f"SELECT count(pg_temp.predict_row(x)) FROM {part}",
        "PL/Python that only takes the array": f"SELECT count(pg_temp.takes_array(x)) FROM {part}",
    }
    runs = {name: (lambda sql=sql: connection.execute(sql).fetchone()) for name, sql in ways.items()}
    timings = interleaved(runs, rounds)
    print(f"\nby row, mlp, {rows:,} rows, medians:")
    for way in ways:
        timings.print(way, f"{timings.median(way) / rows * 1e6:.0f} µs a row")
    goal.at_least(
        "mlp by row, times faster than PL/Python",
        timings.ratio("PL/Python with torch.tensor([x])", "delc.predict"),
        3,
    )


def first_call(cluster: Cluster, rounds: int, threads: int) -> None:
    def first(sql: str) -> float:
        with connected(cluster, delc__threads=str(threads)) as connection:
            started = time.perf_counter()
            connection.execute(sql)
            return time.perf_counter() - started

    ways = {
        "an empty PL/Python function": lambda: first("DO $$ pass $$ LANGUAGE plpython3u"),
        "loading the package delc": lambda: first(
            """DO $$ plpy.execute("SELECT delc.load_python()") $$ LANGUAGE plpython3u"""
        ),
        "import torch in PL/Python": lambda: first(
            """DO $$ plpy.execute("SELECT delc.load_python()"); import torch $$ LANGUAGE plpython3u"""
        ),
        "delc.predict": lambda: first("SELECT delc.predict('mlp', x) FROM images LIMIT 1"),
    }
    timings = interleaved(ways, rounds)
    print("\nthe first statement of a new connection, medians:")
    for way in ways:
        timings.print(way)
    share = timings.median("import torch in PL/Python") / timings.median("delc.predict")
    print(f"  importing torch is {share:.0%} of the first prediction")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--single-rows", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    threads = chosen.threads
    torch.set_num_threads(threads)
    with server() as cluster, connected(cluster, delc__threads=str(threads)) as connection, goals() as goal:
        machine.describe(connection)
        make_table(connection, "images", chosen.rows)
        connection.execute(
            "SELECT delc.create_dataset('small', 'SELECT * FROM images WHERE id <= 5000', key => 'id',"
            " target => 'label', validation => 0, test => 0)"
        )
        print(f"\nby set, {threads} threads:")
        for name in DEFINITIONS:
            rows = chosen.rows if name == "mlp" else chosen.rows // CNN_SHARE
            by_set(connection, goal, name, prepare(connection, name), rows, chosen.rounds)
        by_row(connection, goal, chosen.single_rows, chosen.rounds)
        first_call(cluster, chosen.rounds, threads)


if __name__ == "__main__":
    main()
