"""A version as a program of torch.export."""

from __future__ import annotations

import io
import warnings

import torch

from delc.models.loaded import LoadedModel
from delc.server.threads import signals_blocked


def export(model: LoadedModel) -> bytes:
    """What ``torch.export.save`` writes, for any number of rows: outputs before softmax or sigmoid.

    The program takes the network's inputs in their order. Its parameters are the version's, bit for bit.
    """
    network = _Positional(model.built.module, list(model.built.resolved.inputs))
    examples = tuple(
        torch.zeros((2, *value.shape), dtype=getattr(torch, value.dtype))
        for value in model.built.resolved.inputs.values()
    )
    with signals_blocked(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = torch.export.Dim("rows")
        program = torch.export.export(
            network, examples, dynamic_shapes=(tuple({0: rows} for _ in examples),), strict=False
        )
        file = io.BytesIO()
        torch.export.save(program, file)
    return file.getvalue()


class _Positional(torch.nn.Module):
    """The network with its inputs as arguments, and its layers where their names say."""

    def __init__(self, network: torch.nn.Module, inputs: list[str]) -> None:
        super().__init__()
        self._inputs = inputs
        self._network = [network]
        for name, layer in network.named_children():
            self._modules[name] = layer

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(rows, outputs)."""
        outputs: torch.Tensor = self._network[0](dict(zip(self._inputs, inputs, strict=True)))
        return outputs
