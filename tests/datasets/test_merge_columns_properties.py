"""Merges of versions with different columns give what a simple model gives: a change of one side alone is in the
result, and what both changed is the same or a conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from support.cluster import Connection
from support.datasets import Row, value

KEYS = range(1, 5)
SIDES = ("a", "b")


@dataclass(frozen=True)
class Version:
    """``columns``: types by name. ``rows``: values by name, by key; a value of any type is a text here. ``fills``: what
    new columns were filled with. ``lineage``: all versions that it comes from, and itself.
    """

    columns: dict[str, str]
    rows: dict[int, Row]
    fills: dict[str, str] = field(default_factory=dict)
    parents: tuple[Version, ...] = ()

    @property
    def lineage(self) -> list[Version]:
        return [self, *(older for parent in self.parents for older in parent.lineage)]

    def comes_from(self, other: Version) -> bool:
        return any(version is other for version in self.lineage)


class Refused(Exception):
    """The columns do not go together."""


@dataclass
class Merge:
    """A three-way merge: conflicts by key, and the result with these resolved for one side."""

    ours: Version
    theirs: Version
    base: Version
    prefer: str
    conflicts: list[int] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)

    def run(self) -> Version:
        columns = self.columns()
        decided = {key: self.decide(key) for key in KEYS}
        for name in self.kept:
            columns[name] = self.base.columns[name]
        rows = {key: {n: self.cell(n, key, s) for n in columns} for key, s in decided.items() if s}
        fills = {**self.theirs.fills, **self.ours.fills}
        return Version(columns, rows, {n: f for n, f in fills.items() if n in columns}, (self.ours, self.theirs))

    def columns(self) -> dict[str, str]:
        found = {}
        for name in {**self.ours.columns, **self.theirs.columns}:
            mine, other, before = (v.columns.get(name) for v in (self.ours, self.theirs, self.base))
            if mine != other and before not in (mine, other):
                raise Refused
            result = other if before == mine else mine
            if result:
                found[name] = result
        return found

    def decide(self, key: int) -> Version | None:
        """The side whose row it is, or None where there is none."""
        if key not in self.ours.rows and key not in self.theirs.rows:
            return None
        winner = self.rule(key)
        if winner is not None:
            return winner if key in winner.rows else None
        self.conflicts.append(key)
        preferred = self.ours if self.prefer == "ours" else self.theirs
        self.kept |= set(self.lost(key, preferred))
        return preferred if key in preferred.rows else None

    def rule(self, key: int) -> Version | None:
        there = [side for side in (self.ours, self.theirs) if key in side.rows]
        if any(self.lost(key, side) for side in there):
            return None
        if len(there) == 1:
            (one,) = there
            other = self.theirs if one is self.ours else self.ours
            if key not in self.base.rows:
                return one
            is_alone = self.changed(key, one) or any(self.is_set(n, key, one) for n in self.new(one))
            return None if is_alone else other
        if any(self.contradict(name, key) for name in set(self.new(self.ours)) & set(self.new(self.theirs))):
            return None
        common = [n for n in self.base.columns if n in self.ours.columns and n in self.theirs.columns]
        if all(self.ours.rows[key][n] == self.theirs.rows[key][n] for n in common):
            return self.ours
        if not self.changed(key, self.ours):
            return self.theirs
        return None if self.changed(key, self.theirs) else self.ours

    def new(self, side: Version) -> list[str]:
        return [name for name in side.columns if name not in self.base.columns]

    def changed(self, key: int, side: Version) -> bool:
        if key not in self.base.rows:
            return True
        before, now = self.base.rows[key], side.rows[key]
        return any(now[name] != before[name] for name in before if name in now)

    def lost(self, key: int, side: Version) -> list[str]:
        """Columns that the other side dropped, with values of this one that are new since."""
        other = self.theirs if side is self.ours else self.ours
        if key not in side.rows:
            return []
        before = self.base.rows.get(key, {})
        dropped = [name for name in self.base.columns if name in side.columns and name not in other.columns]
        return [name for name in dropped if side.rows[key][name] != before.get(name)]

    def is_set(self, name: str, key: int, side: Version) -> bool:
        fill = side.fills.get(name) if key in self.base.rows else None
        return bool(side.rows[key][name] != fill)

    def contradict(self, name: str, key: int) -> bool:
        mine, other = self.ours.rows[key][name], self.theirs.rows[key][name]
        ours, theirs = self.is_set(name, key, self.ours), self.is_set(name, key, self.theirs)
        return mine != other and ours == theirs and (ours or None not in (mine, other))

    def cell(self, name: str, key: int, winner: Version) -> Any:
        has = [side for side in (self.ours, self.theirs) if name in side.columns]
        if name in self.base.columns and len(has) == 2:
            return winner.rows[key][name]
        has = [side for side in has if key in side.rows]
        if len(has) < 2:
            return has[0].rows[key][name] if has else None
        if self.contradict(name, key):
            return winner.rows[key][name]
        mine, other = self.ours.rows[key][name], self.theirs.rows[key][name]
        ours, theirs = self.is_set(name, key, self.ours), self.is_set(name, key, self.theirs)
        return other if not ours and (theirs or mine is None) else mine


def changed(version: Version, what: str, name: str, key: int, given: str | None) -> tuple[Version, str] | None:
    """The version after a change and the query (over its rows, r) or the function that makes it; None where it cannot
    be made, or changes nothing.
    """
    rows, columns = version.rows, version.columns
    after = replace(version, parents=(version,))
    has = name in columns
    others = [n for n in columns if n != name]
    if what == "add" and not has:
        fills = {**version.fills, **({name: given} if given and rows else {})}
        filled = {k: {**row, name: given} for k, row in rows.items()}
        literal = f"'{given}'" if given else "NULL"
        return (
            replace(after, columns={**columns, name: "integer"}, rows=filled, fills=fills),
            f"SELECT r.*, {literal}::integer AS {name} FROM r",
        )
    fills = {n: fill for n, fill in version.fills.items() if n != name}
    if what == "drop" and has:
        less = {k: {n: row[n] for n in others} for k, row in rows.items()}
        left = {n: columns[n] for n in others}
        return replace(after, columns=left, rows=less, fills=fills), f"SELECT {', '.join(['id', *others])} FROM r"
    if what == "retype" and has:
        to_type = "text" if columns[name] == "integer" else "integer"
        listed = ", ".join(["id", *others, f"{name}::{to_type} AS {name}"])
        return replace(after, columns={**columns, name: to_type}, fills=fills), f"SELECT {listed} FROM r"
    if what == "set" and has and key in rows and rows[key][name] != given:
        literal = f"'{given}'" if given else "NULL"
        now = {**rows, key: {**rows[key], name: given}}
        query = f"SELECT {key} AS id, {literal}::{columns[name]} AS {name}"
        return replace(after, rows=now), f"delc.correct_dataset(%s, $${query}$$)"
    if what == "append" and key not in rows:
        literals = ", ".join(f"'{given}'::{t} AS {n}" if given else f"NULL::{t} AS {n}" for n, t in columns.items())
        query = f"SELECT {key} AS id{', ' if columns else ''}{literals}"
        now = {**rows, key: dict.fromkeys(columns, given)}
        return replace(after, rows=now), f"delc.append_dataset(%s, $${query}$$)"
    if what == "remove" and key in rows:
        left_rows = {k: row for k, row in rows.items() if k != key}
        return replace(after, rows=left_rows), f"delc.correct_dataset(%s, 'SELECT {key} AS id', remove => true)"
    return None


def make(db: Connection, name: str, how: str) -> None:
    if how.startswith("delc."):
        db.execute(f"SELECT {how}".encode(), (name,))
        return
    text = value(db, "SELECT delc.dataset_query(%s)", name)
    db.execute("UPDATE delc.datasets SET source = %s WHERE name = 'm'", (f"WITH r AS ({text}) {how}",))
    db.execute("SELECT delc.commit_dataset(%s)", (name,))


def stored(db: Connection, name: str) -> tuple[dict[str, str], dict[int, Row]]:
    """The types and rows of a version, as the model has them."""
    text = value(db, "SELECT delc.dataset_query(%s)", name)
    types = db.execute("SELECT name, type FROM delc.describe_query(%s)", (text,)).fetchall()
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(text.encode()).fetchall()
    texts = [{n: None if v is None else str(v) for n, v in row.items()} for row in rows]
    return {n: t for n, t in types if n != "id"}, {int(row.pop("id") or 0): row for row in texts}


def base_of(ours: Version, theirs: Version) -> Version:
    """The last common version: two branches whose heads are merged have one."""
    common = [version for version in ours.lineage if theirs.comes_from(version)]
    last = [v for v in common if not any(other is not v and other.comes_from(v) for other in common)]
    assert all(version is last[0] for version in last)
    return last[0]


def merge(db: Connection, heads: dict[str, Version], into: str, source: str, prefer: str) -> None:
    ours, theirs = heads[into], heads[source]
    names = (f"m@{into}", f"m@{source}")
    if ours.comes_from(theirs) or theirs.comes_from(ours):
        db.execute("SELECT delc.merge_dataset(%s, %s)", names)
        heads[into] = ours if ours.comes_from(theirs) else theirs
        return
    model = Merge(ours, theirs, base_of(ours, theirs), prefer)
    try:
        result = model.run()
    except Refused:
        try:
            with db.transaction():
                db.execute("SELECT delc.merge_dataset(%s, %s)", names)
        except psycopg.errors.ObjectNotInPrerequisiteState:
            return
        raise AssertionError("columns that do not go together were merged") from None
    if model.conflicts:
        with db.transaction(force_rollback=True):
            found = db.execute("SELECT (key ->> 'id')::integer FROM delc.merge_dataset(%s, %s)", names).fetchall()
        assert [key for (key,) in found] == model.conflicts
        db.execute("SELECT delc.merge_dataset(%s, %s, prefer => %s)", (*names, prefer))
    else:
        ((version,),) = db.execute("SELECT dataset FROM delc.merge_dataset(%s, %s)", names).fetchall()
        assert version is not None
    heads[into] = result


keys, columns = st.sampled_from(list(KEYS)), st.sampled_from(["x", "y"])
values = st.sampled_from([None, "1", "2"])
whats = st.sampled_from(["add", "drop", "retype", "set", "set", "set", "append", "remove"])
changes = st.lists(st.tuples(whats, columns, keys, values), min_size=1, max_size=4)
rounds = st.tuples(changes, changes, st.sampled_from(SIDES), st.sampled_from(["ours", "theirs"]))


@given(st.lists(rounds, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_merges_give_what_the_model_gives(db: Connection, given_rounds: list[tuple[Any, Any, str, str]]) -> None:
    with db.transaction(force_rollback=True):
        source = "SELECT i AS id, i AS x FROM generate_series(1, 3) AS i"
        db.execute("SELECT delc.create_dataset('m', %s, 'id', validation => 0, test => 0)", (source,))
        first = Version({"x": "integer"}, {i: {"x": str(i)} for i in range(1, 4)})
        heads = dict.fromkeys(SIDES, first)
        for side in SIDES:
            db.execute("SELECT delc.branch_dataset('m@1', %s)", (side,))
        for *by_side, into, prefer in given_rounds:
            for side, made in zip(SIDES, by_side, strict=True):
                for what, name, key, given_value in made:
                    found = changed(heads[side], what, name, key, given_value)
                    if found is not None:
                        heads[side], how = found
                        make(db, f"m@{side}", how)
            merge(db, heads, into, "b" if into == "a" else "a", prefer)
            for side in SIDES:
                assert stored(db, f"m@{side}") == (heads[side].columns, heads[side].rows)
