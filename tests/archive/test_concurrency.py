"""Sessions at work side by side while tensors are stored in another way: right results, or an error to try again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from support.archives import NUMBERS, assert_sound
from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.sessions import PATIENCE_SECONDS, Running
from support.workplace import message, rows, value, workplace

SLOW = {"network": """'{"architecture": "mlp", "hidden": [48]}'""", "learning_rate": "0.0005"}
TUNED = {"network": "'mlp'", "learning_rate": "0.0001", "from_model": "'base'"}
PREDICTIONS = "SELECT array_agg(delc.predict_probability('{}', f, 'setosa') ORDER BY id) FROM flowers AS f"
SMALLEST = "SELECT delc.archive({}objective => 'smallest')"
ISOLATION = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

MODELS = (
    train("base", "flowers", epochs="4", checkpoint_every="1", **SLOW),
    train("tuned", "flowers", epochs="3", checkpoint_every="1", **TUNED),
)
Sessions = tuple[Connection, Connection, Connection]


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Sessions]:
    """Three sessions in one database."""
    with workplace(cluster, template, FLOWERS, dataset("flowers", "flowers", "species")) as first, ExitStack() as stack:
        one, two, three = (stack.enter_context(cluster.connect(first.info.dbname)) for _ in range(3))
        yield one, two, three


@pytest.fixture
def sessions(place: Sessions) -> Sessions:
    """The sessions, outside of any transaction, with a model, its checkpoints, and one that was trained on from it."""
    for session in place:
        session.execute("ROLLBACK")
    names = [name for (name,) in rows(place[0], "SELECT name FROM delc.models ORDER BY id DESC")]
    for name in names:
        place[0].execute("SELECT delc.drop_model(%s)", [name])
    for model in MODELS:
        place[0].execute(model)
    return place


def waits(watcher: Connection, statement: Running) -> None:
    """Until the statement waits for a lock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    while value(watcher, query, statement.pid) != "Lock":
        assert statement.is_running, statement.error
        assert time.monotonic() < deadline, "the statement waits for nothing"
        time.sleep(0.01)


@pytest.mark.parametrize("isolation", ISOLATION)
def test_a_transaction_from_before_an_archiving_goes_on_as_before(sessions: Sessions, isolation: str) -> None:
    old, other, _ = sessions
    old.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    before = rows(old, NUMBERS)
    other.execute(SMALLEST.format(""))
    assert rows(old, NUMBERS) == before
    expected = value(other, PREDICTIONS.format("tuned@1#2"))
    assert value(old, PREDICTIONS.format("tuned@1#2")) == expected
    old.execute("COMMIT")
    assert_sound(old)


@pytest.mark.parametrize("isolation", ISOLATION)
@pytest.mark.parametrize(
    "second",
    [
        SMALLEST.format("'tuned', "),
        SMALLEST.format("'base', "),
        "SELECT delc.round_snapshots('base', 'bfloat16')",
        "SELECT delc.drop_snapshot('base@1#2')",
        "SELECT delc.drop_model('tuned')",
    ],
)
def test_those_who_change_how_tensors_are_stored_take_turns(sessions: Sessions, isolation: str, second: str) -> None:
    first, other, watcher = sessions
    first.execute("BEGIN")
    first.execute(SMALLEST.format(""))
    other.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    statement = Running(other, second)
    waits(watcher, statement)
    first.execute("COMMIT")
    error = statement.ended()
    if isolation == "READ COMMITTED":
        assert error is None, error
        other.execute("COMMIT")
    else:
        assert error is not None
        assert error.sqlstate == "40001", message(error)
        other.execute("ROLLBACK")
        other.execute(second)
    assert_sound(watcher)


def test_two_that_would_make_a_circle_of_bases_do_not(sessions: Sessions) -> None:
    old, other, _ = sessions
    before = rows(other, NUMBERS)
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    old.execute("SELECT count(*) FROM delc.models")
    other.execute(SMALLEST.format("'tuned', "))
    with pytest.raises(psycopg.errors.SerializationFailure):
        old.execute(SMALLEST.format("'base', "))
    old.execute("ROLLBACK")
    assert rows(other, NUMBERS) == before
    assert_sound(other)


def test_archiving_waits_for_a_drop_and_leaves_the_model_out(sessions: Sessions) -> None:
    dropping, archiving, watcher = sessions
    dropping.execute("BEGIN")
    dropping.execute("SELECT delc.drop_model('tuned')")
    statement = Running(archiving, SMALLEST.format(""))
    waits(watcher, statement)
    dropping.execute("COMMIT")
    assert statement.ended() is None
    assert_sound(watcher)


@pytest.mark.parametrize("last", ["COMMIT", "ROLLBACK"])
def test_a_copy_of_what_is_about_to_go_is_an_error_to_try_again_or_right(sessions: Sessions, last: str) -> None:
    archiving, copying, watcher = sessions
    copying.execute(train("twin", "flowers", seed="3", epochs="2"))
    copying.execute(train("twin", "flowers", seed="3", epochs="2"))
    expected = value(watcher, PREDICTIONS.format("twin@2"))
    archiving.execute("BEGIN")
    archiving.execute(SMALLEST.format("'twin', "))  # stores what the two have in common once
    statement = Running(copying, "SELECT delc.copy_model('twin@2', 'copy')")
    waits(watcher, statement)
    archiving.execute(last)
    error = statement.ended()
    if error is not None:
        assert last == "COMMIT"
        assert error.sqlstate == "40001", message(error)
        copying.execute("SELECT delc.copy_model('twin@2', 'copy')")
    assert value(watcher, PREDICTIONS.format("copy")) == expected
    assert_sound(watcher)


def test_a_copy_that_came_first_keeps_its_tensors(sessions: Sessions) -> None:
    archiving, copying, watcher = sessions
    for _ in range(2):
        copying.execute(train("twin", "flowers", seed="3", epochs="2"))
    expected = value(watcher, PREDICTIONS.format("twin@2"))
    copying.execute("BEGIN")
    copying.execute("SELECT delc.copy_model('twin@2', 'copy')")
    statement = Running(archiving, SMALLEST.format("'twin', "))
    waits(watcher, statement)
    copying.execute("COMMIT")
    assert statement.ended() is None
    assert value(watcher, PREDICTIONS.format("copy")) == expected
    assert_sound(watcher)


def test_predictions_go_on_while_tensors_are_stored_anew_again_and_again(sessions: Sessions) -> None:
    first, changing, watcher = sessions
    queries = {model: PREDICTIONS.format(model) for model in ("base", "base@1#2", "tuned@1#1")}
    expected = {model: value(watcher, query) for model, query in queries.items()}
    numbers = rows(watcher, NUMBERS)
    statement = Running(changing, ";".join([SMALLEST.format(""), "SELECT delc.archive(objective => 'fastest')"] * 2))
    rounds = 0
    while statement.is_running or rounds == 0:
        assert {model: value(first, query) for model, query in queries.items()} == expected
        assert rows(watcher, NUMBERS) == numbers
        rounds += 1
    assert statement.ended() is None
    assert_sound(watcher)


@pytest.mark.parametrize("isolation", ISOLATION)
def test_training_goes_on_beside_archiving(sessions: Sessions, isolation: str) -> None:
    training, archiving, watcher = sessions
    training.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    training.execute(train("tuned", "flowers", epochs="1", **TUNED))
    archiving.execute(SMALLEST.format(""))
    training.execute(train("tuned", "flowers", epochs="1", **TUNED))
    training.execute("COMMIT")
    assert value(watcher, "SELECT count(*) FROM delc.model_versions") == 4
    assert_sound(watcher)
