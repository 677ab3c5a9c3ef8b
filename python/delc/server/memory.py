"""Keeping a call within ``delc.memory_limit``: an error in time instead of an out-of-memory kill of the whole
server.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from delc.server import settings
from delc.server.errors import LimitExceeded

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class MemoryWatch:
    """Compares the growth of this process since ``start`` with the limit."""

    start_bytes: int
    limit_bytes: int

    @classmethod
    def begin(cls) -> MemoryWatch:
        """Starts watching at the present size."""
        return cls(resident_bytes(), settings.memory_limit_bytes())

    def require(self, needed_bytes: int, what: str) -> None:
        """Raises ``LimitExceeded`` when ``what`` alone would need more than the limit."""
        if needed_bytes > self.limit_bytes:
            raise LimitExceeded(
                f"{what} needs about {_megabytes(needed_bytes)} MB, more than delc.memory_limit"
                f" ({_megabytes(self.limit_bytes)} MB)",
                hint="Use a smaller batch_size or network, or let an administrator raise delc.memory_limit.",
            )

    def check(self) -> None:
        """Raises ``LimitExceeded`` when this process has grown by more than the limit."""
        self.require(resident_bytes() - self.start_bytes, "this call")


def resident_bytes() -> int:
    """How much memory of its own this process holds: pages of shared_buffers that it has touched, and files, are not
    counted.
    """
    with open("/proc/self/statm", encoding="ascii") as statm:
        _, resident, shared, *_ = statm.read().split()
    return (int(resident) - int(shared)) * _PAGE


def _megabytes(size: int) -> int:
    return -(-size // _MEGABYTE)
