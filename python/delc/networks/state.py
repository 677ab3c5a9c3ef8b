"""Putting parameters into a module, with errors that name every one that does not belong."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from delc.server.errors import InvalidParameter, nearest

MOST_LISTED = 8


def load_state(module: nn.Module, state: Mapping[str, torch.Tensor], *, copy: bool = True) -> None:
    """Set all parameters and buffers of the module from ``state``, whose names are those of ``module.state_dict()``.

    ``copy`` False makes the module use the tensors themselves (converted only where their dtype differs): they must
    not be changed afterwards, and need not be allocated before. ``InvalidParameter`` for names that are missing or not
    expected, and for other shapes; the module is then as it was.
    """
    expected = module.state_dict()
    _check_names(expected, state)
    _check_shapes(expected, state)
    converted = {name: state[name].to(tensor.dtype) for name, tensor in expected.items()}
    module.load_state_dict(converted, strict=True, assign=not copy)


def _check_names(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    missing = [name for name in expected if name not in state]
    surplus = [name for name in state if name not in expected]
    if missing:
        match = nearest(missing[0], surplus)
        raise InvalidParameter(
            f"parameters of the network are missing: {_listed(missing)}",
            detail=f"Given but not expected: {_listed(surplus)}." if surplus else None,
            hint=f'Is "{match}" what the network calls "{missing[0]}"?' if match else None,
        )
    if surplus:
        raise InvalidParameter(
            f"parameters are not in the network: {_listed(surplus)}", detail=f"It has: {_listed(list(expected))}."
        )


def _check_shapes(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in expected.items():
        if tuple(state[name].shape) != tuple(tensor.shape):
            raise InvalidParameter(
                f'parameter "{name}" has the shape {tuple(state[name].shape)}',
                detail=f"The network expects {tuple(tensor.shape)}.",
            )


def _listed(names: list[str]) -> str:
    left = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {left} more" if left > 0 else "")
