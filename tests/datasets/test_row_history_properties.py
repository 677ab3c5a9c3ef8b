"""Whatever happens to a data set, the history of every row leads to what each version holds."""

from __future__ import annotations

from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.datasets import call, create, value

KEYS = range(1, 7)
BRANCHES = ("main", "b")
Operation = tuple[str, str, frozenset[int], int]

operations = st.lists(
    st.tuples(
        st.sampled_from(["change", "remove", "append", "merge", "split", "revert"]),
        st.sampled_from(BRANCHES),
        st.frozensets(st.sampled_from(KEYS), min_size=1, max_size=3),
        st.integers(0, 2),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations, st.integers(0, 2))
def test_histories_lead_to_the_content_of_every_version(db: Connection, steps: list[Operation], pruned: int) -> None:
    with db.transaction(force_rollback=True):
        db.execute("CREATE TABLE few AS SELECT i AS id, 0 AS x FROM generate_series(1, 4) AS i")
        create(db, "few", "few", key="id", test=0.3)
        db.execute("SELECT delc.branch_dataset('few', 'b')")
        for step in steps:
            apply(db, step)
        if pruned:
            db.execute("SELECT * FROM delc.prune_dataset('few', keep_last => %s)", (pruned,))
        contents = {number: content(db, f"few@{number}") for number in numbers(db)}
        parents = dict(db.execute("SELECT version, parents[1] FROM delc.dataset_log").fetchall())
        for key in KEYS:
            changes = history(db, "few", key)
            for number, rows in contents.items():
                assert told(changes, parents, number) == rows.get(key)
                own = history(db, f"few@{number}", key)
                assert told(own, parents, number) == rows.get(key)


def apply(db: Connection, step: Operation) -> None:
    """Does it where it can be done; what is refused changes nothing."""
    what, branch, keys, x = step
    name = f"few@{branch}"
    rows = f"SELECT id, {x} AS x FROM unnest('{{{','.join(map(str, keys))}}}'::integer[]) AS id"
    try:
        with db.transaction():
            if what == "change":
                call(db, "correct_dataset", name=name, query=rows)
            elif what == "remove":
                call(db, "correct_dataset", name=name, query=rows, remove=True)
            elif what == "append":
                call(db, "append_dataset", name=name, query=rows)
            elif what == "split":
                call(db, "split_dataset", name=name, test=0.3, seed=x)
            elif what == "revert":
                call(db, "revert_dataset", name=name, version="1")
            else:
                other = BRANCHES[1 - BRANCHES.index(branch)]
                prefer = ("ours", "theirs", "base")[x]
                call(db, "merge_dataset", target=name, source=f"few@{other}", prefer=prefer)
    except (psycopg.errors.DataException, psycopg.errors.InvalidParameterValue):
        pass  # a key that is there already, or is not


def numbers(db: Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT version FROM delc.dataset_log ORDER BY 1").fetchall()]


def content(db: Connection, version: str) -> dict[int, tuple[str, int]]:
    """Split and value of every row, by key."""
    found = {}
    for split in ("train", "validation", "test"):
        text = value(db, "SELECT delc.dataset_query(%s, %s)", version, split)
        found |= {key: (split, x) for key, x in db.execute(text.encode()).fetchall()}
    return found


def history(db: Connection, dataset: str, key: int) -> dict[int, Any]:
    """What each version that changed the row made of it."""
    query = "SELECT version, split, (state ->> 'x')::integer FROM delc.row_history(%s, to_jsonb(%s::integer))"
    rows = db.execute(query, (dataset, key)).fetchall()
    return {int(version.split("@")[1]): None if x is None else (split, x) for version, split, x in rows}


def told(changes: dict[int, Any], parents: dict[int, int | None], number: int | None) -> Any:
    """The row in a version, by the last change on the way along first parents."""
    while number is not None and number not in changes:
        number = parents[number]
    return None if number is None else changes[number]
