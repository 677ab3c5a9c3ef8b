"""Which version of a data set has which state of a row, by asking as few versions as may be.

To ask a version is to read it. But a state that was left out does not come back in later versions, so a version that
has a state answers for those before it, back to the one that added the state; and one that lacks it answers for those
after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """A stored state of a row: its number in the store, the version that added it, its split, and its values, a JSON
    object with the columns of that version.
    """

    row: int
    added_by: int
    split: str
    values: str


@dataclass(frozen=True)
class Member:
    """A version in a data set's history. ``parents``: their numbers, in order. ``absorbed``: those of dropped versions
    that went into it. ``lineage``: its own number, these, and those of all its ancestors, as the bits of an integer.
    """

    id: int
    number: int
    kind: str
    message: str | None
    created_by: str
    created_at: str
    run_id: int | None
    parents: tuple[int, ...]
    branches: tuple[str, ...]
    lineage: int
    absorbed: tuple[int, ...] = ()

    def comes_from(self, number: int) -> bool:
        """Whether the version of that number is this one or an ancestor."""
        return bool(self.lineage >> number & 1)


def find_held(
    members: Sequence[Member], states: Sequence[State], ask: Callable[[Member], State | None]
) -> dict[int, State | None]:
    """The state that each version has, or None, by number. ``members`` are in the order of their numbers; ``ask`` gives
    the one state that a version has.

    The newest version is asked first, and where it has none, one in the middle: a row that was never changed takes one
    question, one that was changed k times about k, one that was removed about as many as the logarithm of the versions.
    """
    held: dict[int, State | None] = {}
    gone = {state.row: 0 for state in states}  # versions that lack a state which they could have, as bits
    unknown, found = _split_known(members, held, states, gone), True
    while unknown:
        asked = unknown[-1 if found else len(unknown) // 2]
        answer = ask(asked)
        found = answer is not None
        for state in states:
            if state is not answer and asked.comes_from(state.added_by):
                gone[state.row] |= 1 << asked.number
        if answer is not None:
            before = (member for member in unknown if asked.comes_from(member.number))
            held |= {member.number: answer for member in before if member.comes_from(answer.added_by)}
        unknown = _split_known(unknown, held, states, gone)
    return {member.number: held[member.number] for member in members}


def _split_known(
    members: Sequence[Member], held: dict[int, State | None], states: Sequence[State], gone: dict[int, int]
) -> list[Member]:
    """Those versions of which nothing is known yet; those that can have no state are noted as such."""
    unknown = []
    for member in members:
        if member.number in held:
            continue
        if any(member.comes_from(state.added_by) and not member.lineage & gone[state.row] for state in states):
            unknown.append(member)
        else:
            held[member.number] = None
    return unknown
