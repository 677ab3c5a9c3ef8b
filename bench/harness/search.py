"""Query 4 end to end, and the same search written by hand with PyTorch and optuna."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from harness.measure import Goals, interleaved
from support.cluster import Connection

ITERATIONS = 100
BATCH = 64
TOP = 5
SAMPLES = 4
RATES = [0.1, 0.01, 0.001]
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


def measure_search(connection: Connection, goal: Goals) -> None:
    """Times both, compares the best losses, and counts iterations with and without stopping early."""
    prepare(connection)
    losses: dict[str, float] = {}
    spent: dict[str, int] = {}

    def delc() -> None:
        losses["delc"], spent["delc"] = by_query(connection, "path to config")
        connection.rollback()

    def hand(prune: bool) -> None:
        name = "optuna, pruned" if prune else "optuna, full grid"
        losses[name], spent[name] = by_hand(connection, prune)
        connection.rollback()

    connection.autocommit = False
    ways = {"delc": delc, "optuna, pruned": lambda: hand(True), "optuna, full grid": lambda: hand(False)}
    print(f"\nquery 4, {2 * len(RATES) * SAMPLES} trials of {ITERATIONS} iterations on digits (1,797 images of 8 × 8):")
    timings = interleaved(ways, rounds=1, warm_up=0)
    full_loss, full_spent = by_query(connection, "full grid")
    connection.rollback()
    for name in ways:
        timings.print(name, f"{spent[name]} iterations, best loss {losses[name]:.4f}")
    goal.at_least("hand-written search with pruning / delc, seconds", timings.ratio("optuna, pruned", "delc"), 1)
    goal.at_least("hand-written full grid / delc, seconds", timings.ratio("optuna, full grid", "delc"), 1)
    goal.at_most("best loss of delc / by hand (full grid)", losses["delc"] / losses["optuna, full grid"], 1.25)
    goal.at_least("iterations saved against the full grid, in %", 100 * (1 - spent["delc"] / full_spent), 60)
    goal.at_most("best loss / that of the full grid in delc (1: the same model)", losses["delc"] / full_loss, 1 + 1e-9)


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


def by_query(connection: Connection, config: str) -> tuple[float, int]:
    """The best loss, and how many iterations all trials took."""
    query = QUERY.replace("path to config", config)
    found = connection.execute("SELECT state, value, iterations FROM delc.dql(%s)", [query]).fetchall()
    return min(value for state, value, _ in found if state == "kept"), sum(iterations for *_, iterations in found)


def by_hand(connection: Connection, prune: bool) -> tuple[float, int]:
    """The same search as a client writes it: fetch, build, search with optuna, train; the best model is stored."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    rows = {name: fetch(connection, name) for name in ("path1", "path2")}
    start = weights(connection)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=11, reduction_factor=3) if prune else None
    study = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=0), pruner=pruner or optuna.pruners.NopPruner())
    best: dict[str, Any] = {"loss": math.inf}
    spent = 0

    def objective(trial: Any) -> float:
        nonlocal spent
        rate, data = trial.user_attrs["rate"], rows[trial.user_attrs["data"]]
        conv_rate = rate * trial.suggest_float("conv_lr", 0.03, 3, log=True)
        module = network()
        module.load_state_dict(start)
        convolutions = [*module[0].parameters(), *module[3].parameters()]
        others = [*module[7].parameters(), *module[9].parameters()]
        groups = [{"params": convolutions, "lr": conv_rate}, {"params": others}]
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
        value = math.inf
        for epoch in range(1, ITERATIONS + 1):
            value = one_epoch(module, optimizer, data)
            spent += 1
            if not math.isfinite(value):
                return 1e9
            trial.report(value, epoch)
            if prune and trial.should_prune():
                raise optuna.TrialPruned
        if value < best["loss"]:
            best.update(loss=value, state={name: tensor.clone() for name, tensor in module.state_dict().items()})
        return value

    for rate in RATES:
        for name in rows:
            for _ in range(SAMPLES):
                study.enqueue_trial({}, user_attrs={"rate": rate, "data": name})
    study.optimize(objective, n_trials=len(RATES) * len(rows) * SAMPLES)
    store(connection, best["state"])
    return best["loss"], spent


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
