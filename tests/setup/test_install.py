"""Installing the Python side: the package's copy and the virtual environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import ROOT


def install(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "setup/python-package.sh"), str(source), str(target), sys.executable]
    return subprocess.run(command, check=True, capture_output=True, text=True, umask=0o077)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "room").mkdir(parents=True)
    (source / "__init__.py").write_text("")
    (source / "room/work.py").write_text("answer = 42\n")
    (source / "room/old.py").write_text("")
    return source


def test_the_copy_is_compiled_and_readable_for_all(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "lib/delc"
    install(source, target)
    files = [path for path in target.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o444 for path in files} == {0o444}
    assert {path.stem.split(".")[0] for path in files if path.suffix == ".pyc"} == {"__init__", "work", "old"}


def test_a_second_run_leaves_the_copy_alone(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "lib/delc"
    install(source, target)
    before = target.stat().st_ino
    assert install(source, target).stderr == ""
    assert target.stat().st_ino == before


def test_a_file_that_is_gone_from_the_source_goes_from_the_copy(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "lib/delc"
    install(source, target)
    (source / "room/old.py").unlink()
    install(source, target)
    assert sorted(path.name for path in target.rglob("*.py")) == ["__init__.py", "work.py"]
    assert os.listdir(target.parent) == ["delc"]


def test_libraries_that_cannot_be_fetched_are_reported_with_the_command(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    requirements = ROOT / "setup/requirements.txt"
    command = [ROOT / "setup/venv.sh", venv, "no-such-torch==0", "--no-index", requirements]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert f"    {venv}/bin/python -m pip install --quiet --no-index no-such-torch==0 -r " in result.stderr
