"""The private server: its own folder, a socket and nothing else; started once, found again, stopped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support.cluster import ROOT, find_bindir, temporary_folder


def server(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"DELC_STATE": str(state), "DELC_PORT": "5499", "PG_CONFIG": str(find_bindir() / "pg_config")}
    command = [ROOT / "setup/server.sh", *arguments]
    return subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def environment(state: Path) -> dict[str, str]:
    """What a shell sees after eval "$(server.sh env)"."""
    script = f"{server(state, 'env').stdout}\nenv -0"
    printed = subprocess.run(["bash", "-c", script], env={}, check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in printed.split("\0") if line.startswith("PG"))


def connect(state: Path) -> psycopg.Connection[tuple[object, ...]]:
    found = environment(state)
    return psycopg.connect(
        host=found["PGHOST"], port=found["PGPORT"], user=found["PGUSER"], dbname=found["PGDATABASE"], autocommit=True
    )


def value(state: Path, query: str) -> object:
    with connect(state) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """The state folder of a private server that runs."""
    with temporary_folder("delc-private-") as folder:
        folder.chmod(0o755)
        started = server(folder / "state", "up")
        try:
            assert started.returncode == 0, started.stderr
            yield folder / "state"
        finally:
            server(folder / "state", "down")


def test_the_exports_lead_to_a_database_with_the_extension(state: Path) -> None:
    assert value(state, "SELECT extversion FROM pg_extension WHERE extname = 'delc'") == "0.1.0"


def test_exports_survive_a_space_in_the_folders_name(tmp_path: Path) -> None:
    assert environment(tmp_path / "a folder")["PGHOST"] == f"{tmp_path}/a folder/socket"


def test_no_network_is_listened_to(state: Path) -> None:
    assert value(state, "SHOW listen_addresses") == ""


def test_nobody_else_may_enter_the_sockets_folder(state: Path) -> None:
    assert (state / "socket").stat().st_mode & 0o777 == 0o700


def test_a_second_up_leaves_the_server_running_as_it_is(state: Path) -> None:
    before = value(state, "SELECT pg_postmaster_start_time()")
    again = server(state, "up")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert value(state, "SELECT pg_postmaster_start_time()") == before


def test_what_was_stored_is_there_after_down_and_up(state: Path) -> None:
    with connect(state) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS a")
    assert server(state, "down").returncode == 0
    with pytest.raises(psycopg.OperationalError):
        connect(state)
    assert server(state, "up").returncode == 0
    assert value(state, "SELECT a FROM kept") == 7


def test_down_twice_says_that_nothing_runs(tmp_path: Path) -> None:
    result = server(tmp_path / "state", "down")
    assert result.returncode == 0
    assert "does not run" in result.stderr


def test_another_install_script_than_the_databases_is_pointed_out(state: Path) -> None:
    record = state / "script-delc"
    kept = record.read_text()
    record.write_text("another\n")
    result = server(state, "up")
    record.write_text(kept)
    assert result.returncode == 0
    assert "make reset" in result.stderr


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 20)
    result = server(state, "up")
    assert result.returncode == 1
    assert "too long" in result.stderr
    assert not state.exists()


def test_clusters_of_the_machine_are_left_alone(state: Path) -> None:
    places = ["/etc/postgresql", "/var/lib/postgresql"]
    before = [sorted(path.name for path in Path(place).glob("*/*")) for place in places]
    assert server(state, "up").returncode == 0
    assert [sorted(path.name for path in Path(place).glob("*/*")) for place in places] == before
    assert value(state, "SHOW data_directory") == str(state / "data")
