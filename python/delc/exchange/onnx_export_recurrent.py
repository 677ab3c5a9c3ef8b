"""Recurrent layers as ONNX: one operator for each stacked layer, time first, with the gates in ONNX's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from delc.exchange.onnx_graph import Convert, Graph
from delc.networks import Layer

ORDER: dict[str, Sequence[int]] = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Which of torch's gates each of ONNX's is: torch has r z n and i f g o, ONNX z r h and i o f c."""

OPERATORS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def _recurrent(graph: Graph, layer: Layer) -> None:
    arguments, name = layer.arguments, layer.name
    last_only = arguments["output"] == "last"
    lengths = _lengths(graph, layer) if arguments["padding_index"] is not None else ""
    steps = graph.add(layer, "Transpose", [layer.inputs[0]], f"{name}/steps", perm=[1, 0, 2])
    for number in range(arguments["num_layers"]):
        top = number == arguments["num_layers"] - 1
        outputs = [f"{name}/y{number}"] if not (top and last_only) else ["", f"{name}/h{number}"]
        inputs = [steps, *_weights(graph, layer, number), lengths]
        while not inputs[-1]:
            inputs.pop()
        graph.several(layer, OPERATORS[layer.kind], inputs, outputs, **_attributes(layer))
        if top and last_only:
            _last(graph, layer, outputs[1])
            return
        steps = _side_by_side(graph, layer, outputs[0], f"{name}/steps{number}")
    graph.add(layer, "Transpose", [steps], perm=[1, 0, 2])


def _directions(layer: Layer) -> int:
    return 2 if layer.arguments["bidirectional"] else 1


def _attributes(layer: Layer) -> dict[str, object]:
    directions = _directions(layer)
    found: dict[str, object] = {
        "hidden_size": layer.arguments["hidden_size"],
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    if layer.kind == "gru":
        found["linear_before_reset"] = 1
    if layer.kind == "rnn":
        activation = {"tanh": "Tanh", "relu": "Relu"}[layer.arguments["nonlinearity"]]
        found["activations"] = [activation] * directions
    return found


def _weights(graph: Graph, layer: Layer, number: int) -> list[str]:
    """W, R and B of a stacked layer: (directions, gates · hidden, features), and the two biases side by side."""
    suffixes = [f"_l{number}", f"_l{number}_reverse"][: _directions(layer)]

    def stacked(what: str) -> torch.Tensor:
        return torch.stack([_in_order(graph.state(layer, what + suffix), layer) for suffix in suffixes])

    parts = {"W": "weight_ih", "R": "weight_hh"}
    found = [graph.tensor(layer, f"{name}{number}", stacked(parameter)) for name, parameter in parts.items()]
    if not layer.arguments["bias"]:
        return [*found, ""]
    return [*found, graph.tensor(layer, f"B{number}", torch.cat([stacked("bias_ih"), stacked("bias_hh")], 1))]


def _in_order(parameter: torch.Tensor, layer: Layer) -> torch.Tensor:
    gates = parameter.reshape(len(ORDER[layer.kind]), layer.arguments["hidden_size"], *parameter.shape[1:])
    return gates[list(ORDER[layer.kind])].reshape(parameter.shape)


def _side_by_side(graph: Graph, layer: Layer, y: str, output: str) -> str:
    """(length, directions, rows, hidden) → (length, rows, directions · hidden)."""
    features = _directions(layer) * layer.arguments["hidden_size"]
    turned = graph.add(layer, "Transpose", [y], f"{output}/turned", perm=[0, 2, 1, 3])
    return graph.reshape(layer, turned, [0, 0, features], output)


def _last(graph: Graph, layer: Layer, hidden: str) -> None:
    """(directions, rows, hidden) → (rows, directions · hidden)."""
    turned = graph.add(layer, "Transpose", [hidden], f"{layer.name}/turned", perm=[1, 0, 2])
    graph.reshape(layer, turned, [0, _directions(layer) * layer.arguments["hidden_size"]], layer.name)


def _lengths(graph: Graph, layer: Layer) -> str:
    """Up to which position each row has tokens that are not padding, at least 1."""
    name, tokens = layer.name, layer.inputs[1]
    positions = np.arange(1, graph.shape(tokens)[0] + 1, dtype=np.int64)
    padding = graph.constant(layer, "padding", np.int64(layer.arguments["padding_index"]))
    one, axes = graph.constant(layer, "least", np.int64(1)), graph.constant(layer, "axes", np.array([1]))
    empty = graph.add(layer, "Equal", [tokens, padding], f"{name}/empty")
    there = graph.add(layer, "Not", [empty], f"{name}/there")
    number = graph.add(layer, "Cast", [there], f"{name}/number", to=graph.types.INT64)
    place = graph.add(layer, "Mul", [number, graph.constant(layer, "positions", positions)], f"{name}/place")
    last = graph.add(layer, "ReduceMax", [place, axes], f"{name}/last", keepdims=0)
    some = graph.add(layer, "Max", [last, one], f"{name}/some")
    return graph.add(layer, "Cast", [some], f"{name}/lengths", to=graph.types.INT32)


CONVERTERS: dict[str, Convert] = dict.fromkeys(ORDER, _recurrent)
"""How the recurrent kinds are written."""
