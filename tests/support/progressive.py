"""Networks outside a server: their parameters cut to leading bits, and boxes as reading planes would give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from delc.inference.progressive.boxes import Box, box_of_prefix
from delc.inference.progressive.costs import Work
from delc.inference.progressive.propagation import Boxed, boxed
from delc.inference.progressive.settling import Forward
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


@dataclass
class InMemory:
    """A network of which so many bits are known; ``work`` says what bounds on it are thought to cost."""

    built: BuiltNetwork
    work: Work
    bits: int = 16
    seconds_left: float = 1.0
    guessed: list[int] = field(default_factory=list)
    missing: str | None = None
    prepared: bool = True
    all_bits: int = 32

    @property
    def complete(self) -> bool:
        """Whether all bits are known."""
        return self.bits == self.all_bits

    def deepen(self) -> None:
        """One plane more."""
        self.bits += 8

    def read_all(self) -> None:
        """All planes."""
        self.bits = self.all_bits

    def boxed(self) -> Boxed:
        """The network with its parameters' boxes."""
        return boxed_network(self.built, self.bits)

    def middle(self) -> Forward:
        """The network with the middles of the boxes."""
        values = {name: box.centre for name, box in boxes(self.built.module.state_dict(), self.bits).items()}

        def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            self.guessed.append(len(inputs["input"]))
            found: torch.Tensor = torch.func.functional_call(self.built.module, values, (inputs["input"],))
            return found

        return forward  # type: ignore[return-value]

    def full(self) -> Forward:
        """The network as it is."""
        return self.built.module
