"""The torch module of a network: its layers by name and a plan, made once, of the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from delc.networks.graph import Network
from delc.server.errors import InvalidParameter

Step = tuple[nn.Module, tuple[int, ...], int, tuple[int, ...]]
"""A layer's module, the slots that it reads, the slot of its output, and the slots that nothing reads afterwards."""

Inputs = torch.Tensor | Mapping[str, torch.Tensor]


class Plan:
    """How to compute one layer's output: a chain of modules where each reads the one before, otherwise slots."""

    def __init__(
        self, network: Network, modules: Mapping[str, nn.Module], inputs: tuple[str, ...], target: str
    ) -> None:
        needed = network.ancestors(target)
        layers = [layer for layer in network if layer.name in needed]
        self.inputs = tuple(name for name in inputs if any(name in layer.inputs for layer in layers))
        slots = {name: slot for slot, name in enumerate([*self.inputs, *(layer.name for layer in layers)])}
        last_reader = {source: layer.name for layer in layers for source in layer.inputs}
        self.size = len(slots)
        self.steps: list[Step] = []
        for layer in layers:
            done = {source for source in layer.inputs if last_reader[source] == layer.name}
            sources = tuple(slots[source] for source in layer.inputs)
            freed = tuple(slots[source] for source in done)
            self.steps.append((modules[layer.name], sources, slots[layer.name], freed))
        chained = all(sources == (target_slot - 1,) for _, sources, target_slot, _ in self.steps)
        self.chain = tuple(step[0] for step in self.steps) if chained else None

    def run(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """The output for the tensors of ``self.inputs``, in that order."""
        if self.chain is not None:
            value = tensors[0]
            for module in self.chain:
                value = module(value)
            return value
        slots: list[torch.Tensor | None] = [*tensors, *[None] * (self.size - len(tensors))]
        for module, sources, target, freed in self.steps:
            value = module(*[slots[source] for source in sources])
            for slot in freed:
                slots[slot] = None
            slots[target] = value
        return value


class NetworkModule(nn.Module):
    """A network as a torch module.

    Its submodules are the layers by name, so that parameters are called ``<layer>.<parameter>``. ``network`` is the
    resolved graph. The plan refers to the layers' modules: change their parameters freely, but do not put other modules
    in their places; build another network instead.
    """

    def __init__(self, network: Network, modules: Mapping[str, nn.Module], input_names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.input_names = input_names
        self._plans: dict[str, Plan] = {}
        plan = self._make_plan(network.output.name, modules)
        self._output_plan = plan
        self._chain = plan.chain
        # Last, and entered directly: attributes are set and add_module works only where no module has the name, but
        # "type" or "half" are fine names for a layer.
        self._modules.update(modules)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """(rows, outputs), before softmax or sigmoid. ``inputs``: a tensor (rows, *shape), or one for each input name.

        ``InvalidParameter`` when an input is missing, or a lone tensor is given to a network with several inputs.
        """
        if self._chain is not None and isinstance(inputs, torch.Tensor):
            value = inputs
            for module in self._chain:
                value = module(value)
            return value
        return self._output_plan.run(self._tensors(self._output_plan, inputs))

    def without_hooks(self) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        """``forward`` for one row at a time, on its inputs by name: a chain of layers runs without looking for torch's
        hooks, which takes longer than the layers of a small network. Put no hooks into a module that is used so.
        """
        if self._chain is None:
            return self.forward
        (name,) = self._output_plan.inputs
        forwards = tuple(module.forward for module in self._chain)

        def chained(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            value = inputs[name]
            for forward in forwards:
                value = forward(value)
            return value

        return chained

    def activations(self, inputs: Inputs, layer: str) -> torch.Tensor:
        """The output of the layer of that name, (rows, *its shape); layers that it does not depend on do not run."""
        plan = self._plan(layer)
        return plan.run(self._tensors(plan, inputs))

    def embedding_layer(self) -> str:
        """The layer whose output stands for a row by default: what the last layer with parameters reads.

        A network with one such layer has nothing before it; then it is that layer itself.
        """
        for layer in reversed(self.network.layers):
            module = self._modules[layer.name]
            if module is not None and next(module.parameters(), None) is not None:
                return layer.inputs[0] if layer.inputs[0] in self.network else layer.name
        return self.network.output.name

    def _plan(self, layer: str) -> Plan:
        if layer not in self._plans:
            modules = {name: module for name, module in self._modules.items() if module is not None}
            return self._make_plan(self.network.layer(layer).name, modules)
        return self._plans[layer]

    def _make_plan(self, layer: str, modules: Mapping[str, nn.Module]) -> Plan:
        self._plans[layer] = Plan(self.network, modules, self.input_names, layer)
        return self._plans[layer]

    def _tensors(self, plan: Plan, inputs: Inputs) -> list[torch.Tensor]:
        if isinstance(inputs, torch.Tensor):
            if len(self.input_names) != 1:
                raise InvalidParameter(
                    f"the network has {len(self.input_names)} inputs, but one tensor was given",
                    detail=f"Its inputs are {', '.join(self.input_names)}.",
                )
            return [inputs]
        missing = [name for name in plan.inputs if name not in inputs]
        if missing:
            raise InvalidParameter(
                f'the input "{missing[0]}" of the network is missing',
                detail=f"Given are {', '.join(inputs) or 'none'}.",
            )
        return [inputs[name] for name in plan.inputs]
