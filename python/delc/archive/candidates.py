"""Which tensors might be stored as differences from which: pairs that lineage or likeness suggests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from delc.archive.scope import Scope, Tensor

Pair = tuple[int, int]
"""Ids of two tensors, the smaller first."""

MOST_RELATIVES = 3
"""How many versions made from the same one a version is compared with, beside the one itself."""

MOST_ALIKE = 2
"""How many tensors that are alike by their sketches each is compared with."""

LEAST_LIKENESS = 0.25
"""Share of a sketch in which two tensors agree that makes them worth comparing; unrelated weights agree in less."""


def by_lineage(scope: Scope, parents: Iterable[tuple[int, int]]) -> set[Pair]:
    """The same parameter in neighbouring snapshots of a version, in a version and what it was made from, and in
    versions that were made from the same one. ``parents`` gives pairs (base, derived) of ids of snapshots.
    """
    parameters = _parameters({**scope.outside, **scope.tensors})
    versions: dict[int, list[int]] = defaultdict(list)
    for snapshot in scope.snapshots:
        versions[snapshot.version_id].append(snapshot.id)
    neighbours = [pair for own in versions.values() for pair in pairwise(own)]
    families: dict[int, list[int]] = defaultdict(list)
    for base, derived in parents:
        neighbours.append((base, derived))
        families[base].append(derived)
    for siblings in families.values():
        for place, one in enumerate(siblings):
            neighbours += [(other, one) for other in siblings[max(0, place - MOST_RELATIVES) : place]]
    return {pair for a, b in neighbours for pair in _same_parameters(parameters[a], parameters[b])}


def identical(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Groups of tensors that seem to be the same, by what the catalog knows: shape, dtype and checksum."""
    groups: dict[tuple[object, ...], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.dtype, tensor.shape, tensor.checksum].append(tensor)
    yield from (group for group in groups.values() if len(group) > 1)


def by_likeness(ids: Sequence[int], sketches: npt.NDArray[np.generic]) -> set[Pair]:
    """For each tensor those whose sketches agree with its own in most places.

    ``sketches``: (tensors, places), the leading bits of the numbers at the same places of each; all tensors have one
    shape and dtype.
    """
    pairs: set[Pair] = set()
    for place in range(1, len(ids)):
        likeness = np.mean(sketches[:place] == sketches[place], axis=1)
        for other in np.argsort(-likeness, kind="stable")[:MOST_ALIKE]:
            if likeness[other] >= LEAST_LIKENESS:
                pairs.add(_pair(ids[int(other)], ids[place]))
    return pairs


def _parameters(tensors: Mapping[int, Tensor]) -> dict[int, dict[tuple[str, int], Tensor]]:
    """The tensors of every snapshot by the parameter and chunk that they are."""
    found: dict[int, dict[tuple[str, int], Tensor]] = defaultdict(dict)
    for tensor in tensors.values():
        for role in tensor.roles:
            found[role.snapshot_id][role.name, role.chunk] = tensor
    return found


def _same_parameters(a: Mapping[tuple[str, int], Tensor], b: Mapping[tuple[str, int], Tensor]) -> Iterator[Pair]:
    """A layer that grew keeps its name: shapes may differ, but not dtypes."""
    for key, tensor in b.items():
        other = a.get(key)
        if other is None or other.id == tensor.id or other.dtype != tensor.dtype:
            continue
        if len(other.shape) == len(tensor.shape) and other.elements and tensor.elements:
            yield _pair(other.id, tensor.id)


def _pair(a: int, b: int) -> Pair:
    return min(a, b), max(a, b)
