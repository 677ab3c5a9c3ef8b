"""Building: from a definition to a torch module, initialised from a seed or filled with stored parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from delc.networks.graph import Network
from delc.networks.kinds import find_kind
from delc.networks.module import NetworkModule
from delc.networks.resolution import LayerReport, ResolvedNetwork, make_module, resolve
from delc.networks.state import load_state
from delc.server.errors import InvalidParameter
from delc.server.inputs import InputSpec

Require = Callable[[int, str], None]
"""Called with bytes and what they are for before they are allocated; raises to refuse."""


@dataclass(frozen=True)
class BuiltNetwork:
    """A module and what is known of it."""

    module: NetworkModule
    resolved: ResolvedNetwork

    @property
    def network(self) -> Network:
        """The graph with all sizes filled in: what is stored."""
        return self.resolved.network

    @property
    def layers(self) -> list[LayerReport]:
        """One report per layer, in order."""
        return list(self.resolved.layers)

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return self.resolved.parameters

    @property
    def parameter_bytes(self) -> int:
        """Bytes of parameters and buffers."""
        return self.resolved.parameter_bytes

    def activation_bytes(self, rows: int, training: bool = False) -> int:
        """An estimate of what a pass over so many rows takes besides the parameters."""
        return self.resolved.activation_bytes(rows, training)

    def flops(self, rows: int = 1) -> int:
        """Floating-point operations of a forward pass over so many rows; a multiply-add counts as two."""
        return self.resolved.flops(rows)


def build(
    network: Network,
    inputs: Mapping[str, InputSpec],
    outputs: int | None = None,
    seed: int = 0,
    *,
    require: Require | None = None,
) -> BuiltNetwork:
    """Resolve the network and make its module on the CPU, initialised as PyTorch does by default.

    The same seed gives the same parameters bit for bit: those that ``torch.manual_seed(seed)`` followed by making the
    layers in order would give. The global random state is as before afterwards. ``require`` is asked before anything
    is allocated. Errors are those of ``resolve``, and what ``require`` raises.
    """
    if not -(2**63) <= seed < 2**63:
        raise InvalidParameter(f"seed is {seed}", detail="Allowed is an integer of 64 bits.")
    resolved = resolve(network, inputs, outputs)
    if require is not None:
        require(resolved.parameter_bytes, "the network's parameters")
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would seed the GPUs' generators too, which are not restored here.
        torch.default_generator.manual_seed(seed)
        modules = _make_modules(resolved.network, "cpu")
    return BuiltNetwork(NetworkModule(resolved.network, modules, tuple(resolved.inputs)), resolved)


def restore(
    network: Network,
    inputs: Mapping[str, InputSpec],
    state: Mapping[str, torch.Tensor],
    *,
    copy: bool = False,
) -> BuiltNetwork:
    """The network with stored parameters, ready to predict; nothing is initialised or allocated first.

    Unless ``copy`` is asked for, the module uses the tensors of ``state`` themselves. Errors are those of ``resolve``
    and ``load_state``.
    """
    resolved = resolve(network, inputs)
    module = NetworkModule(resolved.network, _make_modules(resolved.network, "meta"), tuple(resolved.inputs))
    if copy:
        module.to_empty(device="cpu")
    load_state(module, state, copy=copy)
    module.eval()
    return BuiltNetwork(module, resolved)


def _make_modules(network: Network, device: str) -> dict[str, nn.Module]:
    return {layer.name: make_module(layer, find_kind(layer.kind), dict(layer.arguments), device) for layer in network}
