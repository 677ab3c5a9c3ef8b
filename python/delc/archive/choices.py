"""The ways to store each tensor, with their costs: edges of the matrix storage graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from delc.archive import candidates, costs, samples
from delc.archive.candidates import Pair
from delc.archive.costs import Cost
from delc.archive.samples import Sample
from delc.archive.scope import Scope, Tensor
from delc.server import interrupts, progress

WORTH_A_CHANGE = 1.02
"""What is estimated must promise to be so much smaller than what is stored, so that archiving again changes little."""


WHOLE = ("dense", "fast")
"""The encodings of a whole tensor: the smallest, and the one that is quickest to read."""

COMPRESSED = frozenset({"dense", "halves"})
"""Those of which the smallest is one for each tensor: in planes of bytes, or of half bytes."""

HALVED = frozenset({"float32", "float16", "bfloat16"})
"""The dtypes of parameters that progressive reading reads in part."""

WORTH_FAST = 64 * 1024
"""Bytes of numbers from which the second one is thought of."""


@dataclass(frozen=True)
class Ways:
    """Which ways are asked for: the method of differences, and whether whole tensors are stored in half planes."""

    method: str
    halves: bool = False

    def whole(self, tensor: Tensor) -> tuple[str, ...]:
        """The encodings of this tensor if it is stored whole."""
        if self.halves and tensor.dtype in HALVED:
            return ("halves",)
        return WHOLE if costs.raw_bytes(tensor) >= WORTH_FAST else WHOLE[:1]


@dataclass(frozen=True)
class Choice:
    """One way to store a tensor: whole (``base`` None) or as the difference from another. ``encoding``: dense, fast or
    halves, or the method of the difference. ``is_present``: as it is stored now.
    """

    base: int | None
    target: int
    encoding: str
    cost: Cost
    is_present: bool = False


@dataclass
class Choices:
    """All ways that are worth a thought, for tensors of a scope."""

    found: list[Choice] = field(default_factory=list)
    _best: dict[tuple[int | None, int, str], int] = field(default_factory=dict)

    def add(self, choice: Choice) -> None:
        """Adds a way; of two that differ in cost alone the present one stays, otherwise the first."""
        key = choice.base, choice.target, choice.encoding
        place = self._best.get(key)
        if place is None:
            self._best[key] = len(self.found)
            self.found.append(choice)
        elif choice.is_present:
            self.found[place] = choice


def find(scope: Scope, parents: Iterable[tuple[int, int]], ways: Ways) -> Choices:
    """Measures, on samples, whole tensors and the differences that lineage and likeness suggest."""
    choices = Choices()
    everything = {**scope.outside, **scope.tensors}
    for tensor in scope.tensors.values():
        _add_present(choices, tensor, ways)
    pairs = candidates.by_lineage(scope, parents)
    same, grown = _by_shape(pairs, everything)
    groups = _groups(everything.values())
    for number, (group, members) in enumerate(groups.items()):
        progress.report("comparing tensors", batch=number, batches=len(groups))
        _measure_group(choices, scope, members, same.get(group, set()), ways)
    for a, b in grown:
        interrupts.check()
        for base, target in ((a, b), (b, a)):
            if target in scope.tensors:
                cost = costs.difference_in_full(everything[base], everything[target], ways.method)
                choices.add(Choice(base, target, ways.method, cost))
    return choices


def _add_present(choices: Choices, tensor: Tensor, ways: Ways) -> None:
    if tensor.encoding in ways.whole(tensor) or (tensor.base is not None and tensor.encoding == ways.method):
        cost = costs.of(tensor, tensor.encoding, tensor.stored_bytes)
        choices.add(Choice(tensor.base, tensor.id, tensor.encoding, cost, True))


def _measure_group(choices: Choices, scope: Scope, members: Sequence[Tensor], pairs: set[Pair], ways: Ways) -> None:
    """Measures tensors of one shape and dtype, of which samples are in memory meanwhile."""
    needed = {key for pair in pairs for key in pair} | {t.id for t in members if t.id in scope.tensors}
    elements = samples.elements_of(len(needed))
    taken: dict[int, Sample] = {}
    for tensor in members:
        if tensor.id in needed:
            interrupts.check()
            taken[tensor.id] = samples.take(tensor, elements)
    lonely = [key for key in taken if key in scope.tensors and not any(key in pair for pair in pairs)]
    for tensor in members:
        if tensor.id in scope.tensors:
            for encoding in ways.whole(tensor):
                cost = costs.whole(tensor, taken[tensor.id], encoding)
                choices.add(Choice(None, tensor.id, encoding, _estimated(cost)))
    by_id = {tensor.id: tensor for tensor in members}
    for a, b in sorted(pairs | _alike(taken, lonely)):
        interrupts.check()
        if taken[a].numbers.numel() == 0:
            continue
        cost = _estimated(costs.difference(taken[a], taken[b], by_id[b], ways.method))
        for base, target in ((a, b), (b, a)):
            if target in scope.tensors:
                choices.add(Choice(base, target, ways.method, cost))


def _estimated(cost: Cost) -> Cost:
    return Cost(cost.bytes * WORTH_A_CHANGE, cost.milliseconds)


def _alike(taken: Mapping[int, Sample], lonely: Sequence[int]) -> set[Pair]:
    """Pairs by likeness for tensors without relatives."""
    if not lonely or len(taken) < 2:
        return set()
    ids = list(taken)
    found = candidates.by_likeness(ids, np.stack([taken[key].sketch for key in ids]))
    alone = set(lonely)
    return {pair for pair in found if pair[0] in alone or pair[1] in alone}


def _groups(tensors: Iterable[Tensor]) -> dict[tuple[object, ...], list[Tensor]]:
    groups: dict[tuple[object, ...], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[_group(tensor)].append(tensor)
    return groups


def _group(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape


def _by_shape(
    pairs: Iterable[Pair], tensors: Mapping[int, Tensor]
) -> tuple[dict[tuple[object, ...], set[Pair]], list[Pair]]:
    """Pairs of one shape, by the group of both, and pairs of tensors of which one grew."""
    same: dict[tuple[object, ...], set[Pair]] = defaultdict(set)
    grown = []
    for pair in sorted(pairs):
        group, other = (_group(tensors[key]) for key in pair)
        if group == other:
            same[group].add(pair)
        else:
            grown.append(pair)
    return same, grown
