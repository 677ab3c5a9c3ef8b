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
    return {**_fixed(), **loaded, **(_of_torch(sys.modules["torch"]) if "torch" in sys.modules else {})}


def _of_torch(torch: Any) -> dict[str, Any]:
    """Threads in use, and the CUDA device that ``device => 'auto'`` takes, where there is one."""
    threads = {"threads": torch.get_num_threads()}
    return {**threads, "cuda": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else threads


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
