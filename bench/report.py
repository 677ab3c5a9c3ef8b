"""Runs the benchmarks and writes what they print to docs/performance.md.

PYTHONPATH=python:tests python bench/report.py [PROGRAM…]
"""

from __future__ import annotations

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

A goal that is missed is shown as missed. Figures of a machine that does other work at the same time are worse and
less steady, above all those with more than one thread: the load averages in front tell.
"""


def run(program: Path) -> str:
    """The program's section of the page."""
    title = program.read_text().removeprefix('"""').partition("\n")[0].rstrip(".")
    print(f"{program.name} …", flush=True)
    done = subprocess.run([sys.executable, program], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if not done.stdout:
        raise SystemExit(f"{program.name} printed nothing")
    return f"\n## {title}\n\n`bench/{program.name}`\n\n```\n{done.stdout.strip()}\n```\n"


def main() -> None:
    programs = [Path(name).resolve() for name in sys.argv[1:]] or sorted(BENCH.glob("bench_*.py"))
    sections = [run(program) for program in programs]
    PAGE.write_text(f"{INTRODUCTION}\nMeasured on {datetime.now(UTC):%Y-%m-%d}.\n{''.join(sections)}")


if __name__ == "__main__":
    main()
