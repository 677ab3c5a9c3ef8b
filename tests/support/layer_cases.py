"""Uses of every kind of layer, beyond the manual's examples, and networks around one."""

from __future__ import annotations

from typing import Any

from delc.networks.kinds import KINDS, Example, Value

IMAGE = Value((3, 8, 8))

FURTHER = [
    ("conv2d", Example({"out_channels": 4, "kernel_size": 3, "padding": "same", "groups": 2}, (Value((4, 6, 6)),))),
    ("conv2d", Example({"out_channels": 4, "kernel_size": 2, "stride": 2, "dilation": 2}, (Value((3, 8, 8)),))),
    ("conv2d", Example({"out_channels": 2, "kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (IMAGE,))),
    ("conv_transpose2d", Example({"out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1}, (IMAGE,))),
    ("max_pool2d", Example({"kernel_size": 3, "stride": 2, "padding": 1}, (Value((3, 8, 8)),))),
    ("max_pool2d", Example({"kernel_size": 2, "stride": 3, "dilation": 2, "ceil_mode": True}, (Value((3, 9, 9)),))),
    ("avg_pool2d", Example({"kernel_size": 3, "padding": 1, "ceil_mode": True}, (Value((3, 8, 8)),))),
    ("gelu", Example({"approximate": "tanh"})),
    ("softplus", Example({"beta": 2.0, "threshold": 3.0})),
    ("elu", Example({"alpha": 0.5})),
    ("leaky_relu", Example({"negative_slope": -0.5})),
    ("hardtanh", Example({"min_val": -0.1, "max_val": 0.2})),
    ("add", Example({"constant": 0.1})),
    ("add", Example({}, (Value((16,)), Value((16,)), Value((16,))))),
    ("multiply", Example({"constant": -1.7})),
    ("multiply", Example({}, (Value((16,)), Value((16,)), Value((16,))))),
    ("divide", Example({"constant": 0.3})),
    ("subtract", Example({"constant": 0.3})),
    ("batch_norm1d", Example({}, (Value((16,)),))),
    ("layer_norm", Example({"normalized_shape": [6, 16]}, (Value((6, 16)),))),
    ("multihead_attention", Example({"num_heads": 2, "causal": True}, (Value((12, 8)),))),
    ("multihead_attention", Example({"num_heads": 2}, (Value((6, 8)), Value((5, 4)), Value((5, 6))))),
    ("multihead_attention", Example({"num_heads": 2, "padding_index": 0}, (Value((12, 8)), Value((12,), "int64", 3)))),
    ("transformer_encoder_layer", Example({"nhead": 2, "norm_first": True, "activation": "gelu"}, (Value((6, 8)),))),
    ("transformer_encoder_layer", Example({"nhead": 2, "padding_index": 0}, (Value((6, 8)), Value((6,), "int64", 3)))),
    ("positional_encoding", Example({"method": "sinusoidal"}, (Value((12, 8)),))),
    ("normalize", Example({"p": 1.0, "dim": 1}, (IMAGE,))),
    ("local_response_norm", Example({"size": 4, "alpha": 0.5, "beta": 2.0, "k": 0.1}, (Value((6, 5)),))),
    ("pad", Example({"pad": [1, 2], "value": 0.1}, (Value((3, 4)),))),
    ("pad", Example({"pad": [1, 2], "mode": "replicate"}, (Value((3, 4)),))),
    *(("upsample", Example({"scale_factor": factor}, (Value((2, 3)),))) for factor in (3, 5, 41, 47, 55, 61)),
    ("upsample", Example({"scale_factor": 41}, (Value((2, 3, 2)),))),
    ("rnn", Example({"hidden_size": 8, "nonlinearity": "relu"}, (Value((5, 4)),))),
    ("gru", Example({"hidden_size": 8, "num_layers": 2, "bidirectional": True}, (Value((5, 4)),))),
    ("lstm", Example({"hidden_size": 8, "output": "last", "padding_index": 0, "bidirectional": True},
                     (Value((6, 4)), Value((6,), "int64", 3)))),
    ("gru", Example({"hidden_size": 8, "padding_index": 0}, (Value((6, 4)), Value((6,), "int64", 3)))),
]  # fmt: skip

CASES = [(name, kind.example) for name, kind in KINDS.items()] + FURTHER


def around_the_layer(kind: str, example: Example) -> list[dict[str, Any]]:
    """The layer behind one that makes its numbers uncertain, where it takes numbers."""
    layers: list[dict[str, Any]] = []
    names = ["input"] if len(example.inputs) == 1 else list("abcd"[: len(example.inputs)])
    sources = []
    for name, value in zip(names, example.inputs, strict=True):
        if value.dtype == "int64" or not value.shape:
            sources.append(name)
            continue
        layers.append(
            {
                "kind": "linear",
                "name": f"{name}_mixed",
                "inputs": [name],
                "arguments": {"out_features": value.shape[-1]},
            }
        )
        sources.append(f"{name}_mixed")
    layers.append({"kind": kind, "name": "tested", "inputs": sources, "arguments": dict(example.arguments)})
    return layers
