"""A version as a program of torch.export."""

from __future__ import annotations

import io
import warnings

import torch

from delc.networks import BuiltNetwork
from delc.server.errors import InvalidParameter
from delc.server.threads import signals_blocked


def export(built: BuiltNetwork) -> bytes:
    """What ``torch.export.save`` writes, for any number of rows: outputs before softmax or sigmoid.

    The program takes the network's inputs in their order. Its parameters are the version's, bit for bit. Raises
    ``InvalidParameter`` naming a layer that torch.export cannot follow.
    """
    for layer in built.resolved.network:
        if layer.kind in ("rnn", "gru", "lstm") and layer.arguments["padding_index"] is not None:
            raise InvalidParameter(
                f"{layer} cannot be written as a program",
                detail="It reads sequences up to their padding, and torch.export knows no packed sequences.",
                hint="export_onnx() and export_safetensors() take it.",
            )
    network = _Positional(built.module, list(built.resolved.inputs))
    examples = tuple(
        torch.zeros((2, *value.shape), dtype=getattr(torch, value.dtype)) for value in built.resolved.inputs.values()
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
