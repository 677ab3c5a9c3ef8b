"""Scripts ask for an administrator's rights only where they need them, and say what to run where they have none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import ROOT, server_user, temporary_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of an ordinary user's, with the scripts in it and a sudo that lets nobody through."""
    with temporary_folder("delc-rights-") as folder:
        (folder / "setup").mkdir()
        (folder / "setup/common.sh").write_text((ROOT / "setup/common.sh").read_text())
        (folder / "bin").mkdir()
        (folder / "bin/sudo").write_text("#!/bin/sh\nexit 1\n")
        (folder / "bin/sudo").chmod(0o755)
        folder.chmod(0o755)
        yield folder


def run_as_ordinary_user(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
    command = ["bash", "-c", f"source {folder}/setup/common.sh; {script}"]
    return subprocess.run(
        command, env=environment, user=server_user(), cwd=folder, check=False, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_command_to_run_is_named_when_sudo_does_not_let_us(folder: Path) -> None:
    result = run_as_ordinary_user(folder, "as_root install -m 644 'a file' /usr/share/x; echo went on")
    assert result.returncode == 1
    assert "    sudo install -m 644 a\\ file /usr/share/x\n" in result.stderr
    assert "went on" not in result.stdout


def test_a_folder_of_the_callers_own_needs_no_sudo(folder: Path) -> None:
    result = run_as_ordinary_user(folder, f"for_folder {folder}/new/deeper mkdir -p {folder}/new/deeper")
    assert (result.returncode, result.stderr) == (0, "")
    assert (folder / "new/deeper").is_dir()


def test_a_folder_of_somebody_elses_needs_sudo(folder: Path) -> None:
    result = run_as_ordinary_user(folder, "for_folder /usr/share/delc mkdir /usr/share/delc")
    assert result.returncode == 1
    assert "    sudo mkdir /usr/share/delc\n" in result.stderr
