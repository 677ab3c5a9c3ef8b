"""The operations lstm, gru, rnn_tanh and rnn_relu of a program as layers."""

from __future__ import annotations

from delc.exchange.assembly import refuse
from delc.exchange.moved_recurrent import Recurrence, sequence_of, states_of, steps_of
from delc.exchange.program_moved import MovedOperations
from delc.exchange.program_operations import Operation

_RECURRENT = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn"}


def take(moves: MovedOperations, operation: Operation) -> bool:
    """Whether it is such an operation: a layer with all that is stacked in it."""
    name = operation.target.partition(".")[0]
    if name not in _RECURRENT:
        return False
    kind, view, params = _RECURRENT[name], moves.view(operation), operation.get("params", [])
    states = operation.get("hx", [])
    states = [states] if isinstance(states, str) else states
    if not operation.target.endswith(".input") or operation.get("train") or view is None:
        refuse(f"the operation {operation.target} over packed sequences or in training mode; export model.eval()")
    if not all(moves.are_zeros(state) for state in states):
        refuse(f"the operation {operation.target} with an initial state other than zeros")
    outputs = [*operation.outputs, "", ""][:3]
    if outputs[2] and outputs[2] in moves.read:
        refuse("the cell states of an LSTM")
    layers, both, biased = (operation.get(each) for each in ("num_layers", "bidirectional", "has_biases"))
    suffixes = [f"_l{layer}{turn}" for layer in range(layers) for turn in (("", "_reverse") if both else ("",))]
    names = [f"{part}{suffix}" for suffix in suffixes for part in _PARTS[: 4 if biased else 2]]
    if len(names) != len(params):
        refuse(f"the operation {operation.target} with projections of its hidden states")
    parameters = {
        each: moves.assembly.parameter(key, "a recurrent layer with a weight")
        for each, key in zip(names, params, strict=True)
    }
    weight = parameters["weight_hh_l0"]
    arguments = {
        "input_size": parameters["weight_ih_l0"].shape[1], "hidden_size": weight.shape[1], "num_layers": layers,
        "bias": bool(biased), "bidirectional": bool(both),
        "dropout": operation.get("dropout", 0.0) if layers > 1 else 0.0,
    }  # fmt: skip
    if kind == "rnn":
        arguments["nonlinearity"] = name.removeprefix("rnn_")
    time_first = not operation.get("batch_first")
    path = moves.assembly.path(params[0]).rpartition(".")[0]
    recurrence = Recurrence(
        kind, sequence_of(view, time_first), arguments, parameters, path, operation.output, outputs[0] in moves.read
    )
    moves.moved.put(outputs[0], steps_of(recurrence, time_first))
    if outputs[1]:
        moves.moved.put(outputs[1], states_of(recurrence))
    return True


_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The order of torch's parameters, layer by layer and direction by direction."""
