"""delc.check_environment(): a row per requirement, with the way out where something is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster, Connection, temporary_folder

CHECK = "SELECT requirement, needed, found, ok, advice FROM delc.check_environment()"


def check(connection: Connection) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in connection.execute(CHECK).fetchall()}


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    with temporary_folder("delc-empty-") as folder:
        yield folder


def connect_with_path(cluster: Cluster, database: str, path: str) -> Connection:
    return cluster.connect(database, options=f"-c delc.python_path={path}")


def test_everything_that_the_tests_run_with_is_in_order(db: Connection) -> None:
    assert {name: row for name, row in check(db).items() if not row[2]} == {}


def test_advice_is_given_only_where_something_is_wrong(db: Connection) -> None:
    assert {row[3] for row in check(db).values()} == {None}


def test_every_requirement_is_named(db: Connection) -> None:
    assert set(check(db)) >= {
        "PostgreSQL", "extension delc", "extension plpython3u", "extension vector", "shared_preload_libraries",
        "max_worker_processes", "zstd", "Python", "Python package delc", "Python module torch", "Python module numpy",
        "Python module safetensors", "Python module sklearn", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "delc.threads", "delc.memory_limit",
    }  # fmt: skip


def test_a_path_that_is_not_there_is_named_with_the_way_out(cluster: Cluster, fresh_database: str) -> None:
    with connect_with_path(cluster, fresh_database, "/nowhere") as connection:
        _, found, ok, advice = check(connection)["delc.python_path /nowhere"]
    assert (found, ok) == ("not there", False)
    assert "make install" in advice
    assert "delc.python_path" in advice


def test_the_package_that_cannot_be_loaded_is_reported(
    cluster: Cluster, fresh_database: str, empty_folder: Path
) -> None:
    with connect_with_path(cluster, fresh_database, str(empty_folder)) as connection:
        rows = check(connection)
    assert rows[f"delc.python_path {empty_folder}"][2]
    assert not rows["Python package delc"][2]


def test_a_missing_module_is_reported_with_the_command_that_installs_it(
    cluster: Cluster, fresh_database: str, empty_folder: Path
) -> None:
    site_packages = empty_folder / "lib" / "python3" / "site-packages"
    site_packages.mkdir(parents=True)
    (site_packages / "torch.py").write_text("raise ImportError('libtorch_cpu.so: cannot open shared object file')\n")
    (empty_folder / "pyvenv.cfg").touch()
    with connect_with_path(cluster, fresh_database, str(site_packages)) as connection:
        _, found, ok, advice = check(connection)["Python module torch"]
    assert not ok
    assert found == "ImportError: libtorch_cpu.so: cannot open shared object file"
    assert f"{empty_folder}/bin/python -m pip install 'torch>=2.6'" in advice


def test_an_old_module_is_reported_with_its_version(cluster: Cluster, fresh_database: str, empty_folder: Path) -> None:
    (empty_folder / "torch.py").write_text("__version__ = '1.13.1+cu117'\n")
    with connect_with_path(cluster, fresh_database, str(empty_folder)) as connection:
        needed, found, ok, _ = check(connection)["Python module torch"]
    assert (needed, found, ok) == ("2.6 or later", "1.13.1+cu117", False)


def test_a_folder_that_the_server_may_not_read_is_reported(cluster: Cluster, fresh_database: str) -> None:
    with temporary_folder("delc-closed-") as folder:
        folder.chmod(0)
        with connect_with_path(cluster, fresh_database, str(folder)) as connection:
            _, found, ok, advice = check(connection)[f"delc.python_path {folder}"]
        folder.chmod(0o700)
    assert (found, ok) == ("not readable", False)
    assert f"chmod -R a+rX {folder}" in advice


def test_more_threads_than_processors_are_reported(db: Connection) -> None:
    db.execute("SET LOCAL delc.threads = 1024")
    _, found, ok, advice = check(db)["delc.threads"]
    assert (found, ok) == ("1024", False)
    assert "ALTER SYSTEM SET delc.threads" in advice


def test_a_memory_limit_above_the_machine_is_reported(db: Connection) -> None:
    db.execute("SET LOCAL delc.memory_limit = '512TB'")
    _, found, ok, advice = check(db)["delc.memory_limit"]
    assert (found, ok) == ("512TB", False)
    assert "ALTER SYSTEM SET delc.memory_limit" in advice
