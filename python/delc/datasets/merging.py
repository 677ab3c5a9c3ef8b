"""Three-way merge by key: what a branch has changed since the two histories parted comes into another.

A version's rows are those that an ancestor added and none removed, so a merge of two histories has the changes of both
by itself. What is stored with it is where that is not what is wanted: of rows that both sides changed, one is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from delc.datasets import catalog, checks, images, merge_base, merge_cells, merge_columns, store, versions, writing
from delc.datasets.comparing import jsonb_object, split_name
from delc.datasets.delta import read_resolutions
from delc.datasets.difference import key_text, same_key
from delc.datasets.fill import insert_parts
from delc.datasets.merge_cells import WINNERS, Alias, Cell
from delc.datasets.merge_columns import Columns
from delc.datasets.merge_decision import ROWS_OF_PAIR, SIDES, Merge, steps
from delc.datasets.merge_evolution import Evolution
from delc.datasets.reading import StoredRows, is_removed, reading_query, remove_rows
from delc.datasets.splits import SPLITS
from delc.datasets.versions import DatasetVersion
from delc.datasets.writing import Origin, Target
from delc.log.runs import Run
from delc.server import progress, queries
from delc.server.errors import InvalidData, InvalidParameter


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
    progress.report("comparing rows")
    with store.writable(into.dataset.id), store.bulk_settings():
        found = _find(ours, theirs)
        choices = read_resolutions(resolutions, found.keys, ours, SIDES)
        decided = steps(found, prefer, choices)
        if choices:
            _require_conflicts(found, decided, choices)
        conflicts = queries.rows(f"WITH {decided} {_conflicts(found)}")
        catalog.require_unchanged(into.dataset)
        if conflicts:
            _tell(found, decided, len(conflicts))
            return [_row(None, None) | c for c in conflicts]
        if prefer or choices:
            found = _with_columns_kept(found, decided)
            decided = steps(found, prefer, choices)
            _require_castable(found, decided)
        counts = _store(into, found, decided)
    run.add_input(dataset_version_id=ours.id)
    message = message or f"merge of {source}"
    result = writing.record(run, into, found.shape, counts, Origin("merge", message, [theirs.id]))
    return [_row(result["dataset"], counts.rows, counts.added, counts.removed)]


def _find(ours: DatasetVersion, theirs: DatasetVersion) -> Merge:
    """What there is to merge; ``WrongState`` where columns were changed in ways that do not go together."""
    bases = merge_base.find(ours, theirs)
    mine, other = merge_columns.side_of(ours), merge_columns.side_of(theirs)
    shape = merge_columns.merged(mine, other, [bases.sides[number] for number in bases.last])
    keys = [mine.columns[name] for name in ours.key_columns]
    evolution = Evolution(ours.name, bases.members, bases.common, keys)
    return Merge(mine, other, bases, merge_cells.cells_of(mine, other, bases, evolution), shape)


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


def _contested(merge: Merge, decided: str, condition: str) -> list[Cell]:
    """The columns of which values would be lost in a pair for which the condition holds."""
    exposed = [(cell, test) for cell in merge.cells if (test := merge_cells.loses(cell))]
    if not exposed:
        return []
    tests = ", ".join(
        f"COALESCE(pg_catalog.bool_or({test} AND {condition.format(side=WINNERS[cell.exposed or 'o'])}), false)"
        f" AS c{cell.number}"
        for cell, test in exposed
    )
    found = queries.rows(f"WITH {decided} SELECT {tests} FROM delc_pair AS pair{ROWS_OF_PAIR}")[0]
    return [cell for cell, _ in exposed if found[f"c{cell.number}"]]


def _with_columns_kept(merge: Merge, decided: str) -> Merge:
    """The merge with those columns that one side dropped, and that have values of the other in rows which were resolved
    for it.
    """
    shape = merge.shape
    for cell in _contested(merge, decided, "pair.decided IS NULL AND pair.winner = '{side}'"):
        if cell.dropped:
            keeping = merge.theirs if cell.exposed == "t" else merge.ours
            shape = merge_columns.with_column(shape, keeping.version, cell.name)
            progress.notice(f'column "{cell.name}" stays, since rows were resolved for "{keeping.version.title}"')
    return replace(merge, shape=shape)


def _require_castable(merge: Merge, decided: str) -> None:
    """An error for values that were chosen and cannot be brought to the type that the other side gave their column."""

    def winners(alias: Alias, column: str) -> str:
        won = f"pair.winner = '{WINNERS[alias]}'"
        return f"WITH {decided} SELECT {alias}.{column} FROM delc_pair AS pair{ROWS_OF_PAIR} WHERE {won}"

    problem = merge_cells.find_uncastable(merge.cells, merge.shape, winners)
    if problem is not None:
        name, to_type, reason = problem
        raise InvalidData(
            f'values of column "{name}" that were chosen cannot be {to_type}, as the merge has it',
            detail=reason,
            hint="Resolve those rows for the side that gave the column this type; or correct them with"
            " delc.correct_dataset() first.",
        )


def _require_conflicts(merge: Merge, decided: str, resolutions: str) -> None:
    """An error for resolutions of keys that are not in conflict."""
    found = queries.rows(
        f"WITH {decided} SELECT {key_text(merge.keys, 'choice')} AS key, pg_catalog.count(*) OVER () AS keys"
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


def _conflicts(merge: Merge) -> str:
    def image(alias: str, columns: Columns) -> str:
        named = [(name, f"{alias}.{column.quoted}") for name, column in columns.items()]
        row = jsonb_object([*named, ("delc_split", split_name(f"{alias}.delc_split"))])
        return f"CASE WHEN {alias}.delc_row IS NOT NULL THEN {row} END"

    base, ours, theirs = merge.bases.all.columns, merge.ours.columns, merge.theirs.columns
    key = jsonb_object([(column.name, f"pair.{column.quoted}") for column in merge.keys])
    order = ", ".join(f"pair.{column.quoted}" for column in merge.keys)
    return (
        f"SELECT {key} AS key, {image('b', base)} AS base, {image('o', ours)} AS ours, {image('t', theirs)} AS theirs"
        f" FROM delc_pair AS pair{ROWS_OF_PAIR}"
        f" WHERE pair.winner IS NULL ORDER BY {order}"
    )


def _store(into: Target, merge: Merge, decided: str) -> catalog.Counts:
    """Stores what the merge leaves out, and anew those winners that one of the histories had left out, or that have
    other values in the result than in the store.
    """
    dataset_id, number = into.dataset.id, into.number
    losers = (
        "SELECT side.row AS delc_row FROM delc_choice AS choice"
        " CROSS JOIN LATERAL (VALUES (choice.ours), (choice.theirs)) AS side(row) WHERE side.row IS NOT NULL"
        " AND (choice.row IS NULL OR choice.row <> side.row OR choice.is_new)"
        f" AND NOT {is_removed(merge.union, 'side.row')}"
    )
    numbered = (
        f"SELECT choice.*, {into.last_row} + pg_catalog.row_number() OVER (ORDER BY choice.row) AS delc_row"
        " FROM delc_choice AS choice WHERE choice.row IS NOT NULL AND choice.is_new"
    )
    inserts = insert_parts(dataset_id, merge.shape.stored_columns(merge.shape.column_names), "delc_copy")
    parts = "".join(f", delc_part{part} AS ({text})" for part, text in enumerate(inserts, 1))
    store.insert(
        f"WITH {decided}, delc_choice AS MATERIALIZED ({_choice(merge)}),"
        f" delc_gone AS ({remove_rows(dataset_id, number, losers)}), delc_back AS MATERIALIZED ({numbered}),"
        f" delc_copy AS MATERIALIZED ({_copies(merge, number)}){parts} SELECT FROM delc_back"
    )
    counts = _counted(into, merge)
    columns = merge.shape.stored_columns(merge.shape.key_columns)
    new = StoredRows(dataset_id, [*merge.union.numbers, number], has_removals=True)
    rows = reading_query(new, columns, bookkeeping=["delc_row"], ordered=False)
    checks.check_keys(f"({rows}) AS r", merge.keys, into.dataset.name)
    return counts


def _choice(merge: Merge) -> str:
    """SQL for the pairs with the row that wins, the values of special columns in it, and whether it is to be stored
    anew.
    """
    row = "CASE pair.winner WHEN 'ours' THEN pair.ours WHEN 'theirs' THEN pair.theirs ELSE pair.base END"
    values, stored = [], []
    for cell in merge.special:
        to_type = merge_columns.type_of(merge.shape, cell.name) or ""
        value = merge_cells.merged_value(cell, to_type)
        values.append(f", {value} AS delc_value{cell.number}")
        places = [
            f"{alias}.{column.quoted if column and column.type == to_type else merge.placed(cell).quoted}"
            for alias, column in (("o", cell.columns.get("o")), ("t", cell.columns.get("t")))
        ]
        stored.append((value, f"CASE pair.winner WHEN 'ours' THEN {places[0]} ELSE {places[1]} END"))
    is_new = (
        f"pair.winner = 'base' OR {is_removed(merge.union, row)} OR NOT {images.same(stored)}"
        if stored
        else f"pair.winner = 'base' OR {is_removed(merge.union, row)}"
    )
    return (
        f"SELECT pair.ours, pair.theirs, pair.winner, {row} AS row, {is_new} AS is_new{''.join(values)}"
        f" FROM delc_pair AS pair{ROWS_OF_PAIR}"
    )


def _copies(merge: Merge, number: int) -> str:
    """SQL for the rows that are stored anew (delc_back), under their new numbers and with the columns of the merge."""
    everything = StoredRows(merge.shape.dataset_id, merge.union.numbers, has_removals=False)
    special = {cell.name: f"back.delc_value{cell.number}" for cell in merge.special}
    plain = merge.shape.stored_columns([name for name in merge.shape.column_names if name not in special])
    rows = reading_query(everything, plain, bookkeeping=["delc_row", "delc_split"], ordered=False)
    columns = ", ".join(
        f"{special.get(name, f'r.{column.quoted}')} AS {column.quoted}"
        for name, column in zip(
            merge.shape.column_names, merge.shape.stored_columns(merge.shape.column_names), strict=True
        )
    )
    return (
        f"SELECT back.delc_row, {number} AS delc_version, r.delc_split, {columns}"
        f" FROM delc_back AS back JOIN ({rows}) AS r ON r.delc_row = back.row"
    )


def _counted(into: Target, merge: Merge) -> catalog.Counts:
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


def _tell(merge: Merge, decided: str, count: int) -> None:
    ours, theirs = merge.ours.version.title, merge.theirs.version.title
    progress.notice(
        f'{count} key{"s" if count > 1 else ""} changed both in "{ours}" and in "{theirs}";'
        " nothing was merged. Resolve with prefer => 'ours' or 'theirs', or with a query of key and resolution."
    )
    contested = _contested(merge, decided, "pair.winner IS NULL")
    for cell in merge.cells:
        for alias in (alias for alias, types in cell.casts.items() if types is None and cell not in contested):
            progress.notice(
                f'column "{cell.name}" has another type in "{ours if alias == "o" else theirs}", with values that are'
                " no casts of the old ones. Rows with such values count as changed there."
            )
    for cell in contested:
        kept, other = (theirs, ours) if cell.exposed == "t" else (ours, theirs)
        side = WINNERS[cell.exposed or "o"]
        if cell.dropped:
            progress.notice(
                f'column "{cell.name}" is dropped in "{other}", and has values in "{kept}" that are new since.'
                f" It stays where a row is resolved for '{side}', and goes otherwise."
            )
        else:
            progress.notice(
                f'column "{cell.name}" has another type in "{other}", with values that are no casts of the old ones.'
                f" Values of \"{kept}\" that are new since are cast where a row is resolved for '{side}'."
            )


def _row(dataset: str | None, rows: int | None, added: int | None = None, removed: int | None = None) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "rows": rows,
        "added": added,
        "removed": removed,
        **dict.fromkeys(("key", "base", "ours", "theirs")),
    }
