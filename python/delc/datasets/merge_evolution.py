"""What a side of a merge did to its columns since the two parted: which casts gave a column its type, and what new
columns were filled with.

Versions keep values, not the commands that made them. So the history is asked: where a column got another type, whether
its values are those of a cast; where it was added, whether all rows that there were got the same value, as ADD COLUMN …
DEFAULT does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from delc.datasets import images, merge_casts, names, versions
from delc.datasets.columns import SourceColumn
from delc.datasets.difference import same_key
from delc.datasets.merge_base import Bases
from delc.datasets.merge_columns import side_of, type_of
from delc.datasets.row_search import Member
from delc.datasets.versions import DatasetVersion
from delc.server import interrupts, queries

Step = tuple[DatasetVersion, DatasetVersion]
"""A version, and one made from it that has a column otherwise."""


@dataclass(frozen=True)
class Evolution:
    """The history that a merge looks back on, to the versions that both sides have in ``common`` (bits)."""

    dataset: str
    members: Mapping[int, Member]
    common: int
    keys: Sequence[SourceColumn]
    _versions: dict[int, DatasetVersion] = field(default_factory=dict)

    def casts(self, side: DatasetVersion, name: str, before: str) -> tuple[str, ...] | None:
        """The types that a column went through from the type ``before`` to that of a side, where each of them came of a
        cast of all values; None where one did not, or where the column was away meanwhile.
        """
        steps = self._steps(side, name)
        if not steps or type_of(steps[-1][0], name) != before:
            return None
        if any(type_of(parent, name) is None for parent, _ in steps):
            return None
        if not all(self._is_cast(parent, child, name) for parent, child in steps):
            return None
        return tuple(str(type_of(child, name)) for _, child in reversed(steps))

    def is_mostly_cast(self, side: DatasetVersion, name: str, bases: Bases) -> bool:
        """Whether more than half of the values that a side has where the last common version had one too are what a
        cast of these gives. The cast is known to be possible for all of them.
        """
        if len(bases.last) != 1:
            return False
        interrupts.check()
        base, column = bases.sides[bases.last[0]].version, queries.quote_identifier(name)
        cast = merge_casts.through(f"p.{column}", [str(type_of(side, name))])
        found: bool = queries.value(
            f"SELECT 2 * pg_catalog.count(*) FILTER (WHERE {images.same([(cast, f'c.{column}')])})"
            " OPERATOR(pg_catalog.>) pg_catalog.count(*)"
            f" FROM ({base.rows_query([*base.key_columns, name], ())}) AS p"
            f" JOIN ({side.rows_query([*side.key_columns, name], ())}) AS c ON {same_key(self.keys, 'p', 'c')}"
            f" WHERE pg_catalog.num_nonnulls(p.{column}) OPERATOR(pg_catalog.=) 1"
        )
        return found

    def fill(self, side: DatasetVersion, name: str) -> str | None:
        """SQL for the value that all rows had when a side added a column; None where they had different ones, or
        nothing.
        """
        steps = self._steps(side, name)
        if not steps or type_of(steps[0][0], name) is not None:
            return None
        parent, child = steps[0]
        column = queries.quote_identifier(name)
        rows = (
            f"SELECT c.{column} FROM ({child.rows_query([*child.key_columns, name], ())}) AS c"
            f" JOIN ({parent.rows_query(parent.key_columns, ())}) AS p ON {same_key(self.keys, 'p', 'c')}"
        )
        interrupts.check()
        is_one = queries.value(
            f"WITH f AS MATERIALIZED ({rows}), one AS (SELECT f.{column} FROM f LIMIT 1)"
            f" SELECT pg_catalog.bool_and({images.same([(f'f.{column}', f'one.{column}')])}) FROM f CROSS JOIN one"
        )
        return f"({rows} LIMIT 1)" if is_one else None

    def _steps(self, side: DatasetVersion, name: str) -> list[Step]:
        """Where a column became what it is in a side, newest first, until a common version or one without the column.
        Of a merge, the parent that has the column alike is followed.
        """
        steps: list[Step] = []
        number, child = side.number, side
        while not self.common >> number & 1 and self.members[number].parents:
            parents = [self._version(parent) for parent in self.members[number].parents]
            alike = [parent for parent in parents if type_of(parent, name) == type_of(child, name)]
            parent = (alike or parents)[0]
            if not alike:
                steps.append((parent, child))
            if type_of(parent, name) is None:
                break
            number, child = parent.number, parent
        return steps

    def _version(self, number: int) -> DatasetVersion:
        if number not in self._versions:
            self._versions[number] = side_of(versions.find(names.VersionName(self.dataset, number))).version
        return self._versions[number]

    def _is_cast(self, parent: DatasetVersion, child: DatasetVersion, name: str) -> bool:
        """Whether the rows that both versions have hold what a cast of the older value gives."""
        interrupts.check()
        column = queries.quote_identifier(name)
        types = [str(type_of(child, name))]
        old = parent.rows_query([*parent.key_columns, name], ())
        if merge_casts.problem(old, column, types):
            return False
        value = merge_casts.through(f"p.{column}", types)
        found: bool = queries.value(
            f"SELECT NOT EXISTS (SELECT FROM ({old}) AS p"
            f" JOIN ({child.rows_query([*child.key_columns, name], ())}) AS c ON {same_key(self.keys, 'p', 'c')}"
            f" WHERE NOT {images.same([(value, f'c.{column}')])})"
        )
        return found
