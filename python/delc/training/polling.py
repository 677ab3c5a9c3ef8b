"""Polling for a cancel inside a batch: one that takes seconds would make everybody wait for its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import Module

OPERATIONS_WITHOUT_POLLING = 4_000_000_000
"""A batch of fewer operations is over in a fraction of a second."""

PASSES = 3
"""A training step costs about three forward passes."""


@contextmanager
def polling_between_layers(module: Module, operations: int, check: Callable[[], None]) -> Iterator[None]:
    """Calls ``check`` after every layer, forward and backward, while the block runs; it may raise.

    ``operations`` are those of a forward pass over one batch; where they are few nothing is done, because the hooks
    would cost small networks more than they are worth.
    """
    with ExitStack() as hooks:
        if operations * PASSES > OPERATIONS_WITHOUT_POLLING:
            for layer in module.children():
                hooks.callback(layer.register_forward_hook(_polling(check)).remove)
        yield


def _polling(check: Callable[[], None]) -> Callable[[Module, Any, Any], None]:
    def backward(gradient: torch.Tensor) -> None:
        check()

    def forward(layer: Module, inputs: Any, output: Any) -> None:
        check()
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.register_hook(backward)  # type: ignore[no-untyped-call]

    return forward
