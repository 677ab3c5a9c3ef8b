"""A cancel is noticed inside a batch, between its layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from delc.training.polling import OPERATIONS_WITHOUT_POLLING, polling_between_layers


class Cancelled(Exception):
    """What a cancel looks like here."""


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def test_every_layer_is_followed_by_a_poll_forward_and_backward() -> None:
    module, polls = network(), []
    with polling_between_layers(module, OPERATIONS_WITHOUT_POLLING, lambda: polls.append(None)):
        output = module(torch.ones(3, 4))
        assert len(polls) == 3
        output.sum().backward()
    assert len(polls) == 6


def test_a_cancel_leaves_the_backward_pass() -> None:
    module, polls = network(), []

    def check() -> None:
        polls.append(None)
        if len(polls) == 5:
            raise Cancelled

    with polling_between_layers(module, OPERATIONS_WITHOUT_POLLING, check):
        output = module(torch.ones(3, 4))
        with pytest.raises(Cancelled):
            output.sum().backward()


def test_gradients_are_the_same_with_and_without_polls() -> None:
    plain, polled = network(), network()
    polled.load_state_dict(plain.state_dict())
    plain(torch.ones(3, 4)).sum().backward()
    with polling_between_layers(polled, OPERATIONS_WITHOUT_POLLING, lambda: None):
        polled(torch.ones(3, 4)).sum().backward()
    for one, other in zip(plain.parameters(), polled.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_small_batches_are_left_alone_and_nothing_stays_behind() -> None:
    module, polls = network(), []
    with polling_between_layers(module, 1000, lambda: polls.append(None)):
        module(torch.ones(3, 4))
    with polling_between_layers(module, OPERATIONS_WITHOUT_POLLING, lambda: polls.append(None)):
        pass
    module(torch.ones(3, 4))
    assert polls == []
