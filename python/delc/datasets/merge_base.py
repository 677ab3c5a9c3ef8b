"""What two histories had in common before they parted, row by row.

Where they have merged from one another there is more than one last common version. These are merged in turn, each pair
from what the two have in common, as git's recursive strategy does it; of a row that they changed in different ways
nothing is known then, so it is like neither side's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from delc.datasets import images, names, row_states, versions
from delc.datasets.columns import SourceColumn
from delc.datasets.difference import same_key
from delc.datasets.merge_columns import Columns, Side, side_of, together
from delc.datasets.row_search import Member
from delc.datasets.versions import DatasetVersion
from delc.server import queries


@dataclass
class Bases:
    """The last common versions of two versions, and those that they in turn have in common, by number."""

    members: Mapping[int, Member]
    common: int
    """The common versions, as the bits of an integer."""
    sides: dict[int, Side] = field(default_factory=dict)

    @property
    def last(self) -> list[int]:
        """The last common versions: no other common version comes from them."""
        return _last(self.members, self.common)

    @property
    def columns(self) -> Columns:
        """The columns of the last common versions."""
        return {name: column for number in self.last for name, column in self.sides[number].columns.items()}

    @property
    def all(self) -> Side:
        """All columns of the versions that are read."""
        return together(list(self.sides.values()))


def find(ours: DatasetVersion, theirs: DatasetVersion) -> Bases:
    """The last versions that both come from."""
    members = row_states.history(ours.dataset_id)
    bases = Bases(members, members[ours.number].lineage & members[theirs.number].lineage)
    _read_sides(bases, ours.name, bases.common)
    return bases


def steps(bases: Bases, keys: Sequence[SourceColumn]) -> str:
    """SQL, to go behind WITH and after delc_keyed, the keys that are asked about, numbered by delc_pair.

    It ends with delc_base: delc_pair, delc_row, delc_split and the columns of ``bases.all`` of the rows that there
    were; without delc_row where the last common versions have different ones.
    """
    writer = _Steps(bases, keys, bases.all)
    last = writer.fold(bases.common)
    return ", ".join([*writer.written, f"delc_base AS NOT MATERIALIZED (SELECT * FROM {last})"])


def is_gone(alias: str) -> str:
    """SQL for whether a row of delc_base is not there, though known not to be."""
    return f"{alias}.delc_pair IS NULL"


def _last(members: Mapping[int, Member], common: int) -> list[int]:
    candidates = [member for member in members.values() if common >> member.number & 1]
    return [
        member.number
        for member in candidates
        if not any(other is not member and other.comes_from(member.number) for other in candidates)
    ]


def _read_sides(bases: Bases, dataset: str, common: int) -> None:
    """The columns of all versions that ``_Steps.fold`` asks for."""
    seen = 0
    for number in _last(bases.members, common):
        if number not in bases.sides:
            bases.sides[number] = side_of(versions.find(names.VersionName(dataset, number)))
        lineage = bases.members[number].lineage
        if seen:
            _read_sides(bases, dataset, seen & lineage)
        seen |= lineage


@dataclass
class _Steps:
    bases: Bases
    keys: Sequence[SourceColumn]
    shape: Side
    written: list[str] = field(default_factory=list)
    known: dict[int, str] = field(default_factory=dict)

    def fold(self, common: int) -> str:
        """The name of the step with the rows that versions with these common versions had in common."""
        if common not in self.known:
            self.known[common] = self._fold(common)
        return self.known[common]

    def _fold(self, common: int) -> str:
        result, seen = "", 0
        for number in _last(self.bases.members, common):
            lineage = self.bases.members[number].lineage
            rows = self._version(number)
            result = self._merge(result, rows, self.fold(seen & lineage)) if result else rows
            seen |= lineage
        return result or self._add("nothing", f"SELECT * FROM {self._version(min(self.bases.sides))} WHERE false")

    def _version(self, number: int) -> str:
        """The rows of a version under the keys."""
        name = f"delc_version{number}"
        if not any(step.startswith(f"{name} ") for step in self.written):
            side = self.bases.sides[number]
            columns = [
                f"r.{column.quoted}" if own in side.columns else f"NULL::{column.type} AS {column.quoted}"
                for own, column in self.shape.columns.items()
            ]
            self.written.append(
                f"{name} AS MATERIALIZED (SELECT {', '.join(['k.delc_pair', 'r.delc_row', 'r.delc_split', *columns])}"
                f" FROM delc_keyed AS k JOIN ({side.version.rows_query()}) AS r ON {same_key(self.keys, 'k', 'r')})"
            )
        return name

    def _merge(self, a: str, b: str, base: str) -> str:
        """Three-way, where rows that both have changed in different ways are like no others."""
        decided = (
            f"SELECT k.delc_pair, CASE WHEN {self._alike('a', 'b')} THEN 'a' WHEN {self._alike('a', 'i')} THEN 'b'"
            f" WHEN {self._alike('b', 'i')} THEN 'a' ELSE 'neither' END AS winner FROM delc_keyed AS k"
            f" LEFT JOIN {a} AS a ON a.delc_pair = k.delc_pair LEFT JOIN {b} AS b ON b.delc_pair = k.delc_pair"
            f" LEFT JOIN {base} AS i ON i.delc_pair = k.delc_pair"
        )
        name = self._add("decided", decided)
        nothing = [f"NULL::{column.type}" for column in self.shape.columns.values()]
        unknown = ", ".join(["w.delc_pair", "NULL::pg_catalog.int8", 'NULL::pg_catalog."char"', *nothing])
        sides = " UNION ALL ".join(
            f"SELECT {alias}.* FROM {side} AS {alias} JOIN {name} AS w ON w.delc_pair = {alias}.delc_pair"
            f" WHERE w.winner = '{alias}'"
            for alias, side in (("a", a), ("b", b))
        )
        return self._add("merged", f"{sides} UNION ALL SELECT {unknown} FROM {name} AS w WHERE w.winner = 'neither'")

    def _alike(self, left: str, right: str) -> str:
        same = images.alike(list(self.shape.columns.values()), left, right)
        same = f"{same} AND {left}.delc_split OPERATOR(pg_catalog.=) {right}.delc_split"
        there = f"{left}.delc_row IS NOT NULL AND {right}.delc_row IS NOT NULL"
        return f"(({is_gone(left)} AND {is_gone(right)}) OR ({there} AND {same}))"

    def _add(self, what: str, text: str) -> str:
        name = f"delc_{what}{len(self.written)}"
        self.written.append(f"{queries.quote_identifier(name)} AS MATERIALIZED ({text})")
        return name
