"""Weights that were made elsewhere become a version of a network that is known here."""

from __future__ import annotations

import torch

from delc.features import FittedFeatures
from delc.log.runs import Run
from delc.models import deriving, versions
from delc.models.parents import DERIVED, parent
from delc.networks import Network, restore
from delc.server import interrupts, queries
from delc.server.errors import DatatypeMismatch, InvalidData, InvalidParameter, UndefinedObject
from delc.server.memory import MemoryWatch

_TYPES = {"name": ("text", "character varying", "name"), "value": ("delc.tensor", "tensor")}


def commit(run: Run, model: str | None, base: str | None, query: str | None, message: str | None) -> str:
    """Makes the version with the network, features and target of ``base``; its name."""
    name = deriving.check_new_name(model, "commit_parameters")
    found = deriving.read_from(run, base)
    state = _read(query)
    specs = FittedFeatures.from_json(found.features).input_specs()
    built = restore(Network.parse(found.network), specs, state)
    expected = built.module.state_dict()
    for parameter, value in state.items():
        if value.is_floating_point() != expected[parameter].is_floating_point():
            raise DatatypeMismatch(
                f'parameter "{parameter}" is of type {str(value.dtype).removeprefix("torch.")}',
                detail=f"The network has {str(expected[parameter].dtype).removeprefix('torch.')}.",
            )
    version_id = versions.reserve_id()
    deriving.store_state(version_id, built, expected)
    return deriving.create(run, name, version_id, found, [parent(found, DERIVED, message)], message, options={})


def _read(query: str | None) -> dict[str, torch.Tensor]:
    """The parameters that the caller's query gives, read with the caller's rights."""
    if query is None:
        raise InvalidParameter("the query of parameters is NULL")
    columns = {column.name: column.type for column in queries.describe(query)}
    for column, types in _TYPES.items():
        if column not in columns:
            raise UndefinedObject(
                f'the query gives no column "{column}"', hint="It must give name text and value delc.tensor."
            )
        if columns[column] not in types:
            raise DatatypeMismatch(f'column "{column}" is of type {columns[column]}, not {types[0]}')
    watch = MemoryWatch.begin()
    state: dict[str, torch.Tensor] = {}
    for row in queries.stream(query):
        interrupts.check()
        watch.check()
        _add(state, row["name"], row["value"])
    return state


def _add(state: dict[str, torch.Tensor], name: str | None, value: object) -> None:
    if name is None or value is None:
        raise InvalidData(f"the query gives a parameter whose {'name' if name is None else 'value'} is NULL")
    if name in state:
        raise InvalidData(f'the query gives parameter "{name}" twice')
    tensor = torch.as_tensor(value)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise InvalidData(f'parameter "{name}" has a number that is not finite')
    state[name] = tensor
