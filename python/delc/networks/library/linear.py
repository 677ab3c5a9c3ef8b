"""Linear layers and embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from delc.networks.arguments import INFERRED, Argument, Boolean, Integer
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
    register,
    with_parameters,
)

CHAPTER = "Linear layers and embeddings"


def linear_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], FLOAT)
    shape = inputs[0].shape
    if not shape:
        raise Mismatch("(rows, in_features)", 'Add {"kind": "unsqueeze", "dim": 1} before it.')
    given = arguments["in_features"]
    if given is not None and given != shape[-1] and len(shape) > 1 and given == inputs[0].elements:
        raise Mismatch(f"(rows, {given}), because in_features is {given}", "Add a flatten layer before it.")
    infer(arguments, "in_features", shape[-1], "a last dimension of")
    return Value((*shape[:-1], arguments["out_features"]))


def linear_cost(arguments: Arguments, inputs: Sequence[Value], output: Value) -> Cost:
    return Cost(flops=2 * output.elements * int(arguments["in_features"]))


def embedding_rule(arguments: Arguments, inputs: Sequence[Value]) -> Value:
    need_dtype(inputs[0], TOKENS)
    codes = inputs[0].categories
    if arguments["num_embeddings"] is None and codes is None:
        raise Mismatch(
            "an input whose number of codes is known", "Give num_embeddings: codes run from 0 to that less 1."
        )
    if codes is not None and (arguments["num_embeddings"] or codes) < codes:
        raise Mismatch(
            f"codes below {arguments['num_embeddings']}, because num_embeddings is {arguments['num_embeddings']}, "
            f"but the input has {codes}",
            "Leave num_embeddings out: it is inferred.",
        )
    arguments["num_embeddings"] = arguments["num_embeddings"] or codes
    padding = arguments["padding_idx"]
    if padding is not None and padding >= arguments["num_embeddings"]:
        raise Mismatch(f"a padding_idx below num_embeddings, {arguments['num_embeddings']}, but it is {padding}")
    return Value((*inputs[0].shape, arguments["embedding_dim"]))


def make_embedding(arguments: Arguments, device: str) -> nn.Module:
    """An embedding. On the meta device its table is handed in: drawing it there would import torch's decompositions."""
    size = (arguments["num_embeddings"], arguments["embedding_dim"])
    table = torch.empty(size, device=device) if device == "meta" else None
    return nn.Embedding(*size, padding_idx=arguments["padding_idx"], _weight=table, device=device)


register(
    Kind(
        name="linear",
        chapter=CHAPTER,
        text="y = x Aᵀ + b over the last dimension.",
        arguments=(
            Argument("in_features", Integer(), "size of the last dimension that arrives", INFERRED),
            Argument(
                "out_features",
                Integer(),
                "size of the last dimension that it gives; left out of the last layer, it is the number of outputs",
            ),
            Argument("bias", Boolean(), "learn an additive bias", True),
        ),
        rule=linear_rule,
        make=with_parameters(nn.Linear),
        cost=linear_cost,
        example=Example({"out_features": 32}),
    ),
    Kind(
        name="embedding",
        chapter=CHAPTER,
        text="A learned vector for each token or code.",
        arguments=(
            Argument("num_embeddings", Integer(), "how many different codes there are", INFERRED),
            Argument("embedding_dim", Integer(), "length of the vectors"),
            Argument("padding_idx", Integer(least=0), "the code whose vector is zero and is not learned", None),
        ),
        rule=embedding_rule,
        make=make_embedding,
        example=Example({"embedding_dim": 8}, (Value((12,), TOKENS, 100),)),
    ),
)
