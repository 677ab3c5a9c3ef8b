"""Query 4 end to end, and the same search written by hand with PyTorch and optuna."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from harness.measure import Goals, Timings, interleaved
from support.cluster import Connection

ITERATIONS = 100
BATCH = 64
TOP = 5
SAMPLES = 4
RATES = [0.1, 0.01, 0.001]
Point = tuple[float, float, str]
QUERY = f"""evaluate m
from "query3"
with config = "path to config"
vary config.base_lr in {RATES} and
config.net["conv*"].lr auto and
config.input_data in ["path1", "path2"]
keep top({TOP}, m["loss"], {ITERATIONS})"""

CONSTRUCT = """construct m2 from m1 where m1.name like "alexnet-avgv1%" and m1["conv*($1)"].next has POOL("AVG")
mutate m1["conv*($1)"].insert = RELU("relu$1")"""

NETWORK: list[dict[str, Any]] = [
    {"kind": "conv2d", "name": "conv1", "out_channels": 8, "kernel_size": 3, "padding": 1},
    {"kind": "avg_pool2d", "name": "pool1", "kernel_size": 2},
    {"kind": "conv2d", "name": "conv2", "out_channels": 16, "kernel_size": 3, "padding": 1},
    {"kind": "avg_pool2d", "name": "pool2", "kernel_size": 2},
    {"kind": "flatten", "name": "flatten"},
    {"kind": "linear", "name": "fc6", "out_features": 32},
    {"kind": "relu", "name": "relu6"},
    {"kind": "linear", "name": "fc7"},
]

FEATURES = '{"pixels": {"kind": "array", "shape": [1, 8, 8]}}'


@dataclass
class Found:
    """What a search came to: the best loss, all iterations that it took, and how many trials it trained to the end."""

    loss: float
    iterations: int
    finished: int


def measure_search(connection: Connection, goal: Goals, rounds: int) -> None:
    """Times both, compares the best losses, and counts iterations with and without stopping early.

    Both have the same points, so that the same models are there to be found. By hand, trials run one after the other
    or as many at a time as there are processors, with one thread each (networks of this size gain nothing of more);
    the faster one of each round counts. Of optuna's pruners, successive halving ends with two or three trials; so the
    goal is against the one that trains as many to the end as the query keeps. delc is measured with workers that its
    session has used before, as the client has imported torch and optuna before, and once without.
    """
    prepare(connection)
    connection.autocommit = False
    found: dict[str, Found] = {}
    processors = len(os.sched_getaffinity(0))

    def delc() -> None:
        found["delc"] = by_query(connection, "path to config")
        connection.rollback()

    def hand(name: str, pruner: str, jobs: int) -> None:
        found[name] = by_hand(connection, points, pruner=pruner, jobs=jobs)
        connection.rollback()

    print(f"\nquery 4, {2 * len(RATES) * SAMPLES} trials of {ITERATIONS} iterations on digits (1,797 images of 8 × 8):")
    started = time.perf_counter()
    by_query(connection, "path to config")
    cold = time.perf_counter() - started
    points = tried(connection)
    connection.rollback()
    by_pruner: dict[str, list[str]] = {"percentile": [], "halving": []}
    ways: dict[str, Callable[[], None]] = {"delc": delc}
    for pruner, names in by_pruner.items():
        for jobs in dict.fromkeys((1, processors)):
            name = f"optuna, {pruner}, {jobs} at a time"
            names.append(name)
            ways[name] = partial(hand, name, pruner, jobs)
    timings = interleaved(ways, rounds=rounds, warm_up=0)
    for name in ways:
        timings.print(name, in_words(found[name]))
    print(f"  {'delc, with the start of its workers':<44} {cold:8.3f} s  (one round)")
    full = by_query(connection, "full grid")
    connection.rollback()
    grid = by_hand(connection, points, pruner="none", jobs=1)
    connection.rollback()
    print(f"  the full grid in delc: {in_words(full)}; by hand: {in_words(grid)}")
    best = min(found[name].loss for names in by_pruner.values() for name in names)
    halving = least_ratio(timings, "delc", by_pruner["halving"])
    print(f"  by hand with a pruner that trains fewer than {TOP} to the end / delc, seconds: {halving:.2f}")
    goal.at_least(
        f"by hand, {TOP} to the end / delc, seconds", least_ratio(timings, "delc", by_pruner["percentile"]), 1
    )
    goal.at_least("trials trained to the end by delc", found["delc"].finished, TOP)
    goal.at_most("best loss of delc / by hand, pruned", found["delc"].loss / best, 1.1)
    goal.at_most("best loss of delc / by hand, full grid", found["delc"].loss / grid.loss, 1.1)
    goal.at_least(
        "iterations saved against the full grid, in %", 100 * (1 - found["delc"].iterations / full.iterations), 60
    )
    goal.at_most(
        "best loss / that of the full grid in delc (1: the same model)", found["delc"].loss / full.loss, 1 + 1e-9
    )


def in_words(found: Found) -> str:
    return f"{found.iterations} iterations, {found.finished} trials to the end, best loss {found.loss:.4f}"


def least_ratio(timings: Timings, below: str, above: list[str]) -> float:
    """The median over rounds of the fastest of several ways, divided by another."""
    rounds = zip(timings.seconds[below], *(timings.seconds[name] for name in above), strict=True)
    return statistics.median(min(others) / own for own, *others in rounds)


def prepare(connection: Connection) -> None:
    """The digits in a table, two data sets of them with other splits, and a model to begin with."""
    digits = load_digits()
    connection.execute("CREATE TABLE digits (id integer PRIMARY KEY, pixels real[], digit integer)")
    with connection.cursor() as cursor, cursor.copy("COPY digits FROM STDIN") as copy:
        for number, (pixels, digit) in enumerate(zip(digits.data / 16.0, digits.target, strict=True)):
            copy.write_row((number, pixels.tolist(), int(digit)))
    for name, seed in (("path1", 1), ("path2", 2)):
        connection.execute(
            "SELECT delc.create_dataset(%s, 'public.digits', target => 'digit', key => 'id', validation => 0.2,"
            " seed => %s)",
            [name, seed],
        )
    connection.execute(
        "SELECT delc.train('alexnet-avgv1', 'path1', network => %s, features => %s, epochs => 1)",
        [json.dumps(NETWORK), FEATURES],
    )
    connection.execute("SELECT delc.save_query('query3', %s)", [CONSTRUCT])
    config = {"optimizer": "sgd", "momentum": 0.9, "batch_size": BATCH}
    connection.execute("SELECT delc.save_config('path to config', %s)", [json.dumps(config)])
    full = {**config, "search": {"stopping": "none"}}
    connection.execute("SELECT delc.save_config('full grid', %s)", [json.dumps(full)])


def by_query(connection: Connection, config: str) -> Found:
    """The search as a query."""
    query = QUERY.replace("path to config", config)
    rows = connection.execute("SELECT value, iterations FROM delc.dql(%s)", [query]).fetchall()
    ended = [value for value, iterations in rows if iterations == ITERATIONS]
    return Found(min(ended), sum(iterations for _, iterations in rows), len(ended))


def tried(connection: Connection) -> list[Point]:
    """The points of the query that ran last: learning rate, that of the convolutions, and data set."""
    rows = connection.execute(
        "SELECT hyperparameters FROM delc.trials WHERE query_run_id = (SELECT max(query_run_id) FROM delc.trials)"
        " ORDER BY number"
    ).fetchall()
    return [(point["base_lr"], point['net["conv*"].lr'], point["input_data"]) for (point,) in rows]


def by_hand(connection: Connection, points: list[Point], *, pruner: str, jobs: int) -> Found:
    """The same search as a client writes it: fetch, build, search with optuna, train; the best model is stored."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    rows = {name: fetch(connection, name) for name in ("path1", "path2")}
    start = weights(connection)
    pruners = {
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=11, reduction_factor=3),
        "percentile": optuna.pruners.PercentilePruner(100 * TOP / len(points), n_startup_trials=TOP, n_warmup_steps=10),
        "none": optuna.pruners.NopPruner(),
    }
    study = optuna.create_study(pruner=pruners[pruner])
    states: dict[int, dict[str, torch.Tensor]] = {}
    spent: list[int] = []

    def objective(trial: Any) -> float:
        rate, conv_rate, name = points[trial.suggest_int("point", 0, len(points) - 1)]
        module = network()
        module.load_state_dict(start)
        convolutions = [*module[0].parameters(), *module[3].parameters()]
        others = [*module[7].parameters(), *module[9].parameters()]
        groups = [{"params": convolutions, "lr": conv_rate}, {"params": others}]
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
        value = math.inf
        for epoch in range(1, ITERATIONS + 1):
            value = one_epoch(module, optimizer, rows[name])
            spent.append(1)
            if not math.isfinite(value):
                return 1e9
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        states[trial.number] = module.state_dict()
        return value

    for number in range(len(points)):
        study.enqueue_trial({"point": number})
    study.optimize(objective, n_trials=len(points), n_jobs=jobs)
    store(connection, states[study.best_trial.number])
    return Found(study.best_value, len(spent), len(states))


def fetch(connection: Connection, dataset: str) -> tuple[torch.Tensor, ...]:
    """Training and validation rows, as a client reads them."""
    parts: list[torch.Tensor] = []
    for split in ("train", "validation"):
        row = connection.execute("SELECT delc.dataset_query(%s, %s)", [dataset, split]).fetchone()
        assert row is not None
        with connection.cursor(binary=True) as cursor:
            found = cursor.execute(f"SELECT pixels, digit FROM ({row[0]}) AS r".encode()).fetchall()
        pixels = np.array([pixels for pixels, _ in found], dtype=np.float32).reshape(-1, 1, 8, 8)
        parts += [torch.from_numpy(pixels), torch.tensor([digit for _, digit in found])]
    return tuple(parts)


def network() -> nn.Sequential:
    """The network of query 3."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


PLACES = {"conv1": "0", "conv2": "3", "fc6": "7", "fc7": "9"}


def weights(connection: Connection) -> dict[str, torch.Tensor]:
    """The weights of the model that both begin with."""
    found = connection.execute(
        "SELECT parameter.name, parameter.shape, parameter.value::real[]::text FROM delc.parameters AS parameter"
        " JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id AND snapshot.is_latest"
        " JOIN delc.model_versions AS version ON version.id = snapshot.version_id"
        " JOIN delc.models AS model ON model.id = version.model_id WHERE model.name = 'alexnet-avgv1'"
    ).fetchall()
    state = {}
    for name, shape, text in found:
        layer, _, parameter = name.partition(".")
        numbers = np.array(text.replace("{", "").replace("}", "").split(","), dtype=np.float32)
        state[f"{PLACES[layer]}.{parameter}"] = torch.from_numpy(numbers.reshape(shape))
    return state


def one_epoch(module: nn.Sequential, optimizer: torch.optim.Optimizer, data: tuple[torch.Tensor, ...]) -> float:
    """One pass over the training rows; the loss of the validation rows."""
    x, y, validation_x, validation_y = data
    module.train()
    order = torch.randperm(len(x))
    for start in range(0, len(x), BATCH):
        chosen = order[start : start + BATCH]
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(module(x[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
    module.eval()
    with torch.inference_mode():
        return float(nn.functional.cross_entropy(module(validation_x), validation_y))


def store(connection: Connection, state: dict[str, torch.Tensor]) -> None:
    """The best model goes back into the database, as bytes."""
    connection.execute("CREATE TEMPORARY TABLE IF NOT EXISTS stored (at timestamptz, name text, value bytea)")
    for name, tensor in state.items():
        connection.execute(
            "INSERT INTO stored VALUES (to_timestamp(%s), %s, %s)", [time.time(), name, tensor.numpy().tobytes()]
        )
