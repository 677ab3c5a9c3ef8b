"""Attention, transformer encoder layers, positions, and the mean over tokens that are not padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

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
    as_given,
    infer,
    need_dtype,
    need_rank,
    plain,
    register,
    with_parameters,
)
from delc.networks.library.recurrent import PADDING_INDEX, need_same_length, split_tokens

CHAPTER = "Attention and transformers"

SEQUENCE = ("length", "features")
CAUSAL = Argument("causal", Boolean(), "each position attends only to itself and those before it", False)
LONGEST_WAVE = 10_000.0
"""The longest wavelength of sinusoidal positions, over 2π (Vaswani et al. 2017, section 3.5)."""


def need_heads(arguments: Arguments, size: str, heads: str) -> None:
    if arguments[size] % arguments[heads]:
        raise Mismatch(f"features that the heads divide, but they are {arguments[size]} and {heads} {arguments[heads]}")


def attention_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    """One input attends to itself; two are query and memory; three are query, keys and values."""
    sequences = split_tokens(arguments, inputs)
    if len(sequences) > 3:
        raise Mismatch("at most three sequences: query, keys and values")
    for sequence in sequences:
        need_rank(sequence, SEQUENCE)
    query, key, value = sequences[0], sequences[min(1, len(sequences) - 1)], sequences[-1]
    if key.shape[0] != value.shape[0]:
        raise Mismatch("keys and values of the same length")
    if arguments["causal"] and query.shape[0] != key.shape[0]:
        raise Mismatch("query and keys of the same length, because causal is true")
    if arguments["padding_index"] is not None:
        need_same_length(key, inputs[-1])
    infer(arguments, "embed_dim", query.shape[1], "a number of features of")
    infer(arguments, "kdim", key.shape[1], "a number of key features of")
    infer(arguments, "vdim", value.shape[1], "a number of value features of")
    need_heads(arguments, "embed_dim", "num_heads")
    return Value(query.shape)


def attention_cost(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
    """The projections of query, keys and values, the scores, the weighted sum, and the projection of the result."""
    sequences = split_tokens(arguments, inputs)
    features, length = arguments["embed_dim"], output.shape[0]
    keys = sequences[min(1, len(sequences) - 1)].shape[0]
    projections = 2 * features * (2 * length * features + keys * (arguments["kdim"] + arguments["vdim"]))
    scores = 4 * length * keys * features
    return Cost(projections + scores, working=arguments["num_heads"] * length * keys + 4 * length * features)


def encoder_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    sequence, *others = split_tokens(arguments, inputs)
    if others:
        raise Mismatch("one sequence", "A second input is for tokens: give padding_index too.")
    need_rank(sequence, SEQUENCE)
    if arguments["padding_index"] is not None:
        need_same_length(sequence, inputs[1])
    infer(arguments, "d_model", sequence.shape[1], "a number of features of")
    need_heads(arguments, "d_model", "nhead")
    if arguments["dim_feedforward"] is None:
        arguments["dim_feedforward"] = 4 * arguments["d_model"]
    return Value(sequence.shape)


def encoder_cost(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
    length, features = output.shape
    inner = arguments["dim_feedforward"]
    flops = length * (8 * features * features + 4 * length * features + 4 * features * inner)
    return Cost(flops, working=length * (arguments["nhead"] * length + 6 * features + 2 * inner))


def positions_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    need_rank(inputs[0], SEQUENCE)
    length, features = inputs[0].shape
    infer(arguments, "features", features, "a number of features of")
    arguments["max_length"] = arguments["max_length"] or length
    if length > arguments["max_length"]:
        raise Mismatch(f"a length of at most max_length, {arguments['max_length']}")
    return Value(inputs[0].shape)


def masked_mean_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    sequence, tokens = inputs
    need_dtype(sequence, FLOAT)
    need_rank(sequence, SEQUENCE)
    need_dtype(tokens, TOKENS)
    need_same_length(sequence, tokens)
    return Value(sequence.shape[1:])


def padding_mask(tokens: torch.Tensor, padding_index: int) -> torch.Tensor:
    """True where a position is to be left out: (rows, length). The first never is: softmax over nothing is NaN."""
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    return (tokens == padding_index) & (positions > 0)


def causal_mask(length: int, device: torch.device) -> torch.Tensor:
    """True where a position must not look: (length, length), above the diagonal."""
    return torch.ones((length, length), dtype=torch.bool, device=device).triu(1)


class MultiheadAttention(nn.MultiheadAttention):
    """torch's attention with rows first, of one to three sequences, that gives one tensor."""

    def __init__(self, *, causal: bool, padding_index: int | None, **arguments: Any) -> None:
        super().__init__(batch_first=True, **arguments)
        self.causal = causal
        self.padding_index = padding_index

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        hidden = None
        sequences = inputs
        if self.padding_index is not None:
            hidden = padding_mask(inputs[-1], self.padding_index)
            sequences = inputs[:-1]
        query, key, value = sequences[0], sequences[min(1, len(sequences) - 1)], sequences[-1]
        mask = causal_mask(query.shape[1], query.device) if self.causal else None
        attended, _ = super().forward(query, key, value, key_padding_mask=hidden, attn_mask=mask, need_weights=False)
        return attended


class TransformerEncoderLayer(nn.TransformerEncoderLayer):
    """torch's encoder layer with rows first; with a padding_index it takes the tokens too."""

    def __init__(self, *, causal: bool, padding_index: int | None, **arguments: Any) -> None:
        super().__init__(batch_first=True, **arguments)
        self.causal = causal
        self.padding_index = padding_index

    def forward(self, sequence: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        hidden = None if tokens is None else padding_mask(tokens, cast(int, self.padding_index))
        mask = causal_mask(sequence.shape[1], sequence.device) if self.causal else None
        return super().forward(sequence, src_mask=mask, src_key_padding_mask=hidden)


def make_encoder(arguments: Arguments, device: str) -> nn.Module:
    return TransformerEncoderLayer(**as_given(arguments), device=device)


class LearnedPositions(nn.Module):
    """Adds a learned vector to each position. Parameter ``weight``: (max_length, features)."""

    def __init__(self, max_length: int, features: int, device: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty((max_length, features), device=device))
        if device != "meta":
            nn.init.normal_(self.weight, std=0.02)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        return sequence + self.weight[: sequence.shape[1]]


class SinusoidalPositions(nn.Module):
    """Adds sines and cosines of each position, after Vaswani et al. 2017, section 3.5. Nothing is learned or stored."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.table: torch.Tensor | None = None

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        length = sequence.shape[1]
        if self.table is None or len(self.table) < length or self.table.device != sequence.device:
            self.table = sinusoids(length, self.features).to(sequence.device)
        return sequence + self.table[:length].to(sequence.dtype)


def sinusoids(length: int, features: int) -> torch.Tensor:
    """(length, features): sines in even columns, cosines in odd ones, wavelengths in geometric progression."""
    exponents = torch.arange(0, features, 2, dtype=torch.float32) / features
    angles = torch.arange(length, dtype=torch.float32)[:, None] * torch.exp(-math.log(LONGEST_WAVE) * exponents)
    table = torch.zeros((length, features))
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles[:, : features // 2])
    return table


def make_positions(arguments: Arguments, device: str) -> nn.Module:
    if arguments["method"] == "learned":
        return LearnedPositions(arguments["max_length"], arguments["features"], device)
    return SinusoidalPositions(arguments["features"])


class MaskedMean(nn.Module):
    """The mean over the positions whose token is not padding: (rows, length, features) → (rows, features)."""

    def __init__(self, padding_index: int) -> None:
        super().__init__()
        self.padding_index = padding_index

    def forward(self, sequence: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        kept = (tokens != self.padding_index).unsqueeze(2).to(sequence.dtype)
        return (sequence * kept).sum(1) / kept.sum(1).clamp(min=1)


_TOKENS = Value((12,), TOKENS, 100)

register(
    Kind(
        name="multihead_attention",
        chapter=CHAPTER,
        text="Attention with several heads: one input attends to itself, two are query and memory, three are query, "
        "keys and values.",
        arguments=(
            Argument("embed_dim", Integer(), "features of the query", INFERRED),
            Argument("num_heads", Integer(most=1000), "heads; they divide the features"),
            Argument("dropout", Real(least=0, below=1), "dropout of the attention weights", 0.0),
            Argument("bias", Boolean(), "learn additive biases", True),
            Argument("kdim", Integer(), "features of the keys", INFERRED),
            Argument("vdim", Integer(), "features of the values", INFERRED),
            CAUSAL,
            PADDING_INDEX,
        ),
        rule=attention_rule,
        make=with_parameters(MultiheadAttention),
        most=4,
        cost=attention_cost,
        example=Example({"num_heads": 2}, (Value((12, 8)),)),
    ),
    Kind(
        name="transformer_encoder_layer",
        chapter=CHAPTER,
        text="Self-attention and a feed-forward part, each with a residual connection and layer norm.",
        arguments=(
            Argument("d_model", Integer(), "features that arrive", INFERRED),
            Argument("nhead", Integer(most=1000), "heads; they divide the features"),
            Argument("dim_feedforward", Integer(), "width of the feed-forward part; by default 4 d_model", INFERRED),
            Argument("dropout", Real(least=0, below=1), "dropout in both parts", 0.1),
            Argument("activation", Choice(("relu", "gelu")), "activation of the feed-forward part", "relu"),
            Argument("norm_first", Boolean(), "normalise before each part instead of after it", False),
            Argument("bias", Boolean(), "learn additive biases", True),
            CAUSAL,
            PADDING_INDEX,
        ),
        rule=encoder_rule,
        make=make_encoder,
        most=2,
        cost=encoder_cost,
        example=Example({"nhead": 2, "dim_feedforward": 16}, (Value((12, 8)),)),
    ),
    Kind(
        name="positional_encoding",
        chapter=CHAPTER,
        text="Adds to each position of (length, features) what tells it from the others.",
        arguments=(
            Argument("method", Choice(("sinusoidal", "learned")), "fixed waves, or a learned vector", "sinusoidal"),
            Argument("max_length", Integer(most=2**24), "how many positions there may be", INFERRED),
            Argument("features", Integer(), "features that arrive", INFERRED),
        ),
        rule=positions_rule,
        make=make_positions,
        example=Example({"method": "learned"}, (Value((12, 8)),)),
    ),
    Kind(
        name="masked_mean",
        chapter=CHAPTER,
        text="Mean of (length, features) over the positions whose token is not padding; reads the sequence and the "
        "tokens.",
        arguments=(Argument("padding_index", Integer(least=0), "the token that fills up short sequences", 0),),
        rule=masked_mean_rule,
        make=plain(MaskedMean),
        least=2,
        most=2,
        example=Example({}, (Value((12, 8)), _TOKENS)),
    ),
)
