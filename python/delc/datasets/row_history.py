"""The history of one row: the versions that added, changed or removed it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from delc.datasets import row_states
from delc.datasets.row_search import Member, State
from delc.datasets.row_states import RowStates


def row_history(dataset: str | None, key: str | None) -> Iterator[dict[str, Any]]:
    """The rows that ``delc.row_history`` returns, oldest version first.

    A version is compared with the first that it was made from: a merge with the branch that it went into.
    """
    found = row_states.find(dataset, key)
    for number, after in found.held.items():
        member = found.members[number]
        before = found.held[member.parents[0]] if member.parents else None
        columns = _changed_columns(before, after) if before and after else None
        if before is after or columns == []:
            continue
        change = "added" if before is None else "removed" if after is None else "changed"
        yield _row(found, member, change, after, columns)


def _row(
    found: RowStates, member: Member, change: str, state: State | None, columns: list[str] | None
) -> dict[str, Any]:
    heads = [head for head in found.members.values() if head.branches and head.comes_from(member.number)]
    return {
        "version": f"{found.dataset}@{member.number}",
        "change": change,
        "split": state.split if state else None,
        "state": state.values if state else None,
        "columns": columns,
        "branches": sorted(name for head in heads for name in head.branches),
        "kind": member.kind,
        "message": member.message,
        "created_by": member.created_by,
        "created_at": member.created_at,
        "run_id": member.run_id,
    }


def _changed_columns(before: State, after: State) -> list[str]:
    """The columns that differ; those of one version only differ where they are not NULL."""
    old, new = (json.loads(state.values, parse_float=str) for state in (before, after))
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return changed + (["delc_split"] if before.split != after.split else [])
