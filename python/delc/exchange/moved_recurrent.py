"""Recurrent layers of files: with time or rows first, of which the steps are read, or the last states, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.axes import Look, atoms, permuted, whole
from delc.exchange.moved import Base, Padding, View


@dataclass(eq=False)
class Recurrence:
    """A recurrent layer to be; ``steps``: whether anything reads its steps."""

    kind: str
    source: Base
    arguments: Mapping[str, Any]
    parameters: Mapping[str, torch.Tensor]
    path: str
    value: str
    steps: bool
    padding: Padding | None = None
    given: bool = field(default=False, init=False)

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.arguments["bidirectional"] else 1

    @property
    def features(self) -> int:
        """Of each step."""
        return self.directions * int(self.arguments["hidden_size"])

    def give(self, assembly: Assembly) -> str:
        """The layer's value: its steps where they are read, otherwise its last states."""
        name = f"{self.value}, read"
        if not self.given:
            self.given = True
            given = {**self.arguments, "output": "sequence" if self.steps else "last"}
            reads = [self.source.give(assembly)]
            if self.padding is not None:
                given["padding_index"] = self.padding.token
                reads.append(self.padding.tokens)
            assembly.add(name, self.kind, reads, given, self.parameters, path=self.path)
        return name


@dataclass(eq=False)
class Steps(Base):
    """What it gives at each step: (rows, length, directions · hidden)."""

    recurrence: Recurrence

    def __post_init__(self) -> None:
        self.shape = (self.recurrence.source.shape[0], self.recurrence.features)

    def give(self, assembly: Assembly) -> str:
        return self.recurrence.give(assembly)


@dataclass(eq=False)
class States(Base):
    """The last states of all stacked layers, side by side: (rows, layers · directions · hidden)."""

    recurrence: Recurrence

    def __post_init__(self) -> None:
        self.shape = (int(self.recurrence.arguments["num_layers"]) * self.recurrence.features,)

    def give(self, assembly: Assembly) -> str:
        found = self.part(assembly, 0, self.shape[0])
        return found if found is not None else refuse("the last states of stacked recurrent layers below the last")

    def part(self, assembly: Assembly, start: int, end: int) -> str | None:
        recurrence = self.recurrence
        begin = self.shape[0] - recurrence.features
        if start < begin:
            return None
        whole_part = (start, end) == (begin, self.shape[0])
        found = self._all(assembly)
        if whole_part:
            return found
        name = f"{recurrence.value}, {start} to {end}"
        if not assembly.is_computed(name):
            assembly.add(name, "slice", [found], {"dim": -1, "start": start - begin, "end": end - begin})
        return name

    def _all(self, assembly: Assembly) -> str:
        """The last states of the last layer, each direction's, which end at different ends of the sequence."""
        recurrence = self.recurrence
        given = recurrence.give(assembly)
        if not recurrence.steps:
            return given
        if recurrence.padding is not None:
            refuse("both steps and last states of a recurrent layer over sequences with padding")
        name = f"{recurrence.value}, last"
        if assembly.is_computed(name):
            return name
        if recurrence.directions == 1:
            assembly.add(name, "select", [given], {"dim": 1, "index": -1})
            return name
        hidden, halves = recurrence.features // 2, []
        for place, (index, start) in enumerate(((-1, 0), (0, hidden))):
            step, half = f"{name}, step {place}", f"{name}, half {place}"
            assembly.add(step, "select", [given], {"dim": 1, "index": index})
            assembly.add(half, "slice", [step], {"dim": -1, "start": start, "end": start + hidden})
            halves.append(half)
        assembly.add(name, "concat", halves, {"dim": -1})
        return name


@dataclass(eq=False)
class Stacked(Base):
    """The last states of recurrent layers that a file has one by one: (rows, layers · directions · hidden)."""

    parts: Sequence[States]

    def __post_init__(self) -> None:
        self.shape = (sum(part.shape[0] for part in self.parts),)

    def give(self, assembly: Assembly) -> str:
        refuse("the last states of several recurrent layers together")

    def part(self, assembly: Assembly, start: int, end: int) -> str | None:
        place = 0
        for states in self.parts:
            size = states.shape[0]
            if place <= start and end <= place + size:
                return states.part(assembly, start - place, end - place)
            place += size
        return None


def stacked(views: Sequence[View]) -> View | None:
    """(layers · directions, rows, hidden) of last states that are put together in the first dimension."""
    parts, hidden = [], set()
    for view in views:
        base = view.base
        if not isinstance(base, States) or view.look != states_of(base.recurrence).look:
            return None
        parts.append(base)
        hidden.add(int(base.recurrence.arguments["hidden_size"]))
    if len(hidden) != 1:
        return None
    return _by_layers(Stacked(parts), hidden.pop())


def _by_layers(base: Base, hidden: int) -> View:
    rows = whole(base.shape).dims[0]
    return View(base, Look((atoms(1, hidden, base.shape[0] // hidden), rows, atoms(1, 1, hidden))))


def sequence_of(view: View, time_first: bool) -> Base:
    """The base that a recurrent layer reads whole."""
    look = view.look if not time_first or len(view.look.dims) != 3 else permuted(view.look, [1, 0, 2])
    if len(view.base.shape) != 2 or look != whole(view.base.shape) or view.scale != 1.0:
        refuse("a recurrent layer that reads something else than a sequence of features in its order")
    return view.base


def steps_of(recurrence: Recurrence, time_first: bool) -> View:
    """(length, rows, directions · hidden), or rows first."""
    base = Steps(recurrence)
    look = whole(base.shape)
    return View(base, permuted(look, [1, 0, 2]) if time_first else look)


def states_of(recurrence: Recurrence) -> View:
    """(layers · directions, rows, hidden)."""
    return _by_layers(States(recurrence), int(recurrence.arguments["hidden_size"]))
