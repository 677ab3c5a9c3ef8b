"""Merges give what a simple model of three-way merging gives, whatever was merged before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.datasets import read, value

Rows = dict[int, object]
UNKNOWN = "unknown"
KEYS = range(1, 4)


@dataclass
class Version:
    rows: Rows
    parents: tuple[int, ...]


@dataclass
class Model:
    """Versions by number, and what each branch has as its newest."""

    versions: dict[int, Version] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)

    def lineage(self, number: int) -> set[int]:
        return {number}.union(*(self.lineage(parent) for parent in self.versions[number].parents))

    def base(self, common: set[int]) -> Rows:
        """What versions had in common, as git's recursive strategy finds it."""
        last = [n for n in sorted(common) if not any(o != n and n in self.lineage(o) for o in common)]
        rows, seen = dict(self.versions[last[0]].rows), self.lineage(last[0])
        for number in last[1:]:
            rows = merged(rows, self.versions[number].rows, self.base(seen & self.lineage(number)), lambda *_: UNKNOWN)
            seen |= self.lineage(number)
        return rows

    def merge(self, into: str, source: str, number: int) -> bool:
        """Merges a branch; conflicts go to the branch merged into. Whether there was anything to merge."""
        ours, theirs = self.heads[into], self.heads[source]
        if theirs in self.lineage(ours):
            return False
        if ours in self.lineage(theirs):
            self.heads[into] = theirs
            return False
        base = self.base(self.lineage(ours) & self.lineage(theirs))
        rows = merged(self.versions[ours].rows, self.versions[theirs].rows, base, lambda mine, _: mine)
        self.versions[number] = Version(rows, (ours, theirs))
        self.heads[into] = number
        return True


def merged(ours: Rows, theirs: Rows, base: Rows, conflict: Callable[[object, object], object]) -> Rows:
    found: Rows = {}
    for key in KEYS:
        mine, other, before = ours.get(key), theirs.get(key), base.get(key)
        if mine == other and mine != UNKNOWN:
            found[key] = mine
        elif mine == before and before != UNKNOWN:
            found[key] = other
        elif other == before and before != UNKNOWN:
            found[key] = mine
        else:
            found[key] = conflict(mine, other)
    return {key: held for key, held in found.items() if held is not None}


branches = st.sampled_from(["a", "b", "c"])
change = st.tuples(st.just("change"), branches, st.sampled_from(list(KEYS)), st.integers(1, 3))
removal = st.tuples(st.just("remove"), branches, st.sampled_from(list(KEYS)), st.just(0))
merge = st.tuples(st.just("merge"), branches, branches, st.just(0))


@given(st.lists(st.one_of(change, removal, merge, merge), min_size=4, max_size=14))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_merges_give_what_the_model_gives(db: Connection, steps: list[tuple[str, str, object, int]]) -> None:
    with db.transaction(force_rollback=True):
        db.execute("SELECT delc.create_dataset('m', 'SELECT i AS id, 1 AS x FROM generate_series(1, 3) AS i', 'id')")
        model = Model({1: Version({1: 1, 2: 1, 3: 1}, ())})
        for branch in "abc":
            db.execute("SELECT delc.branch_dataset('m@1', %s)", (branch,))
            model.heads[branch] = 1
        for what, branch, other, x in steps:
            number = value(db, "SELECT last_number + 1 FROM delc.datasets")
            name, head = f"m@{branch}", model.versions[model.heads[branch]].rows
            if what == "merge":
                db.execute("SELECT delc.merge_dataset(%s, %s, prefer => 'ours')", (name, f"m@{other}"))
                model.merge(branch, str(other), number)
            else:
                assert isinstance(other, int)
                after = {key: held for key, held in head.items() if key != other} | ({other: x} if x else {})
                if after == head:
                    continue
                row = f"SELECT {other} AS id" + (f", {x} AS x" if x else "")
                if x and other not in head:
                    db.execute("SELECT delc.append_dataset(%s, %s)", (name, row))
                else:
                    db.execute("SELECT delc.correct_dataset(%s, %s, remove => %s)", (name, row, not x))
                model.versions[number] = Version(after, (model.heads[branch],))
                model.heads[branch] = number
            assert dict(read(db, name)) == model.versions[model.heads[branch]].rows
