"""Parameters that sessions share: files among PostgreSQL's temporary ones, mapped by all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import value, workplace

PREDICTIONS = "SELECT array_agg(delc.predict('wide', f) ORDER BY id) FROM flowers AS f"


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """A model with one parameter that is worth sharing, 300 × 300 numbers."""
    wide = train("wide", "flowers", network="""'{"architecture": "mlp", "hidden": [300, 300]}'""", epochs="1")
    with workplace(cluster, template, FLOWERS, dataset("flowers", "flowers", "species"), wide) as connection:
        yield connection


def files(connection: Connection) -> list[Path]:
    folder = Path(value(connection, "SHOW data_directory")) / "base/pgsql_tmp"
    oid = value(connection, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return sorted(folder.glob(f"pgsql_tmp_delc_{oid}_*"))


@pytest.fixture(autouse=True)
def no_files(place: Connection) -> None:
    for file in files(place):
        file.unlink()


def predict(cluster: Cluster, place: Connection) -> list[str]:
    """What a session says that has nothing of the model in memory."""
    with cluster.connect(place.info.dbname) as session:
        found: list[str] = value(session, PREDICTIONS)
        return found


def test_a_prediction_leaves_large_parameters_for_other_sessions(cluster: Cluster, place: Connection) -> None:
    predict(cluster, place)
    (file,) = files(place)
    assert file.stat().st_size == 4 * 300 * 300 + 24
    assert file.stat().st_mode & 0o077 == 0


def test_the_next_session_predicts_the_same_from_the_file(cluster: Cluster, place: Connection) -> None:
    first = predict(cluster, place)
    (file,) = files(place)
    made = file.stat().st_ino
    assert predict(cluster, place) == first
    assert files(place)[0].stat().st_ino == made


def test_two_sessions_map_the_same_pages(cluster: Cluster, place: Connection) -> None:
    with cluster.connect(place.info.dbname) as one, cluster.connect(place.info.dbname) as other:
        value(one, PREDICTIONS)
        value(other, PREDICTIONS)
        (file,) = files(place)
        for session in (one, other):
            maps = Path(f"/proc/{session.info.backend_pid}/maps").read_text()
            assert f" {file.stat().st_ino} " in maps


def test_a_damaged_file_is_made_anew(cluster: Cluster, place: Connection) -> None:
    first = predict(cluster, place)
    (file,) = files(place)
    sound = file.read_bytes()
    file.write_bytes(sound[:1000] + bytes([sound[1000] ^ 1]) + sound[1001:])
    assert predict(cluster, place) == first
    assert file.read_bytes() == sound


def test_what_is_not_committed_is_nobodys(cluster: Cluster, place: Connection) -> None:
    with cluster.connect(place.info.dbname, autocommit=False) as session:
        again = """'{"architecture": "mlp", "hidden": [300, 300]}'"""
        session.execute(train("wide", "flowers", network=again, epochs="2", seed="5"))
        own = value(session, PREDICTIONS)
        assert len(own) == 150
        mine = {file.name for file in files(place)}
        predict(cluster, place)
        assert len({file.name for file in files(place)} - mine) == 1
        session.rollback()


@pytest.fixture(scope="module")
def several(place: Connection) -> Connection:
    """Four models with such a parameter, wide1 to wide4."""
    for seed in range(1, 5):
        network = """'{"architecture": "mlp", "hidden": [300, 300]}'"""
        place.execute(train(f"wide{seed}", "flowers", network=network, epochs="1", seed=str(seed)))
    place.commit()
    return place


@pytest.mark.parametrize("size", ["0", "'1MB'"])
def test_the_setting_bounds_them(cluster: Cluster, several: Connection, size: str) -> None:
    with cluster.connect() as administration:
        administration.execute(f"ALTER SYSTEM SET delc.cache_size = {size}")
        administration.execute("SELECT pg_reload_conf()")
        try:
            with cluster.connect(several.info.dbname) as session:
                for seed in range(1, 5):
                    session.execute(f"SELECT delc.predict('wide{seed}', f) FROM flowers AS f LIMIT 1".encode())
            assert sum(file.stat().st_size for file in files(several)) <= (0 if size == "0" else 2**20)
        finally:
            administration.execute("ALTER SYSTEM RESET delc.cache_size")
            administration.execute("SELECT pg_reload_conf()")
