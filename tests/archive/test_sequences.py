"""Whatever is done to models in whatever order, archiving changes no number and leaves no loose end."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from support.archives import NUMBERS, assert_sound
from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import rolled_back, rows, value, workplace

NETWORK = """'{"architecture": "mlp", "hidden": [24]}'"""
SLOW = {"network": NETWORK, "learning_rate": "0.0005"}
MODELS = ("a", "b", "c")
REFUSED = {"2BP01", "42704", "22023", "55000"}
"""SQLSTATEs of what cannot be done to the models that there are."""

models = st.sampled_from(MODELS)
seeds = st.integers(0, 2)
few = st.integers(1, 2)


@st.composite
def archivings(draw: st.DrawFn) -> str:
    scope = draw(st.sampled_from(["NULL", *(f"'{model}'" for model in MODELS), "'%'"]))
    objective = draw(st.sampled_from(["budget", "smallest", "smallest", "fastest"]))
    method = draw(st.sampled_from(["sub", "sub", "planes", "xor"]))
    longest = draw(st.integers(0, 5))
    halves = draw(st.sampled_from(["false", "false", "true"]))
    ways = f"method => '{method}', longest_chain => {longest}, halves => {halves}"
    return f"SELECT delc.archive({scope}, '{objective}', {ways})"


steps = st.one_of(
    archivings(),
    archivings(),
    st.builds(lambda a, s: train(a, "flowers", seed=str(s), epochs="3", checkpoint_every="1", **SLOW), models, seeds),
    st.builds(
        lambda a, b: train(a, "flowers", network="'mlp'", from_model=f"'{b}'", epochs="2", checkpoint_every="1",
                           learning_rate="0.0001"), models, models,
    ),
    st.builds(lambda a, b: f"SELECT delc.copy_model('{a}', '{b}')", models, models),
    st.builds(lambda a, b: f"SELECT delc.merge_models('c', ARRAY['{a}', '{b}'])", models, models),
    st.builds(lambda a, n, e: f"SELECT delc.drop_snapshot('{a}@{n}#{e}')", models, few, few),
    st.builds(lambda a, n: f"SELECT delc.drop_model('{a}@{n}')", models, st.integers(1, 3)),
    st.builds(lambda a: f"SELECT delc.prune_model('{a}', 1, 0, dry_run => false)", models),
    st.builds(lambda a, b: f"SELECT delc.round_snapshots('{a}', 'uniform', {b})", models, st.integers(2, 8)),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("a", "flowers", epochs="4", checkpoint_every="1", **SLOW),
        train("b", "flowers", network="'mlp'", from_model="'a'", epochs="3", checkpoint_every="1",
              learning_rate="0.0001"),
    ]  # fmt: skip
    with workplace(cluster, template, *statements) as connection:
        yield connection


@settings(max_examples=15, deadline=None)
@given(sequence=st.lists(steps, min_size=3, max_size=8))
def test_no_number_changes_but_those_that_are_rounded(place: Connection, sequence: list[str]) -> None:
    with rolled_back(place) as db:
        for step in sequence:
            note(step)
            before = numbers(db)
            changes = done(db, step)
            after = numbers(db)
            if not ("round_snapshots" in step and changes):
                assert {key: digest for key, digest in after.items() if key in before and digest != before[key]} == {}
            if "archive(" in step:
                assert after == before
        assert_sound(db)


@settings(max_examples=6, deadline=None)
@given(order=st.permutations(MODELS), longest=st.integers(0, 3), method=st.sampled_from(["sub", "planes"]))
def test_chains_stay_within_bounds_in_whatever_order_models_are_archived(
    place: Connection, order: list[str], longest: int, method: str
) -> None:
    with rolled_back(place) as db:
        db.execute("SELECT delc.copy_model('b', 'c')")
        db.execute(train("c", "flowers", network="'mlp'", from_model="'c'", epochs="3", checkpoint_every="1",
                         learning_rate="0.0001"))  # fmt: skip
        before = numbers(db)
        for model in order:
            call = f"SELECT delc.archive('{model}', 'smallest', method => '{method}', longest_chain => {longest})"
            assert done(db, call)
        assert value(db, "SELECT max(hops) FROM delc.stored_tensors") <= longest
        assert numbers(db) == before
        assert_sound(db)


def numbers(db: Connection) -> dict[tuple[int, int, str], str]:
    return {(version, epoch, name): digest for version, epoch, name, digest in rows(db, NUMBERS)}


def done(db: Connection, step: str) -> bool:
    """Whether it could be done to the models that there are; other errors are the test's."""
    try:
        with db.transaction():
            db.execute(step)
    except psycopg.Error as error:
        if error.sqlstate not in REFUSED:
            raise
        return False
    return True
