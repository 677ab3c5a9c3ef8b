"""Optimisers: what reaches torch, and layers set apart."""

from __future__ import annotations

import pytest
import torch
from training.helpers import mlp

from delc.server.errors import InvalidParameter
from delc.training.optimizers import OPTIMIZERS, build_optimizer, read_optimizer


def built(name: str = "sgd", **arguments: object) -> torch.optim.Optimizer:
    module = mlp()
    return build_optimizer(module, *read_optimizer(name, arguments), learning_rate=0.1, weight_decay=0.01)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_defaults_are_torchs(name: str) -> None:
    plain = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nadam": "NAdam", "radam": "RAdam", "rmsprop": "RMSprop"}
    theirs = getattr(torch.optim, plain.get(name, "Adagrad"))(mlp().parameters(), lr=0.1, weight_decay=0.01)
    ours = built(name).param_groups[0]
    for key in theirs.param_groups[0]:
        if key not in ("params", "fused"):
            assert ours[key] == theirs.param_groups[0][key], key


def test_layers_are_set_apart_by_name_and_pattern() -> None:
    groups = built(layers={"fc1": {"learning_rate": 0.5}, "fc*": {"weight_decay": 0}}).param_groups
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (0.5, 0.01, 2),
        (0.1, 0.0, 2),
    ]


def test_layers_that_no_pattern_names_come_first() -> None:
    groups = built(layers={"fc2": {"learning_rate": 0.5}}).param_groups
    assert [group["base_learning_rate"] for group in groups] == [0.1, 0.5]


def test_a_pattern_without_a_layer_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match='unknown layer "fc3" in "layers" of optimizer_arguments') as caught:
        built(layers={"fc3": {"learning_rate": 0.5}})
    assert "fc1" in (caught.value.detail or "")


def test_patterns_that_overlap_are_an_error() -> None:
    with pytest.raises(InvalidParameter, match='layer "fc1" is named by 2 patterns in "layers": \\*1, fc\\*'):
        built(layers={"fc*": {"learning_rate": 0.5}, "*1": {"learning_rate": 0.2}})
