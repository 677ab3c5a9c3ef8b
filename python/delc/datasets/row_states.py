"""What the versions of a data set hold under one key: every stored state of a row, and which version has which.

The rows are found by key in one pass over all that is stored; a version's own query then says which of them it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from delc.datasets import names, row_keys, versions
from delc.datasets.comparing import jsonb_object, split_name
from delc.datasets.reading import StoredRows, reading_query
from delc.datasets.row_keys import RowKey
from delc.datasets.versions import DatasetVersion
from delc.server import interrupts, queries

_VERSIONS_AT_ONCE = 50
"""So many versions are asked in one statement."""


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
    """A version in a data set's history. ``parents``: their numbers, in order. ``lineage``: its own number and those of
    all its ancestors, as the bits of an integer.
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

    def comes_from(self, number: int) -> bool:
        """Whether the version of that number is this one or an ancestor."""
        return bool(self.lineage >> number & 1)


@dataclass(frozen=True)
class RowStates:
    """The versions of a data set by number, and what each of those that were asked holds under the key: a state or
    nothing.
    """

    dataset: str
    members: Mapping[int, Member]
    held: Mapping[int, State | None]


def find(text: str | None, key: str | None) -> RowStates:
    """What all versions of a data set (``name``), or those that a version comes from (``name@3``), hold under a key.

    Errors: those of ``versions.resolve`` and ``row_keys.parse``.
    """
    version = versions.resolve(text)
    sought = row_keys.parse(version, key)
    members = history(version.dataset_id)
    is_bare = names.parse(text).is_bare
    asked = [member for member in members.values() if is_bare or members[version.number].comes_from(member.number)]
    states = {state.row: state for state in _states(version, sought, [member.number for member in asked])}
    held: dict[int, State | None] = {member.number: None for member in asked}
    for number, row in _held(version.dataset_id, asked, states.values()):
        held[number] = states[row]
    return RowStates(version.name, members, held)


def history(dataset_id: int) -> dict[int, Member]:
    """All versions of a data set by number, in order; a version comes after those that it was made from."""
    with queries.as_owner():
        found = queries.rows(_HISTORY, dataset_id)
    members: dict[int, Member] = {}
    for row in found:
        lineage = 1 << row["number"]
        for parent in row["parents"]:
            lineage |= members[parent].lineage
        parents, branches = tuple(row.pop("parents")), tuple(row.pop("branches"))
        members[row["number"]] = Member(**row, parents=parents, branches=branches, lineage=lineage)
    return members


def _states(version: DatasetVersion, key: RowKey, numbers: Sequence[int]) -> Iterator[State]:
    """All rows with the key that a version of these numbers added."""
    everything = StoredRows(version.dataset_id, numbers, has_removals=False)
    columns = version.stored_columns(version.key_columns)
    text = reading_query(everything, columns, bookkeeping=["delc_row", "delc_version"], ordered=False)
    having_key = f"SELECT r.delc_row, r.delc_version FROM ({text}) AS r, {key.relation} WHERE {key.matches('r')}"
    found = queries.rows(having_key)
    for number in sorted({row["delc_version"] for row in found}):
        added_by = versions.find(names.VersionName(version.name, number))
        rows = [row["delc_row"] for row in found if row["delc_version"] == number]
        for row in queries.rows(_images(added_by, rows)):
            yield State(row["delc_row"], number, row["split"], row["state"])


def _images(version: DatasetVersion, rows: Sequence[int]) -> str:
    """SQL for the number, split and values of rows of a version."""
    values = jsonb_object([(name, f"r.{queries.quote_identifier(name)}") for name in version.column_names])
    return (
        f"SELECT r.delc_row, {split_name('r.delc_split')} AS split, {values} AS state"
        f" FROM ({version.rows_query()}) AS r WHERE {_is_one_of(rows)}"
    )


def _held(dataset_id: int, members: Iterable[Member], states: Collection[State]) -> Iterator[tuple[int, int]]:
    """Which version (number) has which of the states (row)."""
    rows = [state.row for state in states]
    asked = [member for member in members if any(member.comes_from(state.added_by) for state in states)]
    for start in range(0, len(asked), _VERSIONS_AT_ONCE):
        interrupts.check()
        texts = []
        for member in asked[start : start + _VERSIONS_AT_ONCE]:
            numbers = [number for number in range(1, member.number + 1) if member.comes_from(number)]
            stored = StoredRows(dataset_id, numbers, has_removals=True)
            text = reading_query(stored, [], bookkeeping=["delc_row"], ordered=False)
            texts.append(f"SELECT {member.number} AS number, r.delc_row FROM ({text}) AS r WHERE {_is_one_of(rows)}")
        for found in queries.rows(" UNION ALL ".join(texts)):
            yield found["number"], found["delc_row"]


def _is_one_of(rows: Sequence[int]) -> str:
    return f"r.delc_row IN ({', '.join(map(str, rows))})"


_HISTORY = """
    SELECT version.id, version.number, version.kind, version.message, version.created_by,
           version.created_at::text AS created_at, version.run_id,
           ARRAY(SELECT base.number FROM delc.dataset_version_parents AS parent
                 JOIN delc.dataset_versions AS base ON base.id = parent.parent_id
                 WHERE parent.version_id = version.id ORDER BY parent.position) AS parents,
           ARRAY(SELECT ref.name FROM delc.dataset_refs AS ref
                 WHERE ref.version_id = version.id AND ref.kind = 'branch' ORDER BY ref.name) AS branches
    FROM delc.dataset_versions AS version
    WHERE version.dataset_id = $1 ORDER BY version.number
"""
