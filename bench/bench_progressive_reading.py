"""The time of progressive predictions against full ones, each in a session that holds no model yet.

A model of 200 MB and more, trained on MNIST, is predicted with cold (its files and the server's buffers dropped) and
with everything cached, for few rows and for many. So are, for what is lost at worst, models that bounds hardly settle:
random ones of 15 and of 63 million parameters, and a deep one.

    make bench BENCHMARKS=bench/bench_progressive_reading.py
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from bench_progressive import KEPT, Data, fit, mnist
from safetensors.torch import load_file, save_file
from torch import nn

import delc.client
from delc.inference.progressive.costs import CONSTANT
from harness import machine
from harness.measure import Goals, goals
from harness.server import DATABASE, connected, server
from support.cluster import Cluster

LARGE = (784, 6656, 6656, 2048, 10)
MIDDLE = (784, 3072, 3072, 1024, 10)
EPOCHS = 1
WARM = (("large", 1), ("large", 1000), ("random", 1000), ("middle", 1), ("middle", 1000), ("deep", 1), ("deep", 1000))
MOST = 1.3
ROUNDS = 3
SETUP = "CREATE TABLE pictures (id int, pixels real[])"


def wide_module(widths: tuple[int, ...], seed: int) -> nn.Module:
    """Linear layers, 15 or 63 million parameters."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def trained_module(data: Data) -> nn.Module:
    """The large one after training on MNIST; kept, and made once."""
    module, kept = wide_module(LARGE, 1), KEPT / f"MNIST-5k {LARGE[1]} wide {EPOCHS}.safetensors"
    if kept.exists():
        module.load_state_dict(load_file(kept))
    else:
        fit(nn.Sequential(nn.Flatten(), module), data, EPOCHS)
        KEPT.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), kept)
    return module


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


def processor_seconds(process: int) -> float:
    """What a process has used of the processor, which other programs on the machine do not count for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(cluster: Cluster, model: str, rows: int, reading: str) -> tuple[float, float, list[tuple[Any, ...]]]:
    """Seconds of a prediction in a new session that has torch already, by the clock and of the processor, and what it
    read.
    """
    with cluster.connect(DATABASE) as connection:
        query = f"SELECT id, pixels FROM pictures LIMIT {rows}"
        connection.execute("SELECT * FROM delc.predict_rows('warm', 'SELECT id, pixels FROM pictures LIMIT 1')")
        process = connection.info.backend_pid
        used, started = processor_seconds(process), time.perf_counter()
        connection.execute(
            f"SELECT count(label) FROM delc.predict_rows('{model}', '{query}', reading => '{reading}')"
        )
        seconds, used = time.perf_counter() - started, processor_seconds(process) - used
        found = connection.execute(
            "SELECT bits, method, rows, bytes, stored_bytes, remark FROM delc.progressive_reading()"
        ).fetchall()
    return seconds, used, found


def compare(cluster: Cluster, model: str, rows: int, *, data: Path | None) -> tuple[float, float]:
    """Median seconds of the processor of full and of progressive readings, in turn; with ``data`` from cold files."""
    clock: dict[str, list[float]] = {"full": [], "progressive": []}
    processor: dict[str, list[float]] = {"full": [], "progressive": []}
    for _ in range(1 if data else ROUNDS):
        for reading in clock:
            if data is not None:
                drop_caches(cluster, data)
            seconds, used, found = timed(cluster, model, rows, reading)
            clock[reading].append(seconds)
            processor[reading].append(used)
    full, progressive = (sorted(taken)[len(taken) // 2] for taken in clock.values())
    full_used, progressive_used = (sorted(taken)[len(taken) // 2] for taken in processor.values())
    read, stored = max(line[3] for line in found), found[0][4]
    settled = sum(line[2] for line in found if line[1] != "in full")
    where = "cold" if data else "cached"
    print(
        f"  {model:<6}{rows:>5} rows {where:<7}clock: full {full:6.2f} s, progressive {progressive:6.2f} s, ratio"
        f" {progressive / full:5.2f}; processor: {full_used:5.2f}, {progressive_used:5.2f}, ratio"
        f" {progressive_used / full_used:5.2f}; {read / stored:6.1%} of {stored / 1e6:.0f} MB read, {settled} settled"
        f"  {found[-1][5] or ''}",
        flush=True,
    )
    return full_used, progressive_used


def at_worst(check: Goals, what: str, full: float, progressive: float) -> None:
    """Progressive takes at most 1.3 times as long, and the constant."""
    check.at_most(f"{what}: progressive less {CONSTANT:g} s, to full", max(0.0, progressive - CONSTANT) / full, MOST)


def prepare(connection: Any, images: Data) -> None:
    """The rows to be predicted, which training did not see."""
    connection.execute(SETUP)
    with connection.cursor().copy("COPY pictures FROM STDIN") as copy:
        for number, image in enumerate(images.test.flatten(1).tolist()):
            copy.write_row((number, image))


def share_memory(cluster: Cluster, *, shared: bool) -> None:
    """Switches on or off that sessions share models; what they shared goes."""
    with cluster.connect(DATABASE) as connection:
        connection.execute(f"ALTER SYSTEM SET delc.cache_size = '{'1GB' if shared else '0'}'")
    cluster.restart()
    for model in {model for model, _ in WARM}:
        timed(cluster, model, 1, "full")


def main() -> None:
    with goals() as check, server(shared_buffers="1GB", **{"delc.threads": "1"}) as cluster:
        with connected(cluster) as connection:
            machine.describe(connection)
            delc.client.register(connection)
            images = mnist()
            prepare(connection, images)
            labels = [str(digit) for digit in range(10)]
            modules = {
                "large": trained_module(images),
                "random": wide_module(LARGE, 1),
                "middle": wide_module(MIDDLE, 2),
                "deep": deep_module(),
                "warm": nn.Sequential(nn.Linear(784, 10)),
            }
            for name, module in modules.items():
                delc.client.push(connection, name, module, input_shape=[784], labels=labels)
        print("\nseconds of one call in a session that has torch, but not the model; medians of", ROUNDS)
        print("(of the processor: what counts where everything is cached and the machine has other work)\n")
        data = Path(cluster.data)
        for rows in (1, 100):
            compare(cluster, "large", rows, data=data)
        for shared in (False, True):
            share_memory(cluster, shared=shared)
            where = "in shared memory" if shared else "cached"
            print(f"\nmemory that sessions share {'has the model' if shared else 'is switched off'}")
            for model, rows in WARM:
                full, progressive = compare(cluster, model, rows, data=None)
                at_worst(check, f"{model}, {rows} rows, {where}", full, progressive)


if __name__ == "__main__":
    main()
