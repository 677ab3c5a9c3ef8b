"""Getting snapshots back from the archive, by one of the three retrieval schemes of the planner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, cast, get_args

from delc.archive.planning import Scheme
from delc.models import parameters, reading
from delc.models.parameters import Parameter
from delc.models.stored_tensors import StoredTensor
from delc.server import interrupts, queries
from delc.server.errors import InvalidParameter, unknown

Row = dict[str, Any]


def checkout(model: str | None, planes: int | None, retrieval: str | None) -> Iterator[Row]:
    """The rows that ``delc.checkout`` returns for one snapshot."""
    yield from _rows([model], planes, retrieval)


def checkout_several(models: Sequence[str | None] | None, planes: int | None, retrieval: str | None) -> Iterator[Row]:
    """The same for several snapshots, with the name by which each was asked for."""
    if any(isinstance(model, list) for model in models or []):
        raise InvalidParameter("models is an array of several dimensions", detail="It is a list of names.")
    yield from _rows(list(dict.fromkeys(models or [])), planes, retrieval)


def _rows(models: Sequence[str | None], planes: int | None, retrieval: str | None) -> Iterator[Row]:
    scheme = _scheme(retrieval)
    if planes is not None and planes < 1:
        raise InvalidParameter(f"planes is {planes}", detail="It is at least 1: the most significant byte.")
    found = [(model, parameter) for model in models for parameter in parameters.find(_snapshot(model))]
    if scheme == "reusable":
        yield from _reusable(found, planes)
        return
    numbers = parameters.read_chunks([parameter for _, parameter in found], planes, together=scheme == "parallel")
    for model, parameter in found:
        for place in range(len(parameter.chunks)):
            yield _row(model, parameter, place, next(numbers))


def _reusable(found: Sequence[tuple[str | None, Parameter]], planes: int | None) -> Iterator[Row]:
    """What several chunks are made from is decoded once."""
    roles: dict[int, list[tuple[str | None, Parameter, int]]] = defaultdict(list)
    wanted: dict[int, StoredTensor] = {}
    for model, parameter in found:
        for place, chunk in enumerate(parameter.chunks):
            wanted[chunk.id] = chunk
            roles[chunk.id].append((model, parameter, place))
    try:
        for stored, numbers in reading.read_shared(list(wanted.values()), planes):
            for model, parameter, place in roles[stored.id]:
                interrupts.check()
                yield _row(model, parameter, place, numbers)
    except reading.DamagedTensor as error:
        raise parameters.name_damage([parameter for _, parameter in found], error) from None


def _row(model: str | None, parameter: Parameter, place: int, numbers: Any) -> Row:
    return {
        "model": model,
        "name": parameter.name,
        "chunk": place,
        "shape": list(parameter.shape),
        "learnable": parameter.is_learnable,
        "value": numbers,
    }


def _snapshot(model: str | None) -> int:
    found: int = queries.value("SELECT delc.find_snapshot($1)", queries.typed(model, "text"))
    return found


def _scheme(retrieval: str | None) -> Scheme:
    if retrieval not in get_args(Scheme):
        raise unknown("retrieval scheme", str(retrieval), get_args(Scheme), kind=InvalidParameter)
    return cast(Scheme, retrieval)
