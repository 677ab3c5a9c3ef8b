"""The operators RNN, GRU and LSTM as layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from delc.exchange.assembly import refuse
from delc.exchange.axes import Look, atoms
from delc.exchange.moved import Padding, View
from delc.exchange.moved_recurrent import Recurrence, sequence_of, states_of, steps_of
from delc.exchange.onnx_export_recurrent import OPERATORS, ORDER
from delc.exchange.onnx_moved import MovedOperators
from delc.exchange.onnx_operator import Operator
from delc.exchange.onnx_padding import PaddingOperators

KINDS = {operator: kind for kind, operator in OPERATORS.items()}
USUAL = {"rnn": ("Tanh",), "gru": ("Sigmoid", "Tanh"), "lstm": ("Sigmoid", "Tanh", "Tanh")}
"""The activations of one direction."""


def take(moves: MovedOperators, paddings: PaddingOperators, operator: Operator, read: Collection[str]) -> bool:
    """Whether it is such an operator. ``read``: the values that something reads."""
    kind = KINDS.get(operator.name)
    if kind is None:
        return False
    arguments, key = _arguments(moves, operator, kind), operator.inputs[1]
    outputs = [*operator.outputs, "", ""][:3]
    if outputs[2] in read:
        refuse("the cell states of an LSTM")
    view = moves.view(operator)
    if view is None:
        refuse(f"the operator {operator.name} without an input")
    path = moves.assembly.path(key)
    recurrence = Recurrence(
        kind, sequence_of(view, time_first=True), arguments, _parameters(moves, operator, kind, arguments),
        "" if "::" in path else path.rpartition(".")[0], operator.outputs[0] or operator.outputs[1],
        steps=outputs[0] in read, padding=_padding(paddings, operator),
    )  # fmt: skip
    steps = steps_of(recurrence, time_first=True)
    hidden, directions = int(arguments["hidden_size"]), recurrence.directions
    if outputs[0]:
        moves.moved.put(outputs[0], _by_directions(steps, directions, hidden))
    if outputs[1]:
        moves.moved.put(outputs[1], states_of(recurrence))
    return True


def _by_directions(steps: View, directions: int, hidden: int) -> View:
    """(length, directions, rows, hidden)."""
    length, rows, _ = steps.look.dims
    return View(steps.base, Look((length, atoms(2, hidden, directions), rows, atoms(2, 1, hidden))))


def _padding(paddings: PaddingOperators, operator: Operator) -> Padding | None:
    lengths = operator.optional(4)
    if lengths is None:
        return None
    found = paddings.lengths(lengths)
    if found is None:
        refuse(f"the operator {operator.name} with lengths of sequences other than those of tokens without padding")
    return found


def _arguments(moves: MovedOperators, operator: Operator, kind: str) -> dict[str, Any]:
    direction = operator.get("direction", "forward")
    directions = {"forward": 1, "bidirectional": 2}.get(direction, 0)
    usual = list(USUAL[kind]) * directions
    activations = [_text(each) for each in operator.get("activations") or usual]
    nonlinearity = _nonlinearity(activations) if kind == "rnn" else None
    others = operator.get("clip") is not None or operator.get("layout") or operator.get("input_forget")
    after = kind == "gru" and not operator.get("linear_before_reset")
    if not directions or others or after or not (activations == usual or nonlinearity) or operator.optional(7):
        refuse(
            f"the operator {operator.name} with direction {direction}, other activations than torch's, clip, layout,"
            " input_forget, peepholes, or without linear_before_reset"
        )
    for place in (5, 6):
        state = operator.optional(place)
        if state is not None and not moves.sizes.is_zero(state):
            refuse(f"the operator {operator.name} with an initial state other than zeros")
    weight = moves.assembly.parameter(operator.inputs[1], f"the operator {operator.name} with a weight")
    gates = len(ORDER[kind])
    found = {
        "input_size": weight.shape[2], "hidden_size": weight.shape[1] // gates, "num_layers": 1,
        "bidirectional": directions == 2, "bias": operator.optional(3) is not None,
    }  # fmt: skip
    return found | ({"nonlinearity": nonlinearity} if nonlinearity else {})


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _nonlinearity(activations: Sequence[str]) -> str | None:
    names = set(activations)
    return {"Tanh": "tanh", "Relu": "relu"}.get(names.pop()) if len(names) == 1 else None


def _parameters(
    moves: MovedOperators, operator: Operator, kind: str, arguments: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Torch's parameters: each direction's, with the gates in torch's order."""
    places = {"weight_ih": 1, "weight_hh": 2} | ({"bias": 3} if arguments["bias"] else {})
    state: dict[str, torch.Tensor] = {}
    for name, place in places.items():
        stacked = moves.assembly.parameter(operator.inputs[place], f"the operator {operator.name} with a {name}")
        for direction, suffix in enumerate(("_l0", "_l0_reverse")[: len(stacked)]):
            if name == "bias":
                first, second = stacked[direction].chunk(2)
                state[f"bias_ih{suffix}"] = _in_order(first, kind, arguments)
                state[f"bias_hh{suffix}"] = _in_order(second, kind, arguments)
            else:
                state[f"{name}{suffix}"] = _in_order(stacked[direction], kind, arguments)
    return state


def _in_order(parameter: torch.Tensor, kind: str, arguments: dict[str, Any]) -> torch.Tensor:
    order = ORDER[kind]
    gates = parameter.reshape(len(order), arguments["hidden_size"], *parameter.shape[1:])
    return gates[[order.index(gate) for gate in range(len(order))]].reshape(parameter.shape)
