"""Dropping versions that nobody needs, and the rows that only they had.

A version with one child goes into it: what it added and left out counts as the child's from then on, whose content
stays as it is. The stored rows keep its number, which the child remembers (``absorbed``), so that only rows which no
version has any more are touched. A version without children goes with its rows. One that several versions were made
from stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from delc.datasets import catalog, comparing, names, store, versions
from delc.server import foreign_keys, progress, queries
from delc.server.errors import DependentObjects, InvalidParameter

IN_USE = "versions were not dropped: another transaction has used one of them meanwhile"


@dataclass
class _History:
    """The versions of a data set by number: parents in order, and why each has to stay (nothing: it may go)."""

    parents: dict[int, list[int]]
    reasons: dict[int, list[str]]
    absorbed: dict[int, list[int]]
    into: dict[int, int | None] = field(default_factory=dict)
    """What becomes of each version that goes: the child that takes its rows, or None."""

    def children(self, number: int) -> list[int]:
        return [child for child, parents in self.parents.items() if number in parents]

    def drop(self, number: int) -> None:
        """Takes a version with at most one child out of the history."""
        children = self.children(number)
        child = children[0] if children else None
        own = self.parents.pop(number)
        if child is not None:
            spliced = [p for parent in self.parents[child] for p in (own if parent == number else [parent])]
            self.parents[child] = list(dict.fromkeys(spliced))
        self.into = {gone: child if into == number else into for gone, into in self.into.items()}
        self.into[number] = child
        if child is not None:
            self.absorbed[child] = sorted({number, *self.absorbed[number], *self.absorbed[child]})

    @property
    def takers(self) -> set[int]:
        """The versions that others went into."""
        return {child for child in self.into.values() if child is not None}

    @property
    def numbers_gone(self) -> list[int]:
        """The numbers whose rows belong to no version any more."""
        gone = [number for number, child in self.into.items() if child is None]
        return sorted({number for version in gone for number in (version, *self.absorbed[version])})


def drop_version(text: str) -> int:
    """Drops one version; the number of rows that went with it."""
    parsed = names.parse(text)
    dataset = catalog.lock_dataset(parsed.dataset)
    catalog.require_ownership(dataset, "drop versions of", or_admin=True)
    version = versions.find(parsed)
    history = _read(dataset.id)
    reasons = history.reasons[version.number]
    children = history.children(version.number)
    if len(children) > 1:
        reasons = [*reasons, f"versions {', '.join(str(child) for child in children)} were made from it"]
    if len(history.parents) == 1:
        raise DependentObjects(
            f'"{version.title}" cannot be dropped: it is the only version',
            hint=f"Drop the data set: SELECT delc.drop_dataset({queries.quote_literal(dataset.name)}).",
        )
    if reasons:
        raise DependentObjects(
            f'"{version.title}" cannot be dropped',
            detail=f"Because of: {'; '.join(reasons)}.",
            hint="Drop what depends on it first: delc.drop_dataset_ref(), delc.drop_model(). Branch main stays.",
        )
    history.drop(version.number)
    return _apply(dataset, history)


def prune(name: str, keep_last: int | None, keep_tagged: bool | None, dry_run: bool | None) -> list[dict[str, Any]]:
    """Drops versions that nothing depends on but the newest ``keep_last`` of each branch; what became of each."""
    if keep_last is None or keep_last < 1:
        raise InvalidParameter(f"keep_last is {keep_last}", detail="It is at least 1: heads of branches stay.")
    dataset = catalog.lock_dataset(names.parse_dataset(name, "Prune all branches of"))
    catalog.require_ownership(dataset, "prune", or_admin=True)
    history = _read(dataset.id, with_tags=keep_tagged is not False)
    for number, branch in _newest(dataset.id, history, keep_last):
        history.reasons[number].append(f"one of the last {keep_last} of branch {branch}")
    before = sorted(history.parents)
    for number in reversed(before):
        if history.reasons[number]:
            continue
        children = history.children(number)
        if len(children) > 1:
            history.reasons[number].append(f"versions {', '.join(str(c) for c in children)} were made from it")
        else:
            history.drop(number)
    if history.into and not dry_run:
        rows = _apply(dataset, history)
        progress.notice(
            f"{rows} rows went; later versions use their space again, or SELECT delc.compact_dataset("
            f"{queries.quote_literal(dataset.name)}) gives it back to the operating system"
        )
    return [
        {
            "dataset": f"{dataset.name}@{number}",
            "dropped": number in history.into,
            "reason": "; ".join(history.reasons[number]) or None,
        }
        for number in before
    ]


def _read(dataset_id: int, *, with_tags: bool = True) -> _History:
    with queries.as_owner():
        found = queries.rows(_VERSIONS, dataset_id)
        reasons = queries.rows(_REASONS, dataset_id)
    by_number: dict[int, list[str]] = {row["number"]: [] for row in found}
    for row in reasons:
        if with_tags or row["what"] != "tag":
            by_number[row["number"]].append(f"{row['what']} {row['name']}")
    return _History(
        {row["number"]: list(row["parents"]) for row in found},
        by_number,
        {row["number"]: list(row["absorbed"]) for row in found},
    )


def compact(name: str) -> int:
    """Gives the space of rows that went back; how many bytes."""
    dataset = catalog.lock_dataset(names.parse_dataset(name, "Compact all versions of"))
    catalog.require_ownership(dataset, "compact", or_admin=True)
    before = store.size(dataset.id)
    store.compact(dataset.id)
    return before - store.size(dataset.id)


def _newest(dataset_id: int, history: _History, keep_last: int) -> Iterable[tuple[int, str]]:
    """The newest versions of each branch, along first parents."""
    with queries.as_owner():
        heads = queries.rows(_HEADS, dataset_id)
    for head in heads:
        number: int | None = head["number"]
        for _ in range(keep_last):
            if number is None:
                break
            yield number, head["name"]
            number = next(iter(history.parents[number]), None)


def _apply(dataset: catalog.Dataset, history: _History) -> int:
    """Changes the catalog and deletes the rows that no version has any more; how many."""
    progress.report("deleting rows")
    takers = {number: taker for taker in history.takers for number in (taker, *history.absorbed[taker])}
    rows = store.delete_dead(dataset.id, history.numbers_gone, takers)
    catalog.touch(dataset.id)
    _delete_versions(dataset.id, history.into)
    with queries.as_owner():
        for number, parents in history.parents.items():
            queries.execute(
                _INSERT_PARENTS,
                dataset.id,
                queries.typed(number, "integer"),
                queries.typed(parents, "integer[]"),
            )
    progress.report("counting changes")
    for number in sorted(history.takers):
        _set_changes(dataset, number, history)
    return rows


def _set_changes(dataset: catalog.Dataset, number: int, history: _History) -> None:
    """Writes down what a version absorbed, and how many rows differ between it and the one before."""
    with queries.as_owner():
        queries.execute(
            "UPDATE delc.dataset_versions SET absorbed = $3 WHERE dataset_id = $1 AND number = $2",
            dataset.id,
            queries.typed(number, "integer"),
            queries.typed(history.absorbed[number], "integer[]"),
        )
    version = versions.find(names.VersionName(dataset.name, number))
    before = next(iter(history.parents[number]), None)
    added, removed = version.rows, 0
    if before is not None:
        parent = versions.find(names.VersionName(dataset.name, before))
        with queries.as_owner(), store.bulk_settings():
            counted = queries.rows(comparing.change_counts(parent, version))[0]
        added, removed = counted["added"], counted["removed"]
    with queries.as_owner():
        queries.execute(
            "UPDATE delc.dataset_versions SET added = $3, removed = $4 WHERE dataset_id = $1 AND number = $2",
            dataset.id,
            queries.typed(number, "integer"),
            added,
            removed,
        )


def _delete_versions(dataset_id: int, into: Mapping[int, int | None]) -> None:
    """Takes versions out of the catalog, with the edges of all versions, which are written anew."""
    with queries.as_owner(), foreign_keys.conflict(IN_USE, "Try again: what keeps them is then seen."):
        for statement in _DELETIONS:
            queries.execute(statement, dataset_id, queries.typed(list(into), "integer[]"))


_VERSIONS = """
    SELECT version.number, version.absorbed,
           ARRAY(SELECT base.number FROM delc.dataset_version_parents AS parent
                 JOIN delc.dataset_versions AS base ON base.id = parent.parent_id
                 WHERE parent.version_id = version.id ORDER BY parent.position) AS parents
    FROM delc.dataset_versions AS version WHERE version.dataset_id = $1
"""

_REASONS = """
    SELECT version.number, ref.kind AS what, ref.name
    FROM delc.dataset_refs AS ref JOIN delc.dataset_versions AS version ON version.id = ref.version_id
    WHERE ref.dataset_id = $1
    UNION
    SELECT version.number, 'model', model.name
    FROM delc.dataset_versions AS version
    JOIN delc.run_inputs AS input ON input.dataset_version_id = version.id
    JOIN delc.run_outputs AS output ON output.run_id = input.run_id
    JOIN delc.model_versions AS made ON made.id = output.model_version_id
    JOIN delc.models AS model ON model.id = made.model_id
    WHERE version.dataset_id = $1
    ORDER BY 1, 2, 3
"""

_HEADS = """
    SELECT version.number, ref.name FROM delc.dataset_refs AS ref
    JOIN delc.dataset_versions AS version ON version.id = ref.version_id
    WHERE ref.dataset_id = $1 AND ref.kind = 'branch'
"""

_DELETIONS = (
    """
    DELETE FROM delc.run_inputs AS input USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND version.number = ANY ($2) AND input.dataset_version_id = version.id
    """,
    """
    DELETE FROM delc.run_outputs AS output USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND version.number = ANY ($2) AND output.dataset_version_id = version.id
    """,
    """
    DELETE FROM delc.dataset_refs AS ref USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND version.number = ANY ($2) AND ref.version_id = version.id AND ref.kind = 'tag'
    """,
    """
    DELETE FROM delc.dataset_version_parents AS parent USING delc.dataset_versions AS version
    WHERE version.dataset_id = $1 AND parent.version_id = version.id AND $2 IS NOT NULL
    """,
    "DELETE FROM delc.dataset_versions WHERE dataset_id = $1 AND number = ANY ($2)",
)

_INSERT_PARENTS = """
    INSERT INTO delc.dataset_version_parents (version_id, parent_id, position)
    SELECT child.id, base.id, item.position
    FROM unnest($3) WITH ORDINALITY AS item(number, position)
    JOIN delc.dataset_versions AS base ON base.dataset_id = $1 AND base.number = item.number
    JOIN delc.dataset_versions AS child ON child.dataset_id = $1 AND child.number = $2
"""
