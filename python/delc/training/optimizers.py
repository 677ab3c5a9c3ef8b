"""Optimisers by name, with their arguments, and parameter groups that set layers apart."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch.nn import Module, Parameter

from delc.server.errors import InvalidParameter, unknown
from delc.training.arguments import Argument, arguments, boolean, listing, mapping, number, optional, refuse

_BETA = number(low=0, below=1)
_BETAS = Argument(listing(_BETA, least=2, most=2), [0.9, 0.999])
_EPSILON = Argument(number(above=0), 1e-8)
_AMSGRAD = Argument(boolean, False)
_MOMENTUM = Argument(_BETA, 0.0)

# torch imports much when the first optimiser is made (75 MB, most of a second). It is better done here, where rooms are
# imported: before a call's memory is watched, and while signals are blocked for the threads that may start.
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def _layers(name: str, value: Any) -> dict[str, dict[str, float]]:
    """Settings of layers by name or pattern: {"conv*": {"learning_rate": 0.0001, "weight_decay": 0}}."""
    known = {
        "learning_rate": Argument(optional(number(above=0)), None),
        "weight_decay": Argument(optional(number(low=0)), None),
    }
    result = {}
    for pattern, given in mapping(name, value).items():
        settings = arguments(f'of layers "{pattern}"', mapping(f'{name} "{pattern}"', given), known)
        result[pattern] = {key: entry for key, entry in settings.items() if entry is not None}
    return result


_LAYERS = Argument(_layers, {})

OPTIMIZERS: dict[str, dict[str, Argument]] = {
    "sgd": {
        "momentum": _MOMENTUM,
        "dampening": Argument(number(low=0, high=1), 0.0),
        "nesterov": Argument(boolean, False),
    },
    "adam": {"betas": _BETAS, "eps": _EPSILON, "amsgrad": _AMSGRAD},
    "adamw": {"betas": _BETAS, "eps": _EPSILON, "amsgrad": _AMSGRAD},
    "nadam": {"betas": _BETAS, "eps": _EPSILON, "momentum_decay": Argument(number(low=0), 0.004)},
    "radam": {"betas": _BETAS, "eps": _EPSILON},
    "rmsprop": {
        "alpha": Argument(_BETA, 0.99),
        "eps": _EPSILON,
        "momentum": _MOMENTUM,
        "centered": Argument(boolean, False),
    },
    "adagrad": {
        "lr_decay": Argument(number(low=0), 0.0),
        "initial_accumulator_value": Argument(number(low=0), 0.0),
        "eps": Argument(number(above=0), 1e-10),
    },
}
"""Optimiser → its arguments, named and meant as in ``torch.optim``; every one takes "layers" besides."""

_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}

_FUSED = {"sgd", "adam", "adamw", "adagrad"}
"""Optimisers that torch has in one pass over all parameters; it takes a tenth off the time of a small network."""


def read_optimizer(name: Any, given: Any) -> tuple[str, dict[str, Any]]:
    """The optimiser's name and all its arguments, checked. ``given`` holds the arguments that the user set."""
    if not isinstance(name, str):
        raise refuse("optimizer", name, f"one of {', '.join(OPTIMIZERS)}")
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS, kind=InvalidParameter)
    known = {**OPTIMIZERS[name], "layers": _LAYERS}
    read = arguments(f'of optimizer "{name}"', mapping("optimizer_arguments", given or {}), known)
    if name == "sgd" and read["nesterov"] and (read["momentum"] == 0 or read["dampening"] != 0):
        raise InvalidParameter(
            f'nesterov of optimizer "sgd" is true, but momentum is {read["momentum"]:g} and dampening is '
            f"{read['dampening']:g}; it needs a momentum > 0 and no dampening"
        )
    return name, read


def build_optimizer(
    module: Module, name: str, given: Mapping[str, Any], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser over the module's parameters; ``given`` is what ``read_optimizer`` gave.

    Each group keeps its own learning rate as "base_learning_rate", which the schedule scales.
    Raises InvalidParameter where a pattern in "layers" names no layer, or two of them name the same one.
    """
    own = {key: value for key, value in given.items() if key != "layers"}
    if "betas" in own:
        own["betas"] = tuple(own["betas"])
    groups = _groups(module, given["layers"], learning_rate, weight_decay)
    if not groups:
        raise InvalidParameter("the network has no parameters, so there is nothing to train")
    if name in _FUSED and (name != "adagrad" or all(p.device.type == "cpu" for g in groups for p in g["params"])):
        own["fused"] = True
    factory: Any = _CLASSES[name]
    optimizer: torch.optim.Optimizer = factory(groups, lr=learning_rate, **own)
    for group in optimizer.param_groups:
        group["base_learning_rate"] = group["lr"]
    return optimizer


def _groups(
    module: Module, layers: Mapping[str, Mapping[str, float]], learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups for torch: the layers that no pattern names first, then one group per pattern."""
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    members: dict[str | None, list[Parameter]] = {}
    patterns = _pattern_of_layer({name.partition(".")[0] for name, _ in trained}, list(layers))
    for name, parameter in trained:
        members.setdefault(patterns[name.partition(".")[0]], []).append(parameter)
    groups = []
    for pattern in [None, *layers]:
        if pattern in members:
            settings = layers[pattern] if pattern is not None else {}
            groups.append(
                {
                    "params": members[pattern],
                    "lr": settings.get("learning_rate", learning_rate),
                    "weight_decay": settings.get("weight_decay", weight_decay),
                }
            )
    return groups


def _pattern_of_layer(names: set[str], patterns: list[str]) -> dict[str, str | None]:
    """The one pattern that holds for each layer. A layer's own name goes before patterns with wildcards."""
    result: dict[str, str | None] = {}
    for layer in names:
        matching = [layer] if layer in patterns else [pattern for pattern in patterns if fnmatchcase(layer, pattern)]
        if len(matching) > 1:
            raise InvalidParameter(
                f'layer "{layer}" is named by {len(matching)} patterns in "layers": ' + ", ".join(sorted(matching)),
                hint="Write patterns that do not overlap, or give the layer's own name, which goes before patterns.",
            )
        result[layer] = matching[0] if matching else None
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in names):
            raise unknown("layer", pattern, names, kind=InvalidParameter, where='in "layers" of optimizer_arguments')
    return result
