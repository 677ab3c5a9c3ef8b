"""Three-way merge by key: what a branch has changed since the two histories parted comes into another.

A version's rows are those that an ancestor added and none removed, so a merge of two histories has the changes of both
by itself. What is stored with it is where that is not what is wanted: of rows that both sides changed, one is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from delc.datasets import catalog, checks, images, names, store, versions, writing
from delc.datasets.columns import SourceColumn
from delc.datasets.comparing import jsonb_object, split_name, stored_columns
from delc.datasets.delta import read_resolutions
from delc.datasets.difference import same_key
from delc.datasets.layout import part_name
from delc.datasets.reading import StoredRows, is_removed, reading_query, remove_rows
from delc.datasets.splits import SPLITS
from delc.datasets.versions import DatasetVersion
from delc.datasets.writing import Origin, Target
from delc.log.runs import Run
from delc.server import progress, queries
from delc.server.errors import InvalidParameter, WrongState

SIDES = ("ours", "theirs", "base")


@dataclass(frozen=True)
class _Merge:
    """The branch merged into (ours), the version merged (theirs), and the last version that both come from (base)."""

    ours: DatasetVersion
    theirs: DatasetVersion
    base: DatasetVersion
    columns: dict[str, SourceColumn]

    @property
    def keys(self) -> list[SourceColumn]:
        return [self.columns[name] for name in self.ours.key_columns]

    @property
    def union(self) -> StoredRows:
        """The rows of both histories together."""
        numbers = sorted({*self.ours.stored.numbers, *self.theirs.stored.numbers})
        return StoredRows(self.ours.dataset_id, numbers, has_removals=True)


def merge(
    run: Run, target: str, source: str, message: str | None, resolutions: str | None, prefer: str | None
) -> list[dict[str, Any]]:
    """Merges and gives one ``delc.dataset_merge`` row with the new version, or changes nothing and gives a row for
    each conflict that is not resolved.
    """
    if prefer is not None and prefer not in SIDES:
        raise InvalidParameter(f'prefer => "{prefer}" is no side', detail=f"Known are: {', '.join(SIDES)}.")
    into = writing.begin(target, "merge into")
    theirs = versions.resolve(source)
    run.add_input(dataset_version_id=theirs.id)
    base = _base(into.latest, theirs)
    if base.id == theirs.id:
        progress.notice(f'"{into.latest.title}" has all of "{theirs.title}" already')
        return [_row(into.latest.title, into.latest.rows)]
    if base.id == into.latest.id:
        return [_move_forward(run, into, theirs)]
    found = _Merge(into.latest, theirs, base, _common_columns(into.latest, theirs, base))
    progress.report("comparing rows")
    with store.writable(into.dataset.id), store.bulk_settings():
        steps = _steps(found, prefer, read_resolutions(resolutions, found.keys, into.latest, SIDES))
        conflicts = queries.rows(f"WITH {steps} {_conflicts(found)}")
        if conflicts:
            _tell(into, theirs, len(conflicts))
            return [_row(None, None) | c for c in conflicts]
        counts = _store(into, found, steps)
    run.add_input(dataset_version_id=into.latest.id)
    message = message or f"merge of {source}"
    result = writing.record(run, into, into.latest, counts, Origin("merge", message, [theirs.id]))
    return [_row(result["dataset"], counts.rows, counts.added, counts.removed)]


def _base(ours: DatasetVersion, theirs: DatasetVersion) -> DatasetVersion:
    """The newest version that both come from: no other such version comes from it."""
    common = set(ours.stored.numbers) & set(theirs.stored.numbers)
    if ours.dataset_id != theirs.dataset_id or not common:
        raise InvalidParameter(
            f'"{ours.title}" and "{theirs.title}" have no version in common',
            detail="A merge takes the changes since the last common version, and there is none.",
            hint=f'Merge a branch of "{ours.name}"; or add rows whose keys are new: SELECT * FROM delc.append_dataset('
            f"{queries.quote_literal(ours.name)}, delc.dataset_query({queries.quote_literal(theirs.title)})).",
        )
    return versions.find(names.VersionName(ours.name, max(common)))


def _common_columns(ours: DatasetVersion, theirs: DatasetVersion, base: DatasetVersion) -> dict[str, SourceColumn]:
    """The columns of both sides; an error where they differ. The base lacks some of them, perhaps."""
    ours_by_name = {column.name: column.type for column in ours.columns}
    theirs_by_name = {column.name: column.type for column in theirs.columns}
    if ours_by_name != theirs_by_name:
        differing = sorted(
            name for name in {**ours_by_name, **theirs_by_name} if ours_by_name.get(name) != theirs_by_name.get(name)
        )
        raise WrongState(
            f'"{ours.title}" and "{theirs.title}" have different columns',
            detail="; ".join(
                f'"{name}" is {ours_by_name.get(name, "not there")} and {theirs_by_name.get(name, "not there")}'
                for name in differing[:10]
            )
            + ".",
            hint="Commit to one of them from a source with the columns of the other, then merge.",
        )
    return stored_columns(ours)


def _move_forward(run: Run, into: Target, theirs: DatasetVersion) -> dict[str, Any]:
    """Nothing happened on the branch meanwhile: it moves to the other version."""
    catalog.set_reference(into.dataset.id, into.branch, "branch", theirs.id, run.username)
    progress.notice(f'branch "{into.branch}" of data set "{into.dataset.name}" moved forward to {theirs.title}')
    return _row(theirs.title, theirs.rows, 0, 0)


def _steps(merge: _Merge, prefer: str | None, resolutions: str | None) -> str:
    """SQL, to go behind WITH: delc_pair has a row for each key that the sides have different rows of, with the numbers
    of the rows, and the side that wins (NULL: conflict).
    """
    ours, theirs, keys = merge.ours, merge.theirs, merge.keys
    columns = list(merge.columns.values())
    split = "OPERATOR(pg_catalog.=)"
    key = [f"COALESCE(o.{c.quoted}, t.{c.quoted}) AS {c.quoted}" for c in keys]
    pair_key = ", ".join(f"pair.{c.quoted}" for c in keys)

    def alike(left: str, right: str) -> str:
        both_gone = f"{left}.delc_row IS NULL AND {right}.delc_row IS NULL"
        same = f"{images.alike(columns, left, right)} AND {left}.delc_split {split} {right}.delc_split"
        there = f"{left}.delc_row IS NOT NULL AND {right}.delc_row IS NOT NULL"
        return f"(({both_gone}) OR ({there} AND {same}))"

    sides = (
        f"delc_ours AS NOT MATERIALIZED ({ours.rows_query(but_not_in=theirs.stored)}),"
        f" delc_theirs AS NOT MATERIALIZED ({theirs.rows_query(but_not_in=ours.stored)}),"
        f" delc_base AS NOT MATERIALIZED ({_in_shape_of(ours, merge.base).rows_query()})"
    )
    rows = ", ".join(f"{alias}.delc_row AS {side}" for alias, side in (("o", "ours"), ("t", "theirs")))
    keyed = (
        f"SELECT {', '.join(key)}, {rows} FROM delc_ours AS o FULL JOIN delc_theirs AS t ON {same_key(keys, 'o', 't')}"
    )
    ours_is_gone = is_removed(merge.union, "o.delc_row")
    decided = (
        f"CASE WHEN {alike('o', 't')} THEN CASE WHEN {ours_is_gone} THEN 'theirs' ELSE 'ours' END"
        f" WHEN {alike('o', 'b')} THEN 'theirs' WHEN {alike('t', 'b')} THEN 'ours' ELSE "
    )
    choices = [*(["choice.resolution"] if resolutions else []), *([queries.quote_literal(prefer)] if prefer else [])]
    chosen = f"COALESCE({', '.join(choices)})" if choices else "NULL"
    joined = f" LEFT JOIN ({resolutions}) AS choice ON {same_key(keys, 'choice', 'pair')}" if resolutions else ""
    pairs = (
        f"SELECT {pair_key}, pair.ours, pair.theirs, b.delc_row AS base, {decided}{chosen} END AS winner"
        f" FROM delc_keyed AS pair LEFT JOIN delc_ours AS o ON o.delc_row = pair.ours"
        f" LEFT JOIN delc_theirs AS t ON t.delc_row = pair.theirs"
        f" LEFT JOIN delc_base AS b ON {same_key(keys, 'b', 'pair')}{joined}"
    )
    return f"{sides}, delc_keyed AS MATERIALIZED ({keyed}), delc_pair AS MATERIALIZED ({pairs})"


def _in_shape_of(shape: DatasetVersion, version: DatasetVersion) -> DatasetVersion:
    """The rows of a version with the columns of another of the same data set."""
    return replace(version, columns=shape.columns, parts=shape.parts, stored_names=shape.stored_names)


def _conflicts(merge: _Merge) -> str:
    def image(alias: str) -> str:
        named = [(name, f"{alias}.{merge.columns[name].quoted}") for name in merge.ours.column_names]
        row = jsonb_object([*named, ("delc_split", split_name(f"{alias}.delc_split"))])
        return f"CASE WHEN {alias}.delc_row IS NOT NULL THEN {row} END"

    key = jsonb_object([(column.name, f"pair.{column.quoted}") for column in merge.keys])
    order = ", ".join(f"pair.{column.quoted}" for column in merge.keys)
    return (
        f"SELECT {key} AS key, {image('b')} AS base, {image('o')} AS ours, {image('t')} AS theirs"
        " FROM delc_pair AS pair LEFT JOIN delc_ours AS o ON o.delc_row = pair.ours"
        " LEFT JOIN delc_theirs AS t ON t.delc_row = pair.theirs LEFT JOIN delc_base AS b ON b.delc_row = pair.base"
        f" WHERE pair.winner IS NULL ORDER BY {order}"
    )


def _store(into: Target, merge: _Merge, steps: str) -> catalog.Counts:
    """Stores what the merge leaves out, and again those winners that one of the histories had left out."""
    dataset_id, number = into.dataset.id, into.number
    visible = f"NOT {is_removed(merge.union, 'side.row')}"
    winner = "CASE pair.winner WHEN 'ours' THEN pair.ours WHEN 'theirs' THEN pair.theirs ELSE pair.base END"
    steps += (
        f", delc_choice AS MATERIALIZED (SELECT pair.*, {winner} AS row FROM delc_pair AS pair),"
        " delc_side AS (SELECT choice.row AS winner, side.row FROM delc_choice AS choice"
        " CROSS JOIN LATERAL (VALUES (choice.ours), (choice.theirs)) AS side(row) WHERE side.row IS NOT NULL)"
    )
    losers = (
        "SELECT side.row AS delc_row FROM delc_side AS side"
        f" WHERE (side.winner IS NULL OR side.winner <> side.row) AND {visible}"
    )
    gone = remove_rows(dataset_id, number, losers)
    back = f"SELECT choice.row FROM delc_choice AS choice WHERE {is_removed(merge.union, 'choice.row')}"
    numbered = (
        f"SELECT {into.last_row} + pg_catalog.row_number() OVER (ORDER BY back.row) AS delc_row, back.row FROM"
        f" ({back}) AS back"
    )
    inserts = _copies(merge, number)
    parts = "".join(f", delc_part{part} AS ({text})" for part, text in enumerate(inserts, 1))
    queries.execute(
        f"WITH {steps}, delc_gone AS ({gone}), delc_back AS MATERIALIZED ({numbered}){parts} SELECT FROM delc_back"
    )
    counts = _counted(into, merge)
    columns = merge.ours.stored_columns(merge.ours.key_columns)
    new = StoredRows(dataset_id, [*merge.union.numbers, number], has_removals=True)
    rows = reading_query(new, columns, bookkeeping=["delc_row"], ordered=False)
    checks.check_keys(f"({rows}) AS r", merge.keys, into.dataset.name)
    return counts


def _copies(merge: _Merge, number: int) -> list[str]:
    """The INSERT of each part for rows that come back under a new number (delc_back)."""
    dataset_id = merge.ours.dataset_id
    stored = merge.ours.stored_columns(merge.ours.column_names)
    inserts = []
    for part in range(1, max(column.part for column in stored) + 1):
        names_here = [column.stored or column.quoted for column in stored if column.part == part]
        own, values = ["delc_row"], ["back.delc_row"]
        if part == 1:
            own, values = [*own, "delc_version", "delc_split"], [*values, str(number), "d.delc_split"]
        inserts.append(
            f"INSERT INTO {part_name(dataset_id, part)} ({', '.join([*own, *names_here])})"
            f" SELECT {', '.join([*values, *(f'd.{name}' for name in names_here)])}"
            f" FROM delc_back AS back JOIN {part_name(dataset_id, part)} AS d ON d.delc_row = back.row"
        )
    return inserts


def _counted(into: Target, merge: _Merge) -> catalog.Counts:
    """Rows of the merge by split, and how many are new in it and gone from it, seen from the branch."""
    new = StoredRows(into.dataset.id, [*merge.union.numbers, into.number], has_removals=True)
    found = queries.rows(
        f"SELECT r.delc_split, pg_catalog.count(*) AS rows FROM"
        f" ({reading_query(new, [], bookkeeping=['delc_split'], ordered=False)}) AS r GROUP BY 1"
    )
    by_split = {row["delc_split"]: row["rows"] for row in found}
    added = reading_query(new, [], bookkeeping=["delc_row"], ordered=False, but_not_in=merge.ours.stored)
    in_split = {split: by_split.get(letter, 0) for split, letter in SPLITS.items()}
    count: int = queries.value(f"SELECT pg_catalog.count(*) FROM ({added}) AS r")
    removed = merge.ours.rows + count - sum(in_split.values())
    return catalog.Counts(**in_split, added=count, removed=removed)


def _tell(into: Target, theirs: DatasetVersion, count: int) -> None:
    progress.notice(
        f'{count} key{"s" if count > 1 else ""} changed both in "{into.latest.title}" and in "{theirs.title}";'
        " nothing was merged. Resolve with prefer => 'ours' or 'theirs', or with a query of key and resolution."
    )


def _row(dataset: str | None, rows: int | None, added: int | None = None, removed: int | None = None) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "rows": rows,
        "added": added,
        "removed": removed,
        **dict.fromkeys(("key", "base", "ours", "theirs")),
    }
