"""The training loop against a bare PyTorch loop on the same tensors in memory.

Both train the same networks with the same optimiser, batch size and number of threads, on rows made up from a seed.
Epochs of the two alternate, so that whatever else the machine does falls on both; a ratio is that of one epoch of the
loop to the bare epoch beside it. Prints one line per network: the median of the ratios, and both median times.

    python bench/bench_training_loop.py [--rows 20000] [--epochs 9] [--threads N]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

from delc.training.batches import MemoryBatches
from delc.training.loop import EpochRecord, fit
from delc.training.options import TrainingOptions

LIMIT = 1.10
"""What an epoch of the loop may cost at most, in bare epochs."""


class Watcher:
    """Reads every loss, as the server's monitor does when it reports progress."""

    last: float | None = None

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float | None) -> None:
        self.last = loss

    def epoch_done(self, record: EpochRecord) -> None:
        self.last = record.train_loss

    def checkpoint(self, epoch: int, module: nn.Module) -> None:
        self.last = None


class First(nn.Module):
    """A network over the one input named "input"."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: dict[str, Tensor] | Tensor) -> Tensor:
        result: Tensor = self.layers(inputs["input"] if isinstance(inputs, dict) else inputs)
        return result


def mlp() -> First:
    return First(nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)))


def cnn() -> First:
    return First(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
        )
    )  # fmt: skip


def bare_epoch(module: nn.Module, inputs: Tensor, target: Tensor, batch_size: int, learning_rate: float) -> None:
    """The loop of PyTorch's tutorials, with a shuffled order and the mean loss of the epoch."""
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    module.train()
    total = 0.0
    order = torch.randperm(len(target))
    for chosen in order.split(batch_size):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(inputs[chosen]), target[chosen])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)


def ratio_line(name: str, inputs: Tensor, target: Tensor, epochs: int) -> tuple[str, float]:
    """Epochs of both, one after the other; the first pair warms up and is not counted."""
    build = mlp if name == "mlp" else cnn
    torch.manual_seed(0)
    ours, bare = build(), build()
    options = TrainingOptions.parse("classification", {"epochs": 1, "batch_size": 128})
    batches = MemoryBatches({"input": inputs}, target, options.batch_size, seed=0)
    pairs = []
    for epoch in range(epochs + 1):
        first = time.perf_counter()
        if epoch % 2:
            fit(ours, batches, None, options, Watcher())
            second = time.perf_counter()
            bare_epoch(bare, inputs, target, options.batch_size, options.learning_rate)
            pairs.append((second - first, time.perf_counter() - second))
        else:
            bare_epoch(bare, inputs, target, options.batch_size, options.learning_rate)
            second = time.perf_counter()
            fit(ours, batches, None, options, Watcher())
            pairs.append((time.perf_counter() - second, second - first))
    ratio = statistics.median(loop / plain for loop, plain in pairs[1:])
    seconds = [statistics.median(pair[which] for pair in pairs[1:]) for which in (0, 1)]
    rows = len(target)
    return f"training loop, {name}, {rows} rows: {ratio:.3f} of the bare loop " + (
        f"({seconds[0]:.3f} s against {seconds[1]:.3f} s an epoch; at most {LIMIT:.2f})"
    ), ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=9, help="pairs of epochs that count")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"torch {torch.__version__}, {chosen.threads} threads, {platform.machine()}, batch size 128, adam")
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(chosen.rows, 784, generator=generator)
    target = torch.randint(0, 10, (chosen.rows,), generator=generator)
    worst = 0.0
    for name, inputs in (("mlp", flat), ("cnn", flat.reshape(-1, 1, 28, 28))):
        line, ratio = ratio_line(name, inputs, target, chosen.epochs)
        print(line, flush=True)
        worst = max(worst, ratio)
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
