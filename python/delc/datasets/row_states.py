"""What the versions of a data set hold under one key: every stored state of a row, and which version has which.

The rows are found by key in one pass over all that is stored; some versions' own queries then say which has which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from delc.datasets import names, row_keys, versions
from delc.datasets.comparing import jsonb_object, split_name
from delc.datasets.reading import StoredRows, reading_query
from delc.datasets.row_keys import RowKey
from delc.datasets.row_search import Member, State, find_held
from delc.datasets.versions import DatasetVersion
from delc.server import interrupts, queries


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
    states = {state.row: state for state in _states(version, sought, asked)}
    held = find_held(asked, list(states.values()), lambda member: _held(version.dataset_id, member, states))
    return RowStates(version.name, members, held)


def history(dataset_id: int) -> dict[int, Member]:
    """All versions of a data set by number, in order; a version comes after those that it was made from."""
    with queries.as_owner():
        found = queries.rows(_HISTORY, dataset_id)
    members: dict[int, Member] = {}
    for row in found:
        lineage = 1 << row["number"]
        for number in row["absorbed"]:
            lineage |= 1 << number
        for parent in row["parents"]:
            lineage |= members[parent].lineage
        parents, branches, absorbed = (tuple(row.pop(name)) for name in ("parents", "branches", "absorbed"))
        member = Member(**row, parents=parents, branches=branches, absorbed=absorbed, lineage=lineage)
        members[member.number] = member
    return members


def _states(version: DatasetVersion, key: RowKey, members: Sequence[Member]) -> Iterator[State]:
    """All rows with the key that one of these versions added."""
    takers = {number: member.number for member in members for number in (member.number, *member.absorbed)}
    everything = StoredRows(version.dataset_id, list(takers), has_removals=False)
    columns = version.stored_columns(version.key_columns)
    text = reading_query(everything, columns, bookkeeping=["delc_row", "delc_version"], ordered=False)
    having_key = f"SELECT r.delc_row, r.delc_version FROM ({text}) AS r, {key.relation} WHERE {key.matches('r')}"
    found = queries.rows(having_key)
    for number in sorted({takers[row["delc_version"]] for row in found}):
        added_by = versions.find(names.VersionName(version.name, number))
        rows = [row["delc_row"] for row in found if takers[row["delc_version"]] == number]
        for row in queries.rows(_images(added_by, rows)):
            yield State(row["delc_row"], number, row["split"], row["state"])


def _images(version: DatasetVersion, rows: Sequence[int]) -> str:
    """SQL for the number, split and values of rows of a version."""
    values = jsonb_object([(name, f"r.{queries.quote_identifier(name)}") for name in version.column_names])
    return (
        f"SELECT r.delc_row, {split_name('r.delc_split')} AS split, {values} AS state"
        f" FROM ({version.rows_query()}) AS r WHERE {_is_one_of(rows)}"
    )


def _held(dataset_id: int, member: Member, states: Mapping[int, State]) -> State | None:
    """The state that a version has."""
    interrupts.check()
    numbers = [number for number in range(1, member.number + 1) if member.comes_from(number)]
    stored = StoredRows(dataset_id, numbers, has_removals=True)
    text = reading_query(stored, [], bookkeeping=["delc_row"], ordered=False)
    row = queries.value(f"SELECT r.delc_row FROM ({text}) AS r WHERE {_is_one_of(list(states))}")
    return None if row is None else states[row]


def _is_one_of(rows: Sequence[int]) -> str:
    return f"r.delc_row IN ({', '.join(map(str, rows))})"


_HISTORY = """
    SELECT version.id, version.number, version.kind, version.message, version.created_by,
           version.created_at::text AS created_at, version.run_id, version.absorbed,
           ARRAY(SELECT base.number FROM delc.dataset_version_parents AS parent
                 JOIN delc.dataset_versions AS base ON base.id = parent.parent_id
                 WHERE parent.version_id = version.id AND base.dataset_id = version.dataset_id
                 ORDER BY parent.position) AS parents,
           ARRAY(SELECT ref.name FROM delc.dataset_refs AS ref
                 WHERE ref.version_id = version.id AND ref.kind = 'branch' ORDER BY ref.name) AS branches
    FROM delc.dataset_versions AS version
    WHERE version.dataset_id = $1 ORDER BY version.number
"""
