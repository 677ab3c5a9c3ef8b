"""The values of a merge column by column, where the two sides do not have the same columns.

SQL over the rows of one key: o (ours), t (theirs) and b (what both come from), and pair, which says who won.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from delc.datasets import images, merge_casts
from delc.datasets.columns import SourceColumn
from delc.datasets.merge_base import Bases, is_gone
from delc.datasets.merge_columns import Side, type_of
from delc.datasets.merge_evolution import Evolution
from delc.datasets.versions import DatasetVersion
from delc.server import queries

Alias = Literal["o", "t", "b"]
WINNERS: dict[Alias, str] = {"o": "ours", "t": "theirs", "b": "base"}
_OTHER: dict[Alias, Alias] = {"o": "t", "t": "o"}


@dataclass(frozen=True)
class Cell:
    """A column of a merge as each side has it, or not; numbered.

    ``casts``: the types that it went through from that of the base to another one on a side; None where that was no
    cast. ``fills``: queries for what a side filled it with when it added it. ``trials``: where not all values came of a
    cast, but all that there were can be cast, the type to which; a row that has what the cast gives was not changed.
    ``casts_mostly``: of those, the sides most of whose values are what the cast gives, so that it says what became of
    the column: rows that the other side added are cast too.
    """

    number: int
    name: str
    columns: dict[Alias, SourceColumn]
    casts: dict[Alias, tuple[str, ...] | None]
    fills: dict[Alias, str]
    has_no_cast: bool = False
    trials: dict[Alias, tuple[str, ...]] = field(default_factory=dict)
    casts_mostly: frozenset[Alias] = frozenset()

    @property
    def quoted(self) -> str:
        return queries.quote_identifier(self.name)

    def filled(self, alias: Alias) -> str | None:
        """What a side filled it with when it added it, where that is one value for all rows."""
        return f"(SELECT f.{self.quoted} FROM delc_fill_{alias}{self.number} AS f)" if alias in self.fills else None

    @property
    def is_new(self) -> bool:
        """Whether a side or both have added it."""
        return "b" not in self.columns

    def of(self, alias: Alias) -> str:
        """The value in a row that has the column."""
        return f"{alias}.{self.quoted}"

    @property
    def dropped(self) -> Alias | None:
        """The side that has dropped it."""
        return None if self.is_new else next((a for a in _OTHER if a not in self.columns), None)

    @property
    def exposed(self) -> Alias | None:
        """The side whose values would be lost: the other one has dropped the column, or given it another type not by a
        cast.
        """
        if self.is_new:
            return None
        if self.dropped:
            return _OTHER[self.dropped]
        retyper = next((a for a in _OTHER if self.casts.get(a, ()) is None), None)
        if retyper is None or self.columns[_OTHER[retyper]].type == self.columns[retyper].type:
            return None
        return _OTHER[retyper]


def cells_of(ours: Side, theirs: Side, bases: Bases, evolution: Evolution) -> list[Cell]:
    """All columns of the two sides, with what became of them since the bases."""
    sides: dict[Alias, Side] = {"o": ours, "t": theirs}
    before = bases.columns
    found: list[Cell] = []
    for name in dict.fromkeys([*ours.columns, *theirs.columns]):
        columns = {alias: side.columns[name] for alias, side in sides.items() if name in side.columns}
        casts: dict[Alias, tuple[str, ...] | None] = {}
        trials: dict[Alias, tuple[str, ...]] = {}
        fills: dict[Alias, str] = {}
        mostly: set[Alias] = set()
        for alias, side in sides.items():
            if name not in side.columns:
                continue
            if name not in before:
                fill = evolution.fill(side.version, name)
                fills |= {alias: fill} if fill else {}
            elif side.columns[name].type != before[name].type:
                types = evolution.casts(side.version, name, before[name].type)
                other = sides[_OTHER[alias]].version
                casts[alias] = types if types and _all_cast(before[name], types, other, bases) else None
                direct = (side.columns[name].type,)
                if casts[alias] is None and _all_cast(before[name], direct, other, bases):
                    trials[alias] = direct
                    mostly |= {alias} if evolution.is_mostly_cast(side.version, name, bases) else set()
        if name in before:
            columns["b"] = before[name]
        has_no_cast = None in casts.values() and not _has_cast(columns, casts)
        found.append(Cell(len(found), name, columns, casts, fills, has_no_cast, trials, frozenset(mostly)))
    return found


def _all_cast(before: SourceColumn, types: Sequence[str], other: DatasetVersion, bases: Bases) -> bool:
    """Whether the casts do for all values that a merge has: those of the other side and of the bases."""
    sides = [other, *(bases.sides[number].version for number in bases.last)]
    return not any(
        merge_casts.problem(side.rows_query([before.name], ()), before.quoted, types)
        for side in sides
        if type_of(side, before.name) == before.type
    )


def _has_cast(columns: dict[Alias, SourceColumn], casts: dict[Alias, tuple[str, ...] | None]) -> bool:
    retyped = next(alias for alias, types in casts.items() if types is None)
    cast = f"SELECT NULL::{columns['b'].type}::{columns[retyped].type}"
    return queries.data_problem(cast, merge_casts.NO_CAST) is None


def fill_steps(cells: Iterable[Cell]) -> str:
    """SQL, to go behind WITH: what new columns were filled with; each step is followed by a comma."""
    return "".join(
        f"delc_fill_{alias}{cell.number} AS MATERIALIZED ({query}), "
        for cell in cells
        for alias, query in cell.fills.items()
    )


def agree(cells: Iterable[Cell], left: Alias, right: Alias) -> str:
    """SQL, never NULL: whether two rows, which are there, have the same values in the columns that both and the base
    have, and are in the same split.
    """
    pairs: list[tuple[str, str]] = []
    empty: list[str] = []
    for cell in cells:
        if cell.is_new or left not in cell.columns or right not in cell.columns:
            continue
        values = _compared(cell, left, right)
        if values:
            pairs.append(values)
        else:
            empty += [cell.of(left), cell.of(right)]
    tests = [images.same(pairs), *(f"pg_catalog.num_nonnulls({value}) OPERATOR(pg_catalog.=) 0" for value in empty)]
    return f"({' AND '.join(tests)} AND {left}.delc_split OPERATOR(pg_catalog.=) {right}.delc_split)"


def _compared(cell: Cell, left: Alias, right: Alias) -> tuple[str, str] | None:
    """The two values as one type; None where there is no such."""
    one, other = cell.columns[left].type, cell.columns[right].type
    if one == other:
        return cell.of(left), cell.of(right)
    base = cell.columns["b"].type
    retyped, plain = (left, right) if other == base else (right, left)
    types = cell.casts.get(retyped) or cell.trials.get(retyped)
    return (cell.of(retyped), merge_casts.through(cell.of(plain), types)) if types else None


def loses(cell: Cell) -> str | None:
    """SQL, never NULL: whether values would be lost that the exposed side changed or added; None where none can be."""
    alias = cell.exposed
    if alias is None:
        return None
    other = _OTHER[alias]
    is_cast = f" AND NOT ({is_gone('b')} AND {other}.delc_row IS NULL)" if other in cell.casts_mostly else ""
    return f"({alias}.delc_row IS NOT NULL AND NOT {images.same([(cell.of(alias), cell.of('b'))])}{is_cast})"


def loses_any(cells: Iterable[Cell]) -> str:
    """SQL, never NULL: whether values of any column would be lost."""
    return _any([test for cell in cells if (test := loses(cell))])


def holds_fills_alone(cells: Iterable[Cell], alias: Alias) -> str:
    """SQL, never NULL: whether a row has nothing in new columns but what they were filled with."""
    new = [cell for cell in cells if cell.is_new and alias in cell.columns]
    return f"(NOT {_any([_is_set(cell, alias) for cell in new])})"


def contradict(cells: Iterable[Cell]) -> str:
    """SQL, never NULL: whether rows of both sides, which are there, have different values in a column that both
    added.
    """
    return _any([_contradicts(cell) for cell in cells if cell.is_new and len(cell.columns) == len(_OTHER)])


def _is_set(cell: Cell, alias: Alias) -> str:
    """Whether a new column has something else than what it was filled with; a row that is new was not filled."""
    value = cell.of(alias)
    has_value = f"pg_catalog.num_nonnulls({value}) OPERATOR(pg_catalog.=) 1"
    fill = cell.filled(alias)
    if fill is None:
        return f"({has_value})"
    return f"CASE WHEN b.delc_row IS NOT NULL THEN NOT {images.same([(value, fill)])} ELSE {has_value} END"


def _contradicts(cell: Cell) -> str:
    ours, theirs = _is_set(cell, "o"), _is_set(cell, "t")
    differ = f"NOT {images.same([(cell.of('o'), cell.of('t'))])}"
    both = f"pg_catalog.num_nulls({cell.of('o')}, {cell.of('t')}) OPERATOR(pg_catalog.=) 0"
    return f"({differ} AND (({ours} AND {theirs}) OR (NOT ({ours}) AND NOT ({theirs}) AND {both})))"


def is_special(cell: Cell, shape: DatasetVersion) -> bool:
    """Whether a column of the result is not simply that of the row which wins."""
    types = [cell.columns[alias].type if alias in cell.columns else None for alias in WINNERS]
    return types != [type_of(shape, cell.name)] * len(types)


def merged_value(cell: Cell, to_type: str) -> str:
    """SQL for the value of a special column in the row of the result, by who won (pair.winner). A value that no cast
    can bring to the type of the result is NULL: see ``find_uncastable``.
    """
    if not cell.is_new and not cell.dropped:
        values = {alias: _recast(cell, alias, to_type) for alias in WINNERS}
        return _by_winner(values)
    base = cell.of("b") if not cell.is_new else cell.filled("o") or cell.filled("t") or f"NULL::{to_type}"
    if len([alias for alias in _OTHER if alias in cell.columns]) == 1:
        value = cell.of("o" if "o" in cell.columns else "t")
        return _by_winner({"o": value, "t": value, "b": base})
    ours, theirs = cell.of("o"), cell.of("t")
    set_by_theirs = (
        f"(({_is_set(cell, 't')}) AND NOT ({_is_set(cell, 'o')})"
        f" OR pg_catalog.num_nonnulls({ours}) OPERATOR(pg_catalog.=) 0"
        f" AND NOT ({_is_set(cell, 'o')}))"
    )
    decided = (
        f"WHEN o.delc_row IS NULL THEN {theirs} WHEN t.delc_row IS NULL THEN {ours}"
        f" WHEN NOT {_contradicts(cell)} THEN CASE WHEN {set_by_theirs} THEN {theirs} ELSE {ours} END"
    )
    return _by_winner({"o": f"CASE {decided} ELSE {ours} END", "t": f"CASE {decided} ELSE {theirs} END", "b": base})


def _by_winner(values: dict[Alias, str]) -> str:
    cases = " ".join(f"WHEN '{WINNERS[alias]}' THEN {value}" for alias, value in values.items())
    return f"CASE pair.winner {cases} END"


def _recast(cell: Cell, alias: Alias, to_type: str) -> str:
    if cell.columns[alias].type == to_type:
        return cell.of(alias)
    types = next((types for types in cell.casts.values() if types), None)
    if types is None and cell.has_no_cast:
        return f"NULL::{to_type}"
    return merge_casts.through(cell.of(alias), types or [to_type])


def _any(tests: Sequence[str]) -> str:
    return f"({' OR '.join(tests)})" if tests else "false"


def find_uncastable(
    cells: Iterable[Cell], shape: DatasetVersion, winners: Callable[[Alias, str], str]
) -> tuple[str, str, str] | None:
    """A column of which the rows that won have values that cannot be brought to its type in the result, that type, and
    why; None where there is none. ``winners`` gives the query for a (quoted) column in the rows of an alias that won.
    """
    for cell in cells:
        to_type = type_of(shape, cell.name)
        if to_type is None or None not in cell.casts.values():
            continue
        for alias, column in cell.columns.items():
            if column.type == to_type:
                continue
            rows = winners(alias, column.quoted)
            problem = merge_casts.problem(rows, column.quoted, [to_type]) if not cell.has_no_cast else None
            if cell.has_no_cast and queries.value(f"SELECT pg_catalog.count(r.{column.quoted}) FROM ({rows}) AS r"):
                problem = f"There is no cast from {column.type}."
            if problem:
                return cell.name, to_type, problem
    return None
