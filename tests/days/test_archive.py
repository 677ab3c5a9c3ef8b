"""Bad days of archived models: cancelled, rolled back, killed, dumped and restored, read on a replica."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from support.archives import NUMBERS, assert_sound
from support.cluster import Cluster, Connection, temporary_cluster
from support.examples import FLOWERS, dataset, train
from support.sessions import STOPS_WITHIN_SECONDS, Running, recovered, wait_for_progress
from support.workplace import failure, rolled_back, rows, value, workplace

SLOW = {"network": """'{"architecture": "mlp", "hidden": [256, 256]}'""", "learning_rate": "0.0005"}
MODELS = (
    FLOWERS,
    dataset("flowers", "flowers", "species"),
    train("base", "flowers", epochs="5", checkpoint_every="1", **SLOW),
    train("tuned", "flowers", epochs="2", checkpoint_every="1", network="'mlp'", learning_rate="0.0001",
          from_model="'base'"),
)  # fmt: skip
SMALLEST = "SELECT delc.archive(objective => 'smallest')"
HALVES = "SELECT delc.archive(objective => 'smallest', halves => true)"
FASTEST = "SELECT delc.archive(objective => 'fastest')"
CHAINS = "SELECT id, base_id, second_base_id, hops, encoding FROM delc.stored_tensors ORDER BY 1"
STORED = "SELECT id, base_id, encoding, md5(delc.encoded(value)) FROM delc.stored_tensors ORDER BY 1"
LARGE = STORED.replace("ORDER BY", "WHERE elements > 256 ORDER BY")  # the text of smaller ones shows their numbers
PREDICTIONS = "SELECT array_agg(delc.predict_probability('tuned@1#1', f, 'setosa') ORDER BY id) FROM flowers AS f"
CHANGES = (
    SMALLEST,
    FASTEST,
    "SELECT delc.round_snapshots('base', 'bfloat16')",
    "SELECT delc.drop_snapshot('base@1#2')",
    "SELECT delc.drop_model('tuned')",
)


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Models that are stored as chains of differences from half planes, some of them foretold from two bases."""
    with workplace(cluster, template, *MODELS, HALVES) as connection:
        assert value(connection, "SELECT max(hops) FROM delc.stored_tensors") > 2
        assert value(connection, "SELECT count(second_base_id) FROM delc.stored_tensors") > 0
        connection.commit()
        connection.autocommit = True
        yield connection


@pytest.mark.parametrize("change", CHANGES[1:])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_what_is_cancelled_leaves_everything_as_it_was(
    cluster: Cluster, place: Connection, change: str, share: float
) -> None:
    before = rows(place, STORED)
    with cluster.connect(place.info.dbname) as victim:
        began = time.monotonic()
        with victim.transaction(force_rollback=True):
            victim.execute(change)
        moment = share * (time.monotonic() - began)
        statement = Running(victim, f"BEGIN; {change}")
        time.sleep(moment)
        place.execute("SELECT pg_cancel_backend(%s)", [statement.pid])
        statement.ended(STOPS_WITHIN_SECONDS)
        victim.execute("ROLLBACK")
    assert rows(place, STORED) == before
    assert_sound(place)


@pytest.mark.parametrize("change", CHANGES[1:])
def test_what_is_rolled_back_leaves_everything_as_it_was(cluster: Cluster, place: Connection, change: str) -> None:
    before = rows(place, STORED)
    with cluster.connect(place.info.dbname, autocommit=False) as db:
        with rolled_back(db):
            db.execute(change)
            assert_sound(db)
        assert rows(db, STORED) == before


def test_killed_sessions_leave_everything_as_it_was() -> None:
    with temporary_cluster() as cluster:
        with cluster.connect() as db:
            for statement in ("CREATE EXTENSION delc CASCADE", *MODELS):
                db.execute(statement)
            before, stored = rows(db, NUMBERS), rows(db, STORED)
        with cluster.connect() as watcher, cluster.connect(autocommit=False) as victim:
            archiving = Running(victim, SMALLEST)
            wait_for_progress(watcher, archiving, "storing tensors")
            os.kill(archiving.pid, signal.SIGKILL)
            archiving.ended()
            survivor = recovered(cluster, watcher)
        assert rows(survivor, STORED) == stored
        survivor.execute(SMALLEST)
        stored = rows(survivor, STORED)
        victim = cluster.connect(autocommit=False)
        for change in CHANGES[1:]:
            victim.execute(change)
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        last = recovered(cluster, survivor)
        with last:
            assert rows(last, STORED) == stored
            assert rows(last, NUMBERS) == before
            assert_sound(last)


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_a_restored_dump_holds_the_same_numbers_and_is_archived_on(
    cluster: Cluster, place: Connection, form: str
) -> None:
    name = f"delc_restored_{form}"
    cluster.create_database(name)
    if form == "plain":
        cluster.psql(name, cluster.pg_dump(place.info.dbname))
    else:
        dump = cluster.data.parent / "archived.dump"
        cluster.run_as_server_user(cluster.client("pg_dump", place.info.dbname, "-Fc", "-f", str(dump)))
        cluster.run_as_server_user(cluster.client("pg_restore", name, "--exit-on-error", str(dump)))
    with cluster.connect(name) as db:
        assert rows(db, CHAINS) == rows(place, CHAINS)
        assert rows(db, LARGE) == rows(place, LARGE)
        assert rows(db, NUMBERS) == rows(place, NUMBERS)
        assert value(db, PREDICTIONS) == value(place, PREDICTIONS)
        db.execute(train("base", "flowers", epochs="1", network="'mlp'", from_model="'base'"))
        before = rows(db, NUMBERS)
        db.execute("SELECT delc.archive(objective => 'smallest', method => 'planes')")
        db.execute("SELECT delc.drop_snapshot('base@1#2')")
        assert set(rows(db, NUMBERS)) < set(before)
        assert_sound(db)
    cluster.drop_database(name)


def test_a_replica_reads_archived_models(cluster: Cluster, place: Connection) -> None:
    with cluster.standby() as standby:
        cluster.wait_for_standby(standby)
        with standby.connect(place.info.dbname) as replica:
            assert rows(replica, NUMBERS) == rows(place, NUMBERS)
            assert value(replica, PREDICTIONS) == value(place, PREDICTIONS)
            assert rows(replica, "SELECT * FROM delc.verify_archive()") == []
            shared = [path.name for path in (standby.data / "base/pgsql_tmp").iterdir()]
            assert any(name.startswith("pgsql_tmp_delc_") for name in shared)
            assert failure(replica, SMALLEST).sqlstate in ("25006", "55000")
            assert value(replica, PREDICTIONS) == value(place, PREDICTIONS)
