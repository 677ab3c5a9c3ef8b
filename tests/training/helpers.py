"""What the tests of training share: small networks, rows and a monitor that remembers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from delc.training.batches import MemoryBatches
from delc.training.options import TrainingOptions
from delc.training.state import EpochRecord, TrainingState


class Recorder:
    """A monitor that keeps what it was told."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.losses: list[float | None] = []
        self.records: list[EpochRecord] = []
        self.checkpoints: list[int] = []

    def batch_done(self, epoch: int, batch: int, batches: int, loss: float | None) -> None:
        self.batches.append((epoch, batch, batches))
        self.losses.append(loss)

    def epoch_done(self, record: EpochRecord) -> None:
        self.records.append(record)

    def checkpoint(self, epoch: int, module: nn.Module, state: Callable[[], TrainingState]) -> None:
        self.checkpoints.append(epoch)


class Network(nn.Module):
    """Layers in order over the input named "input"."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        value = inputs["input"]
        for layer in self.children():
            value = layer(value)
        return value


def mlp(inputs: int = 4, outputs: int = 3, dropout: float = 0.0) -> Network:
    """Two linear layers, the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return Network(fc1=nn.Linear(inputs, 16), act1=nn.ReLU(), drop=nn.Dropout(dropout), fc2=nn.Linear(16, outputs))


def clusters(rows: int = 120, labels: int = 3, inputs: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows around one point per label, far enough apart to be told from each other."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(labels, inputs, generator=torch.Generator().manual_seed(99))
    target = torch.arange(rows) % labels
    return centres[target] + 0.5 * torch.randn(rows, inputs, generator=generator), target


def batches(inputs: Tensor, target: Tensor, batch_size: int = 16, shuffle: bool = True, seed: int = 0) -> MemoryBatches:
    """Rows in memory under the name "input"."""
    return MemoryBatches({"input": inputs}, target, batch_size, seed=seed, shuffle=shuffle)


def options(task: str = "classification", **values: object) -> TrainingOptions:
    """Options with few epochs."""
    return TrainingOptions.parse(task, {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, **values})
