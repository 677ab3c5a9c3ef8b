"""Networks outside a server: their parameters cut to leading bits, and boxes as reading planes would give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from delc.inference.progressive.boxes import Box, box_of_prefix
from delc.inference.progressive.propagation import Boxed, boxed
from delc.networks import BuiltNetwork, Network, build
from delc.networks.kinds import TOKENS, Value
from delc.server.inputs import InputSpec

State = Mapping[str, torch.Tensor]


def network(layers: list[dict[str, Any]], *inputs: Value, seed: int = 0) -> BuiltNetwork:
    """A network with random parameters, ready to predict; inputs are called "input", or "a", "b", … if several."""
    names = ["input"] if len(inputs) == 1 else list("abcd"[: len(inputs)])
    specs = {
        name: InputSpec(value.shape, value.dtype, value.categories) for name, value in zip(names, inputs, strict=True)
    }
    built = build(Network.parse(layers), specs, seed=seed)
    built.module.eval().requires_grad_(False)
    return built


def cut(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """A float32 tensor with only its leading bits."""
    return (tensor.contiguous().view(torch.int32) & (-1 << (32 - bits))).view(torch.float32)


def boxes(state: State, bits: int) -> dict[str, Box]:
    """Every float parameter known to so many bits."""
    return {
        name: box_of_prefix(cut(value, bits), bits) if value.is_floating_point() else Box(value)
        for name, value in state.items()
    }


def boxed_network(built: BuiltNetwork, bits: int) -> Boxed:
    """The network with its parameters known to so many bits."""
    return boxed(built.module.network, boxes(built.module.state_dict(), bits))


def random_inputs(values: Mapping[str, Value], rows: int, generator: torch.Generator, scale: float) -> dict[str, Any]:
    """Normal numbers, or tokens."""
    found = {}
    for name, value in values.items():
        shape = (rows, *value.shape)
        if value.dtype == TOKENS:
            found[name] = torch.randint(0, value.categories or 2, shape, generator=generator)
        else:
            found[name] = torch.randn(shape, generator=generator) * scale
    return found
