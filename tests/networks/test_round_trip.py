"""A property of all networks: written as JSON and read back, they are the same."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from delc.networks import InputSpec, Network, build, network_from
from delc.server.errors import DelcError, LimitExceeded

WIDTH = 6
POINTWISE = ["relu", "tanh", "gelu", "layer_norm", "batch_norm1d", "dropout", "identity", "prelu", "softmax"]


@st.composite
def networks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Definitions of random graphs whose layers all are of one width, so that any may read any before it."""
    layers: list[dict[str, Any]] = []
    unread: set[str] = set()
    for number in range(draw(st.integers(1, 8))):
        name = f"layer{number}"
        known = ["input", *(layer["name"] for layer in layers)]
        kind = draw(st.sampled_from([*POINTWISE, "linear", "add", "multiply"]))
        count = draw(st.integers(2, 3)) if kind in ("add", "multiply") else 1
        inputs = [draw(st.sampled_from(known)) for _ in range(count)]
        arguments = {"out_features": WIDTH, "bias": draw(st.booleans())} if kind == "linear" else {}
        layers.append({"name": name, "kind": kind, "inputs": inputs, **arguments})
        unread = (unread - set(inputs)) | {name}
    layers.append({"name": "all", "kind": "concat", "inputs": sorted(unread)})
    layers.append({"kind": "linear"})
    return layers if not draw(st.booleans()) else draw(st.permutations(layers[:-1])) + [{**layers[-1], "inputs": "all"}]


@settings(max_examples=100, deadline=None)
@given(networks(), st.integers(0, 2**32))
def test_a_network_written_and_read_is_the_same(definition: list[dict[str, Any]], seed: int) -> None:
    inputs = {"input": InputSpec((WIDTH,))}
    first = build(Network.parse(definition), inputs, 3, seed)
    read = Network.parse(json.loads(json.dumps(first.network.to_json())))
    assert read == first.network
    second = build(read, inputs, 3, seed)
    assert second.network == first.network
    assert second.layers == first.layers
    states = first.module.state_dict(), second.module.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    rows = torch.randn(2, WIDTH)
    assert torch.equal(first.module.eval()(rows), second.module.eval()(rows))


def refuse_large(size: int, what: str) -> None:
    if size > 1_000_000:
        raise LimitExceeded(f"{what} take {size} bytes")


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.sampled_from(["linear", "relu", "input", "layers"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["kind", "name", "inputs", "arguments", "layers", "out_features"]) | st.text(),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_network_or_an_error_of_ours(value: Any) -> None:
    inputs = {"input": InputSpec((WIDTH,))}
    with contextlib.suppress(DelcError):
        build(network_from(value, inputs, 2), inputs, 2, require=refuse_large)
