"""Messages between a session and its workers."""

from __future__ import annotations

import torch

from delc.dql import messages


def test_tensors_of_a_message_that_comes_during_a_validation_can_be_trained() -> None:
    head = messages.HEAD.size
    packed = messages.pack({"sort": "outcome"}, {"weight": torch.ones(3)})
    text, _ = messages.size_of(packed[:head])
    with torch.inference_mode():
        document, tensors = messages.unpack(packed[head : head + text], packed[head + text :])
    assert document == {"sort": "outcome"}
    assert torch.nn.Parameter(tensors["weight"]).requires_grad
    assert not tensors["weight"].is_inference()
