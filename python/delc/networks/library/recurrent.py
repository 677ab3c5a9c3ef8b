"""Recurrent layers. They read (length, features) and give every step's output or only the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from delc.networks.arguments import INFERRED, Argument, Boolean, Choice, Integer, Real
from delc.networks.kinds import (
    FLOAT,
    TOKENS,
    Arguments,
    Cost,
    Example,
    Kind,
    Mismatch,
    Value,
    infer,
    need_dtype,
    need_rank,
    register,
    with_parameters,
)

CHAPTER = "Recurrent layers"

MOST_STACKED = 100
GATES = {"rnn": 1, "gru": 3, "lstm": 4}

PADDING_INDEX = Argument(
    "padding_index",
    Integer(least=0),
    "the token that fills up short sequences; with it the layer takes the tokens as a last input more, and leaves "
    "such positions out",
    None,
)


def split_tokens(arguments: Arguments, inputs: Sequence[Value]) -> list[Value]:
    """The inputs without the tokens, which a layer with a padding_index takes as its last one; they are checked."""
    if arguments["padding_index"] is None:
        for value in inputs:
            need_dtype(value, FLOAT)
        return list(inputs)
    *sequences, tokens = inputs
    if not sequences:
        raise Mismatch("the tokens as a last input more, because padding_index is given")
    for value in sequences:
        need_dtype(value, FLOAT)
    need_dtype(tokens, TOKENS)
    return sequences


def need_same_length(sequence: Value, tokens: Value) -> None:
    if tokens.shape != sequence.shape[:1]:
        raise Mismatch(f"one token for each of the {sequence.shape[0]} positions")


def recurrent_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    sequence, *others = split_tokens(arguments, inputs)
    if others:
        raise Mismatch("one sequence", "A second input is for tokens: give padding_index too.")
    need_rank(sequence, ("length", "features"))
    if arguments["padding_index"] is not None:
        need_same_length(sequence, inputs[1])
    if arguments["dropout"] and arguments["num_layers"] == 1:
        raise Mismatch(
            "a dropout of 0, because num_layers is 1: dropout lies between stacked layers",
            "Add a dropout layer after it instead.",
        )
    infer(arguments, "input_size", sequence.shape[1], "a number of features of")
    features = arguments["hidden_size"] * (2 if arguments["bidirectional"] else 1)
    return Value((sequence.shape[0], features) if arguments["output"] == "sequence" else (features,))


def recurrent_cost(gates: int) -> Callable[[Arguments, Sequence[Value], Value], Cost]:
    """Each gate multiplies the input and the hidden state at every step, in each direction of each stacked layer."""

    def cost(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
        hidden, length = arguments["hidden_size"], inputs[0].shape[0]
        directions = 2 if arguments["bidirectional"] else 1
        flops, arriving = 0, arguments["input_size"]
        for _ in range(arguments["num_layers"]):
            flops += 2 * length * directions * gates * hidden * (arriving + hidden)
            arriving = directions * hidden
        return Cost(flops, working=length * directions * arguments["num_layers"] * (gates + 1) * hidden)

    return cost


def _outputs(
    run: Callable[[Any], tuple[Any, Any]],
    sequence: torch.Tensor,
    tokens: torch.Tensor | None,
    last_only: bool,
    padding_index: int | None,
) -> torch.Tensor:
    """The output of every step (rows, length, features), or of the last one in each direction (rows, features)."""
    if tokens is None:
        steps, state = run(sequence)
    else:
        lengths = row_lengths(tokens, cast(int, padding_index))
        packed, state = run(pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False))
        steps = None
        if not last_only:
            steps, _ = pad_packed_sequence(packed, batch_first=True, total_length=sequence.shape[1])
    if not last_only:
        return cast(torch.Tensor, steps)
    hidden = state[0] if isinstance(state, tuple) else state
    return cast(torch.Tensor, hidden)


def row_lengths(tokens: torch.Tensor, padding_index: int) -> torch.Tensor:
    """Up to which position each row has tokens that are not padding; at least 1, as torch packs no empty sequences."""
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return (positions * (tokens != padding_index)).amax(1).clamp(min=1).cpu()


def _last(hidden: torch.Tensor, directions: int) -> torch.Tensor:
    """The final hidden states of the topmost layer, directions side by side."""
    return hidden[-1] if directions == 1 else torch.cat([hidden[-2], hidden[-1]], dim=1)


class _Recurrent(nn.Module):
    """What the three recurrent modules have in common: one tensor out instead of torch's output and state."""

    def choose(self, output: str, padding_index: int | None) -> None:
        self.last_only = output == "last"
        self.padding_index = padding_index

    def steps_or_last(
        self, run: Callable[[Any], tuple[Any, Any]], sequence: torch.Tensor, tokens: torch.Tensor | None
    ) -> torch.Tensor:
        result = _outputs(run, sequence, tokens, self.last_only, self.padding_index)
        return _last(result, 2 if self.bidirectional else 1) if self.last_only else result


class RNN(_Recurrent, nn.RNN):
    """torch's RNN with rows first that gives one tensor."""

    def __init__(self, *, output: str, padding_index: int | None, **arguments: Any) -> None:
        nn.RNN.__init__(self, batch_first=True, **arguments)
        self.choose(output, padding_index)

    def forward(self, sequence: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        return self.steps_or_last(super().forward, sequence, tokens)


class GRU(_Recurrent, nn.GRU):
    """torch's GRU with rows first that gives one tensor."""

    def __init__(self, *, output: str, padding_index: int | None, **arguments: Any) -> None:
        nn.GRU.__init__(self, batch_first=True, **arguments)
        self.choose(output, padding_index)

    def forward(self, sequence: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        return self.steps_or_last(super().forward, sequence, tokens)


class LSTM(_Recurrent, nn.LSTM):
    """torch's LSTM with rows first that gives one tensor."""

    def __init__(self, *, output: str, padding_index: int | None, **arguments: Any) -> None:
        nn.LSTM.__init__(self, batch_first=True, **arguments)
        self.choose(output, padding_index)

    def forward(self, sequence: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        return self.steps_or_last(super().forward, sequence, tokens)


def _recurrent(name: str, text: str, module: Callable[..., nn.Module], *others: Argument) -> Kind:
    return Kind(
        name=name,
        chapter=CHAPTER,
        text=text,
        arguments=(
            Argument("input_size", Integer(), "features of each step that arrives", INFERRED),
            Argument("hidden_size", Integer(), "features of the hidden state"),
            Argument("num_layers", Integer(1, MOST_STACKED), "how many are stacked", 1),
            *others,
            Argument("bias", Boolean(), "learn additive biases", True),
            Argument("dropout", Real(least=0, below=1), "dropout between stacked layers", 0.0),
            Argument("bidirectional", Boolean(), "read in both directions; doubles the features", False),
            Argument("output", Choice(("sequence", "last")), "every step's output, or the last's only", "sequence"),
            PADDING_INDEX,
        ),
        rule=recurrent_rule,
        make=with_parameters(module),
        most=2,
        cost=recurrent_cost(GATES[name]),
        example=Example({"hidden_size": 8, "output": "last"}, (Value((12, 4)),)),
    )


register(
    _recurrent(
        "rnn",
        "Elman's recurrent layer over (length, features).",
        RNN,
        Argument("nonlinearity", Choice(("tanh", "relu")), "activation of the hidden state", "tanh"),
    ),
    _recurrent("gru", "Gated recurrent units over (length, features).", GRU),
    _recurrent("lstm", "Long short-term memory over (length, features).", LSTM),
)
