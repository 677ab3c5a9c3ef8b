"""Networks around every kind of layer, with weights, inputs, constants and running statistics of all sizes that float32
has: from denormal numbers to those whose squares, products and sums overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from delc.inference.progressive import decisions, methods
from delc.inference.progressive.methods import Method
from delc.inference.progressive.propagation import Boxed, forward
from delc.networks import BuiltNetwork
from delc.networks.arguments import NotAllowed, Real
from delc.networks.kinds import KINDS, Example
from support.layer_cases import CASES, around_the_layer
from support.progressive import boxed_network, boxes, network, random_inputs

EDGES = (1e-46, 1e-44, 1e-38, 1e-20, 1e-6, 1.0, 1e6, 1e9, 1e15, 1e18, 1e19, 3e19, 1e25, 1e30, 3e37, 3e38, 1e39)
"""Magnitudes at which something happens: constants that are 0 or infinite in float32, squares that overflow."""

NUMBERED = {"dropout", "init", "momentum"}
"""Arguments that prediction does not read."""

Inputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Extreme:
    """A network, rows for it, and how many leading bits of its parameters are known."""

    built: BuiltNetwork
    inputs: dict[str, torch.Tensor]
    bits: int
    kind: str

    def boxed(self) -> Boxed:
        """With its parameters in boxes."""
        return boxed_network(self.built, self.bits)


class Picker:
    """Random choices from a generator of torch's."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def of(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return choices[int(torch.randint(len(choices), (1,), generator=self.generator))]

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def magnitude(self, plain: float = 0.5) -> float:
        """1 with probability ``plain``, otherwise from 1e-46 to 1e30, often where squares overflow."""
        if self.uniform(0, 1) < plain:
            return 1.0
        return self.of([10 ** self.uniform(-46, 30), 10 ** self.uniform(18, 20), 10 ** self.uniform(-3, 3)])

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Normal numbers."""
        return torch.randn(tuple(shape), generator=self.generator)


def extreme(seed: int, rows: int = 16) -> Extreme:
    """The network of a seed: any use of any kind of layer, behind layers that make its inputs uncertain, and with a
    linear layer behind it in two of three cases.
    """
    pick = Picker(seed)
    kind, example = pick.of(CASES)
    example = Example(_with_edges(kind, example.arguments, pick), example.inputs)
    layers = around_the_layer(kind, example)
    if pick.of([True, True, False]):
        layers += [{"kind": "flatten"}, {"kind": "linear", "name": "last", "arguments": {"out_features": 3}}]
    built = network(layers, *example.inputs, seed=seed)
    eps = float(example.arguments.get("eps", 1e-5))
    for name, value in built.module.state_dict().items():
        if value.is_floating_point():
            value.copy_(_parameter(name, value.shape, eps, pick))
    inputs = random_inputs(built.resolved.inputs, rows, pick.generator, 1.0)
    sizes = torch.tensor([pick.magnitude(0.7) for _ in range(rows)])
    for name, numbers in inputs.items():
        if numbers.is_floating_point():
            inputs[name] = numbers * sizes.reshape(-1, *[1] * (numbers.dim() - 1))
    return Extreme(built, inputs, pick.of([12, 16, 20, 24, 32]), kind)


def _with_edges(kind: str, given: Mapping[str, Any], pick: Picker) -> dict[str, Any]:
    """The arguments, those that are real numbers at times at an edge."""
    found = dict(given)
    for argument in KINDS[kind].arguments:
        wanted = isinstance(argument.type, Real) and argument.name not in NUMBERED
        constant = argument.name == "constant" and "constant" not in given
        if not wanted or constant or (kind, argument.name) == ("normalize", "p") or pick.of([True, False]):
            continue
        try:
            found[argument.name] = argument.type.accept(pick.of([-1.0, 1.0]) * pick.of(EDGES) * pick.uniform(0.5, 1))
        except NotAllowed:
            continue
    if found.get("min_val", -1.0) >= found.get("max_val", 1.0):
        return dict(given)
    return found


def _parameter(name: str, shape: torch.Size, eps: float, pick: Picker) -> torch.Tensor:
    """Normal numbers of one size; variances positive, or a little above -eps."""
    if name.endswith("running_var") and pick.of([True, False]):
        return -eps + eps * 10 ** pick.uniform(-6, 0) * torch.rand(shape, generator=pick.generator)
    numbers = pick.normal(shape) * (pick.magnitude() / max(1, shape[-1] if len(shape) > 1 else 1) ** 0.5)
    return numbers.abs() if name.endswith("running_var") else numbers


def outside(case: Extreme) -> int:
    """How many rows have a number that float32 computes beyond bounds that say that they hold; -1 without bounds."""
    net = case.boxed()
    if net.missing is not None:
        return -1
    found = case.built.module(case.inputs).double().flatten(1)
    state = forward(net, case.inputs)
    low, high = state.output.bounds.low.flatten(1), state.output.bounds.high.flatten(1)
    held = ((low <= found) & (found <= high)).all(1)
    return int((state.alive & ~held).sum())


def wrongly_certified(case: Extreme, method: Method) -> tuple[int, int]:
    """(certified, wrong) labels of a network with several outputs; none where its outputs are no row of numbers."""
    net = case.boxed()
    if net.missing is not None or len(case.built.resolved.layers[-1].output_shape) != 1:
        return 0, 0
    full = case.built.module(case.inputs)
    middles = {name: box.centre for name, box in boxes(case.built.module.state_dict(), case.bits).items()}
    guess = torch.func.functional_call(case.built.module, middles, (case.inputs,))
    proven = methods.attempt(net, method, case.inputs, guess, decisions.order_decision(1)).evidence.proven
    return int(proven.sum()), int((guess[proven].argmax(1) != full[proven].argmax(1)).sum())


