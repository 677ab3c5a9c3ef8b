"""Runs the benchmarks and writes what they print to docs/performance.md.

PYTHONPATH=python:tests python bench/report.py [PROGRAM…]

With programs named, only their sections are written anew; the others stay as they were, each under its own date.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PAGE = BENCH.parent / "docs" / "performance.md"

INTRODUCTION = """\
# Performance

This page is written by `bench/report.py`; `make bench` prints the same. Each program compares ways of doing one thing
within one run: rounds of the ways alternate, figures are medians, ratios are taken round by round. Every program states
machine and settings in front. The server is a throw-away cluster with settings as in production, except that fsync is
off; nothing that is measured waits for the disk. Parallel query is off, so that every way of reading rows has one
process: a bare scan by several workers is faster than the figure here.

Every section tells when it was measured, and on which commit. A goal that is missed is shown as missed. Figures of a
machine that does other work at the same time are worse and less steady, above all those with more than one thread: the
load averages in front tell.
"""


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it."""
    command = ["git", "-C", str(BENCH), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def run(program: Path) -> str:
    """What the program prints, as its section of the page."""
    title = program.read_text().removeprefix('"""').partition("\n")[0].rstrip(".")
    print(f"{program.name} …", flush=True)
    done = subprocess.run([sys.executable, program], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if not done.stdout:
        raise SystemExit(f"{program.name} printed nothing")
    when = f"`bench/{program.name}`, {datetime.now(UTC):%Y-%m-%d}, commit {commit()}"
    return f"## {title}\n\n{when}\n\n```\n{done.stdout.strip()}\n```\n"


def sections(page: str) -> dict[str, str]:
    """The sections of a page by the name of their program."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {re.search(r"`bench/(\w+\.py)`", part)[1]: part.rstrip() + "\n" for part in parts}  # type: ignore[index]


def main() -> None:
    programs = [Path(name).resolve() for name in sys.argv[1:]] or sorted(BENCH.glob("bench_*.py"))
    for program in programs:
        new = run(program)  # minutes to hours, in which the page may have changed
        known = sections(PAGE.read_text()) | {program.name: new}
        PAGE.write_text("\n".join([INTRODUCTION, *(known[name] for name in sorted(known))]))


if __name__ == "__main__":
    main()
