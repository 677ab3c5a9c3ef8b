"""What can change a run's result beside its arguments: versions of everything, and the machine."""

from __future__ import annotations

import platform
import sys
from functools import cache
from typing import Any

import delc
from delc.server import queries

_MODULES = ("torch", "numpy", "sklearn")


def describe() -> dict[str, Any]:
    """Versions of server, extension, Python and the libraries loaded so far; processor; threads of torch."""
    loaded = {name: sys.modules[name].__version__ for name in _MODULES if name in sys.modules}
    threads = {"threads": sys.modules["torch"].get_num_threads()} if "torch" in sys.modules else {}
    return {**_fixed(), **loaded, **threads}


@cache
def _fixed() -> dict[str, Any]:
    return {
        "postgresql": queries.value("SELECT pg_catalog.current_setting('server_version')"),
        "delc": delc.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
        names = (line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name"))
        return next(names, "unknown")
