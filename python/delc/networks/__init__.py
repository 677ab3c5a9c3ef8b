"""Networks: a definition in JSON, its graph of layers, and the torch module that is built from it.

``network_from`` reads what a user writes, ``build`` makes a module with fresh parameters, ``restore`` one with stored
parameters. A new kind of layer is one entry in a file of ``delc.networks.library``.
"""

from delc.networks import library  # noqa: F401 - fills the registry of kinds  # isort: skip
from delc.networks.architectures import ARCHITECTURES, architecture
from delc.networks.building import BuiltNetwork, build, restore
from delc.networks.definitions import network_from
from delc.networks.graph import Layer, Network
from delc.networks.kinds import KINDS
from delc.networks.module import NetworkModule
from delc.networks.resolution import LayerReport, ResolvedNetwork, layer_giving_outputs, resolve
from delc.networks.state import load_state
from delc.server.inputs import InputSpec

__all__ = [
    "ARCHITECTURES",
    "KINDS",
    "BuiltNetwork",
    "InputSpec",
    "Layer",
    "LayerReport",
    "Network",
    "NetworkModule",
    "ResolvedNetwork",
    "architecture",
    "build",
    "layer_giving_outputs",
    "load_state",
    "network_from",
    "resolve",
    "restore",
]
