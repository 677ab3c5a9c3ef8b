"""The networks that are measured: as delc defines them, and the same in plain PyTorch."""

from __future__ import annotations

import json

from torch import nn

MLP = json.dumps([{"kind": "linear", "out_features": 128}, {"kind": "relu"}, {"kind": "linear"}])

CNN = json.dumps(
    [
        {"kind": "reshape", "shape": [1, 28, 28]},
        {"kind": "conv2d", "out_channels": 16, "kernel_size": 3, "padding": 1},
        {"kind": "relu"},
        {"kind": "max_pool2d", "kernel_size": 2},
        {"kind": "conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1},
        {"kind": "relu"},
        {"kind": "max_pool2d", "kernel_size": 2},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 64},
        {"kind": "relu"},
        {"kind": "linear"},
    ]
)

DEFINITIONS = {"mlp": MLP, "cnn": CNN}


def plain(name: str) -> nn.Sequential:
    """The network over (rows, 784) that gives (rows, 10)."""
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
