"""Which side's row a merge takes for each key that the two have different rows of: SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from delc.datasets import merge_base, merge_cells, merge_keys
from delc.datasets.columns import SourceColumn
from delc.datasets.difference import same_key
from delc.datasets.merge_base import Bases
from delc.datasets.merge_cells import Alias, Cell
from delc.datasets.merge_columns import Side, type_of
from delc.datasets.reading import StoredColumn, StoredRows, is_removed, reading_query
from delc.datasets.versions import DatasetVersion
from delc.server import queries

SIDES = ("ours", "theirs", "base")


@dataclass(frozen=True)
class Merge:
    """The branch merged into (ours), the version merged (theirs), what both come from (bases), their columns (cells),
    and the columns of the result, as those of a version (shape).
    """

    ours: Side
    theirs: Side
    bases: Bases
    cells: list[Cell]
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
    def special(self) -> list[Cell]:
        """The columns of the result that are not simply those of the row which wins."""
        return [c for c in self.cells if type_of(self.shape, c.name) and merge_cells.is_special(c, self.shape)]

    def placed(self, cell: Cell) -> StoredColumn:
        """Where the result keeps a column, under a name that no user's column has."""
        (stored,) = self.shape.stored_columns([cell.name])
        return replace(stored, quoted=f"delc_place{cell.number}", stored=stored.stored or stored.quoted)


# Rows of one key, behind delc_pair.
ROWS_OF_PAIR = (
    " LEFT JOIN delc_ours AS o ON o.delc_row = pair.ours LEFT JOIN delc_theirs AS t ON t.delc_row = pair.theirs"
    " LEFT JOIN delc_base AS b ON b.delc_pair = pair.delc_pair"
)


def steps(merge: Merge, prefer: str | None, resolutions: str | None) -> str:
    """SQL, to go behind WITH: delc_pair has a row for each key that the sides have different rows of, with the numbers
    of the rows, the side whose row it is by the rules (decided), and the side that wins (NULL: conflict).
    """
    keys = merge.keys
    touched = merge_keys.touched(merge.ours, merge.theirs, merge.bases, merge.cells, merge.shape, keys)
    sides = f"delc_touched AS MATERIALIZED ({touched}), " if touched else ""
    sides += ", ".join(
        f"{name} AS {f'MATERIALIZED ({_touched(rows, keys)})' if touched else f'NOT MATERIALIZED ({rows})'}"
        for name, rows in (
            ("delc_ours", _rows(merge, merge.ours, merge.theirs)),
            ("delc_theirs", _rows(merge, merge.theirs, merge.ours)),
        )
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
        f" FROM delc_keyed AS pair{ROWS_OF_PAIR}"
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
        f"{merge_cells.fill_steps(merge.cells)}{sides}, delc_keyed AS MATERIALIZED ({keyed}),"
        f" {merge_base.steps(merge.bases, keys)},"
        f" delc_decided AS NOT MATERIALIZED ({decided}), delc_pair AS MATERIALIZED ({pairs})"
    )


def _touched(rows: str, keys: Sequence[SourceColumn]) -> str:
    found = f"SELECT FROM delc_touched AS k WHERE {same_key(keys, 'k', 'r')}"
    return f"SELECT r.* FROM ({rows}) AS r WHERE EXISTS ({found})"


def _rows(merge: Merge, side: Side, other: Side) -> str:
    """The rows of a side that the other lacks: its own columns, and what lies where the result has columns that are not
    its own.
    """
    version = side.version
    own = version.stored_columns(version.column_names)
    places = [merge.placed(c) for c in merge.special if type_of(version, c.name) != type_of(merge.shape, c.name)]
    return reading_query(
        version.stored,
        [*own, *places],
        bookkeeping=["delc_row", "delc_split"],
        ordered=False,
        but_not_in=other.version.stored,
    )


def _decided(merge: Merge) -> str:
    """SQL for the side whose row is taken: the one that changed it alone, or either where both did the same; NULL for a
    conflict, and where the row of either would take values of the other side with it.
    """
    cells = merge.cells

    def unchanged(alias: Alias) -> str:
        return f"(b.delc_row IS NOT NULL AND {merge_cells.agree(cells, alias, 'b')})"

    def removed_elsewhere(alias: Alias) -> str:
        return f"{unchanged(alias)} AND {merge_cells.holds_fills_alone(cells, alias)}"

    base_is_gone = merge_base.is_gone("b")
    ours_is_gone = is_removed(merge.union, "o.delc_row")
    return (
        f"CASE WHEN {merge_cells.loses_any(cells)} THEN NULL"
        f" WHEN o.delc_row IS NULL THEN CASE WHEN {base_is_gone} THEN 'theirs'"
        f" WHEN {removed_elsewhere('t')} THEN 'ours' END"
        f" WHEN t.delc_row IS NULL THEN CASE WHEN {base_is_gone} THEN 'ours'"
        f" WHEN {removed_elsewhere('o')} THEN 'theirs' END"
        f" WHEN {merge_cells.contradict(cells)} THEN NULL"
        f" WHEN {_same(merge)} THEN CASE WHEN {ours_is_gone} THEN 'theirs' ELSE 'ours' END"
        f" WHEN {unchanged('o')} THEN 'theirs' WHEN {unchanged('t')} THEN 'ours' END"
    )


def _same(merge: Merge) -> str:
    return merge_cells.agree(merge.cells, "o", "t")
