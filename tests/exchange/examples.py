"""Modules that applications bring, with inputs for them."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """Two convolutions beside a shortcut, functions between modules, nested names."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding="same")
        )
        self.shortcut = nn.Conv2d(1, 6, 1)
        self.head = nn.Linear(6 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.body(x) + self.shortcut(x))
        h = nn.functional.max_pool2d(h, 2)
        h = nn.functional.avg_pool2d(h, 2) * 0.5
        return self.head(h.flatten(1))


class Words(nn.Module):
    """Tokens to classes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(torch.nn.functional.gelu(self.norm(self.table(tokens))).mean(1)), -1)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.LeakyReLU(), nn.Linear(8, 3))


def signal() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm1d(6), nn.ELU(), nn.MaxPool1d(2),
        nn.ConvTranspose1d(6, 4, 2, stride=2), nn.SiLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


EXAMPLES = {"mlp": (mlp, (4,)), "signal": (signal, (2, 16)), "residual": (Residual, (1, 8, 8)), "words": (Words, (5,))}


def example(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A module in evaluation mode whose statistics are not those of the beginning, and 7 rows of inputs."""
    make, shape = EXAMPLES[name]
    torch.manual_seed(3)
    module = make()
    inputs = torch.randint(0, 20, (7, *shape)) if name == "words" else torch.randn(7, *shape)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return module.eval(), inputs


def logits(name: str, module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the module gives before the softmax that it may end with."""
    with torch.inference_mode():
        outputs = module(inputs)
    return outputs.log() if name == "words" else outputs
