"""The front door: what `make` offers and how it speaks."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from support.cluster import ROOT


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout


def test_make_alone_lists_what_there_is() -> None:
    assert make() == make("help")


def test_help_has_a_line_for_every_target_of_the_front_door() -> None:
    front, _, _ = (ROOT / "Makefile").read_text().partition("# What the targets above share")
    targets = re.findall(r"^\.PHONY: (\S+)$", front, re.MULTILINE)
    listed = re.findall(r"^  make (\S+)\s+\S", make("help"), re.MULTILINE)
    assert listed == targets


def test_the_first_pg_config_on_the_path_is_not_taken(tmp_path: Path) -> None:
    shim = tmp_path / "pg_config"
    shim.write_text("#!/bin/sh\necho shim\n")
    shim.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [ROOT / "setup/pg-config.sh"]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert found.startswith("/usr/lib/postgresql/")


def test_a_pg_config_that_was_named_is_taken() -> None:
    command = [ROOT / "setup/pg-config.sh"]
    environment = {"PATH": os.environ["PATH"], "PG_CONFIG": "/somewhere/postgresql/bin/pg_config"}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert found == "/somewhere/postgresql/bin/pg_config\n"
