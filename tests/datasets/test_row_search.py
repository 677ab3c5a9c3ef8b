"""Finding the version that has a state of a row takes few questions, and gives what asking all would give."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delc.datasets.row_search import Member, State, find_held


def history(parents: Sequence[tuple[int, ...]]) -> list[Member]:
    """Versions 1, 2, … with these parents."""
    lineages: dict[int, int] = {}
    members = []
    for number, own in enumerate(parents, 1):
        lineages[number] = 1 << number
        for parent in own:
            lineages[number] |= lineages[parent]
        members.append(Member(number, number, "", None, "", "", None, own, (), lineages[number]))
    return members


def line(length: int) -> list[Member]:
    return history([(), *((number,) for number in range(1, length))])


class Row:
    """The states of a row: when each was added, and which versions left it out."""

    def __init__(self, *states: tuple[int, set[int]]) -> None:
        self.states = [State(i, added_by, "train", "{}") for i, (added_by, _) in enumerate(states)]
        self.left_out = [left_out for _, left_out in states]
        self.questions = 0

    def ask(self, member: Member) -> State | None:
        self.questions += 1
        return self.state_in(member)

    def state_in(self, member: Member) -> State | None:
        for state, left_out in zip(self.states, self.left_out, strict=True):
            if member.comes_from(state.added_by) and not any(member.comes_from(number) for number in left_out):
                return state
        return None


@pytest.mark.parametrize(
    ("row", "questions"),
    [
        (Row((1, set())), 1),
        (Row((900, set())), 1),
        (Row((1, {500}), (500, set())), 2),
        (Row((1, {100}), (100, {400}), (400, {999}), (999, set())), 4),
        (Row((1, {500})), 20),
        (Row((1, {2})), 20),
        (Row(), 0),
    ],
)
def test_a_line_of_a_thousand_versions_takes_few_questions(row: Row, questions: int) -> None:
    members = line(1000)
    assert find_held(members, row.states, row.ask) == {member.number: row.state_in(member) for member in members}
    assert row.questions <= questions


@st.composite
def rows_in_histories(draw: st.DrawFn) -> tuple[list[Member], Row]:
    """A history with branches and merges, in which a version replaces the state that its parents have, or leaves it
    out.
    """
    parents: list[tuple[int, ...]] = [()]
    for number in range(2, draw(st.integers(2, 14))):
        earlier = st.integers(1, number - 1)
        parents.append(tuple(dict.fromkeys(draw(st.lists(earlier, min_size=1, max_size=2)))))
    members = history(parents)
    row = Row()
    for member in members:
        change = draw(st.sampled_from(["keep", "keep", "keep", "replace", "remove"]))
        while len(before := [state for state in row.states if row_has(row, state, member)]) > 1:
            row.left_out[before[-1].row].add(member.number)  # a merge keeps one
        if change != "keep":
            for state in before:
                row.left_out[state.row].add(member.number)
        if change == "replace":
            row.states.append(State(len(row.states), member.number, "train", "{}"))
            row.left_out.append(set())
    return members, row


def row_has(row: Row, state: State, member: Member) -> bool:
    return member.comes_from(state.added_by) and not any(member.comes_from(n) for n in row.left_out[state.row])


@given(rows_in_histories())
def test_the_answer_is_that_of_asking_all(case: tuple[list[Member], Row]) -> None:
    members, row = case
    assert find_held(members, row.states, row.ask) == {member.number: row.state_in(member) for member in members}
    assert row.questions <= len(members)
