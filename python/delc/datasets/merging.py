"""Three-way merge by key: what a branch has changed since the two histories parted comes into another.

A version's rows are those that an ancestor added and none removed, so a merge of two histories has the changes of both
by itself. What is stored with it is where that is not what is wanted: of rows that both sides changed, one is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from delc.datasets import catalog, checks, merge_base, merge_columns, store, versions, writing
from delc.datasets.columns import SourceColumn
from delc.datasets.comparing import jsonb_object, split_name
from delc.datasets.delta import read_resolutions
from delc.datasets.difference import key_text, same_key
from delc.datasets.fill import insert_parts
from delc.datasets.merge_base import Bases
from delc.datasets.merge_columns import Columns, Side
from delc.datasets.reading import StoredRows, is_removed, reading_query, remove_rows
from delc.datasets.splits import SPLITS
from delc.datasets.versions import DatasetVersion
from delc.datasets.writing import Origin, Target
from delc.log.runs import Run
from delc.server import progress, queries
from delc.server.errors import InvalidParameter

SIDES = ("ours", "theirs", "base")


@dataclass(frozen=True)
class _Merge:
    """The branch merged into (ours), the version merged (theirs), what both come from (bases), and the columns of the
    result, as those of a version (shape).
    """

    ours: Side
    theirs: Side
    bases: Bases
    shape: DatasetVersion

    @property
    def keys(self) -> list[SourceColumn]:
        return [self.ours.columns[name] for name in self.shape.key_columns]

    @property
    def union(self) -> StoredRows:
        """The rows of both histories together."""
        numbers = sorted({*self.ours.version.stored.numbers, *self.theirs.version.stored.numbers})
        return StoredRows(self.shape.dataset_id, numbers, has_removals=True)

    @property
    def sides(self) -> dict[str, Side]:
        return {"ours": self.ours, "theirs": self.theirs, "base": self.bases.all}


def merge(
    run: Run, target: str, source: str, message: str | None, resolutions: str | None, prefer: str | None
) -> list[dict[str, Any]]:
    """Merges and gives one ``delc.dataset_merge`` row with the new version, or changes nothing and gives a row for
    each conflict that is not resolved.
    """
    if prefer is not None and prefer not in SIDES:
        raise InvalidParameter(f'prefer => "{prefer}" is no side', detail=f"Known are: {', '.join(SIDES)}.")
    into = writing.begin(target, "merge into")
    ours, theirs = into.latest, versions.resolve(source)
    run.add_input(dataset_version_id=theirs.id)
    _require_common(ours, theirs)
    if theirs.number in ours.stored.numbers or ours.number in theirs.stored.numbers:
        return [_without_merging(run, into, theirs, resolutions)]
    bases = merge_base.find(ours, theirs)
    mine, other = merge_columns.side_of(ours), merge_columns.side_of(theirs)
    shape = merge_columns.merged(mine, other, [bases.sides[number] for number in bases.last])
    found = _Merge(mine, other, bases, shape)
    progress.report("comparing rows")
    with store.writable(into.dataset.id), store.bulk_settings():
        choices = read_resolutions(resolutions, found.keys, ours, SIDES)
        steps = _steps(found, prefer, choices)
        if choices:
            _require_conflicts(found, steps, choices)
        conflicts = queries.rows(f"WITH {steps} {_conflicts(found)}")
        if conflicts:
            _tell(into, theirs, len(conflicts))
            return [_row(None, None) | c for c in conflicts]
        counts = _store(into, found, steps)
    run.add_input(dataset_version_id=ours.id)
    message = message or f"merge of {source}"
    result = writing.record(run, into, shape, counts, Origin("merge", message, [theirs.id]))
    return [_row(result["dataset"], counts.rows, counts.added, counts.removed)]


def _require_common(ours: DatasetVersion, theirs: DatasetVersion) -> None:
    """An error for histories that have no version in common."""
    if ours.dataset_id != theirs.dataset_id or not set(ours.stored.numbers) & set(theirs.stored.numbers):
        raise InvalidParameter(
            f'"{ours.title}" and "{theirs.title}" have no version in common',
            detail="A merge takes the changes since the last common version, and there is none.",
            hint=f'Merge a branch of "{ours.name}"; or add rows whose keys are new: SELECT * FROM delc.append_dataset('
            f"{queries.quote_literal(ours.name)}, delc.dataset_query({queries.quote_literal(theirs.title)})).",
        )


def _without_merging(run: Run, into: Target, theirs: DatasetVersion, resolutions: str | None) -> dict[str, Any]:
    """Where one side has not changed: nothing is to be done, or the branch moves to the other version."""
    ours = into.latest
    if resolutions is not None:
        has, other = (ours, theirs) if theirs.number in ours.stored.numbers else (theirs, ours)
        raise InvalidParameter(
            f'there are no conflicts to resolve: "{has.title}" has all of "{other.title}"',
            hint="Leave the resolutions away.",
        )
    if ours.number in theirs.stored.numbers and ours.number != theirs.number:
        return _move_forward(run, into, theirs)
    progress.notice(f'"{ours.title}" has all of "{theirs.title}" already')
    return _row(ours.title, ours.rows)


def _move_forward(run: Run, into: Target, theirs: DatasetVersion) -> dict[str, Any]:
    """Nothing happened on the branch meanwhile: it moves to the other version."""
    catalog.set_reference(into.dataset.id, into.branch, "branch", theirs.id, run.username)
    progress.notice(f'branch "{into.branch}" of data set "{into.dataset.name}" moved forward to {theirs.title}')
    return _row(theirs.title, theirs.rows, 0, 0)


def _steps(merge: _Merge, prefer: str | None, resolutions: str | None) -> str:
    """SQL, to go behind WITH: delc_pair has a row for each key that the sides have different rows of, with the numbers
    of the rows, the side whose row it is by the rules (decided), and the side that wins (NULL: conflict).
    """
    ours, theirs, keys = merge.ours.version, merge.theirs.version, merge.keys
    sides = (
        f"delc_ours AS NOT MATERIALIZED ({ours.rows_query(but_not_in=theirs.stored)}),"
        f" delc_theirs AS NOT MATERIALIZED ({theirs.rows_query(but_not_in=ours.stored)})"
    )
    key = ", ".join(f"COALESCE(o.{c.quoted}, t.{c.quoted}) AS {c.quoted}" for c in keys)
    keyed = (
        f"SELECT pg_catalog.row_number() OVER () AS delc_pair, {key}, o.delc_row AS ours, t.delc_row AS theirs"
        f" FROM delc_ours AS o FULL JOIN delc_theirs AS t ON {same_key(keys, 'o', 't')}"
    )
    pair_key = ", ".join(f"pair.{c.quoted}" for c in keys)
    decided = (
        f"SELECT pair.delc_pair, {pair_key}, pair.ours, pair.theirs, b.delc_row AS base,"
        f" {merge_base.is_gone('b')} OR b.delc_row IS NOT NULL AS base_is_known, {_decided(merge)} AS decided"
        " FROM delc_keyed AS pair LEFT JOIN delc_ours AS o ON o.delc_row = pair.ours"
        " LEFT JOIN delc_theirs AS t ON t.delc_row = pair.theirs"
        " LEFT JOIN delc_base AS b ON b.delc_pair = pair.delc_pair"
    )
    choices = [*(["choice.resolution"] if resolutions else []), *([queries.quote_literal(prefer)] if prefer else [])]
    chosen = f"COALESCE({', '.join(choices)})" if choices else "NULL::pg_catalog.text"
    joined = f" LEFT JOIN ({resolutions}) AS choice ON {same_key(keys, 'choice', 'pair')}" if resolutions else ""
    # What the two had in common is no choice where that is not known.
    winner = (
        f"COALESCE(pair.decided, CASE WHEN pair.base_is_known OR {chosen} OPERATOR(pg_catalog.<>) 'base'"
        f" THEN {chosen} END)"
    )
    pairs = f"SELECT pair.*, {winner} AS winner FROM delc_decided AS pair{joined}"
    return (
        f"{sides}, delc_keyed AS MATERIALIZED ({keyed}), {merge_base.steps(merge.bases, keys)},"
        f" delc_decided AS NOT MATERIALIZED ({decided}), delc_pair AS MATERIALIZED ({pairs})"
    )


def _decided(merge: _Merge) -> str:
    """SQL for the side whose row is taken: the one that changed it alone, or either where both did the same."""
    ours, theirs, base = merge.ours.columns, merge.theirs.columns, merge.bases.all.columns
    there = {"o": "o.delc_row IS NOT NULL", "t": "t.delc_row IS NOT NULL", "b": "b.delc_row IS NOT NULL"}
    gone = {"o": "o.delc_row IS NULL", "t": "t.delc_row IS NULL", "b": merge_base.is_gone("b")}

    def alike(left: str, left_columns: Columns, right: str, right_columns: Columns, names: list[str]) -> str:
        same = merge_columns.alike(left, left_columns, right, right_columns, names)
        return f"(({gone[left]} AND {gone[right]}) OR ({there[left]} AND {there[right]} AND {same}))"

    ours_is_gone = is_removed(merge.union, "o.delc_row")
    return (
        f"CASE WHEN {alike('o', ours, 't', theirs, merge.shape.column_names)}"
        f" THEN CASE WHEN {ours_is_gone} THEN 'theirs' ELSE 'ours' END"
        f" WHEN {alike('o', ours, 'b', base, list(ours))} THEN 'theirs'"
        f" WHEN {alike('t', theirs, 'b', base, list(theirs))} THEN 'ours' END"
    )


def _require_conflicts(merge: _Merge, steps: str, resolutions: str) -> None:
    """An error for resolutions of keys that are not in conflict."""
    found = queries.rows(
        f"WITH {steps} SELECT {key_text(merge.keys, 'choice')} AS key, pg_catalog.count(*) OVER () AS keys"
        f" FROM ({resolutions}) AS choice LEFT JOIN delc_pair AS pair"
        f" ON pair.decided IS NULL AND {same_key(merge.keys, 'choice', 'pair')} WHERE pair.delc_pair IS NULL"
        f" ORDER BY {', '.join(f'choice.{column.quoted}' for column in merge.keys)} LIMIT 3"
    )
    if not found:
        return
    count, shown = found[0]["keys"], ", ".join(row["key"] for row in found)
    raise InvalidParameter(
        f"{count} of the keys to resolve {'are' if count > 1 else 'is'} not in conflict: {shown}"
        + (", …" if count > len(found) else ""),
        detail=f"The columns are {', '.join(column.name for column in merge.keys)}.",
        hint="Resolve the keys that the merge gives without resolutions, and no others.",
    )


def _conflicts(merge: _Merge) -> str:
    def image(alias: str, columns: Columns) -> str:
        named = [(name, f"{alias}.{column.quoted}") for name, column in columns.items()]
        row = jsonb_object([*named, ("delc_split", split_name(f"{alias}.delc_split"))])
        return f"CASE WHEN {alias}.delc_row IS NOT NULL THEN {row} END"

    base, ours, theirs = merge.bases.all.columns, merge.ours.columns, merge.theirs.columns
    key = jsonb_object([(column.name, f"pair.{column.quoted}") for column in merge.keys])
    order = ", ".join(f"pair.{column.quoted}" for column in merge.keys)
    return (
        f"SELECT {key} AS key, {image('b', base)} AS base, {image('o', ours)} AS ours, {image('t', theirs)} AS theirs"
        " FROM delc_pair AS pair LEFT JOIN delc_ours AS o ON o.delc_row = pair.ours"
        " LEFT JOIN delc_theirs AS t ON t.delc_row = pair.theirs"
        " LEFT JOIN delc_base AS b ON b.delc_pair = pair.delc_pair"
        f" WHERE pair.winner IS NULL ORDER BY {order}"
    )


def _store(into: Target, merge: _Merge, steps: str) -> catalog.Counts:
    """Stores what the merge leaves out, and again those winners that one of the histories had left out, or that have a
    column in another type.
    """
    dataset_id, number = into.dataset.id, into.number
    visible = f"NOT {is_removed(merge.union, 'side.row')}"
    winner = "CASE pair.winner WHEN 'ours' THEN pair.ours WHEN 'theirs' THEN pair.theirs ELSE pair.base END"
    retyped = [name for name, side in merge.sides.items() if merge_columns.retyped(side, merge.shape)]
    is_recast = f"pair.winner IN ({', '.join(map(queries.quote_literal, retyped))})" if retyped else "false"
    steps += (
        f", delc_choice AS MATERIALIZED (SELECT pair.*, {winner} AS row, {is_recast} AS is_recast"
        " FROM delc_pair AS pair), delc_side AS (SELECT choice.row AS winner, choice.is_recast, side.row"
        " FROM delc_choice AS choice CROSS JOIN LATERAL (VALUES (choice.ours), (choice.theirs)) AS side(row)"
        " WHERE side.row IS NOT NULL)"
    )
    losers = (
        "SELECT side.row AS delc_row FROM delc_side AS side"
        f" WHERE (side.winner IS NULL OR side.winner <> side.row OR side.is_recast) AND {visible}"
    )
    gone = remove_rows(dataset_id, number, losers)
    numbered = (
        f"SELECT {into.last_row} + pg_catalog.row_number() OVER (ORDER BY choice.row) AS delc_row, choice.row,"
        " choice.winner FROM delc_choice AS choice WHERE choice.row IS NOT NULL AND"
        f" (choice.is_recast OR {is_removed(merge.union, 'choice.row')})"
    )
    copies = " UNION ALL ".join(_copies(merge, number, name, side) for name, side in merge.sides.items())
    inserts = insert_parts(dataset_id, merge.shape.stored_columns(merge.shape.column_names), "delc_copy")
    parts = "".join(f", delc_part{part} AS ({text})" for part, text in enumerate(inserts, 1))
    queries.execute(
        f"WITH {steps}, delc_gone AS ({gone}), delc_back AS MATERIALIZED ({numbered}),"
        f" delc_copy AS MATERIALIZED ({copies}){parts} SELECT FROM delc_back"
    )
    counts = _counted(into, merge)
    columns = merge.shape.stored_columns(merge.shape.key_columns)
    new = StoredRows(dataset_id, [*merge.union.numbers, number], has_removals=True)
    rows = reading_query(new, columns, bookkeeping=["delc_row"], ordered=False)
    checks.check_keys(f"({rows}) AS r", merge.keys, into.dataset.name)
    return counts


def _copies(merge: _Merge, number: int, name: str, side: Side) -> str:
    """SQL for the rows of a side that come back under a new number (delc_back), with the columns of the merge."""
    everything = StoredRows(merge.shape.dataset_id, merge.union.numbers, has_removals=False)
    stored = side.version.stored_columns(side.version.column_names)
    rows = reading_query(everything, stored, bookkeeping=["delc_row", "delc_split"], ordered=False)
    columns = ", ".join(merge_columns.recast("r", side.columns, merge.shape))
    return (
        f"SELECT back.delc_row, {number} AS delc_version, r.delc_split, {columns}"
        f" FROM delc_back AS back JOIN ({rows}) AS r ON r.delc_row = back.row WHERE back.winner = '{name}'"
    )


def _counted(into: Target, merge: _Merge) -> catalog.Counts:
    """Rows of the merge by split, and how many are new in it and gone from it, seen from the branch."""
    new = StoredRows(into.dataset.id, [*merge.union.numbers, into.number], has_removals=True)
    found = queries.rows(
        f"SELECT r.delc_split, pg_catalog.count(*) AS rows FROM"
        f" ({reading_query(new, [], bookkeeping=['delc_split'], ordered=False)}) AS r GROUP BY 1"
    )
    by_split = {row["delc_split"]: row["rows"] for row in found}
    added = reading_query(new, [], bookkeeping=["delc_row"], ordered=False, but_not_in=merge.ours.version.stored)
    in_split = {split: by_split.get(letter, 0) for split, letter in SPLITS.items()}
    count: int = queries.value(f"SELECT pg_catalog.count(*) FROM ({added}) AS r")
    removed = merge.ours.version.rows + count - sum(in_split.values())
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
