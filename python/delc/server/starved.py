"""Whether an error says that the system gave no more memory, in the words of each library."""

from __future__ import annotations

import errno

_WORDS = ("can't allocate memory", "out of memory")
"""What torch says in a ``RuntimeError``, of the system's memory and of a device's: "DefaultCPUAllocator: can't allocate
memory: you tried to allocate 1073741824 bytes", "CUDA out of memory"."""


def is_starved(error: BaseException) -> bool:
    """Whether it does: Python's own error, torch's, or that of mapping a file."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


def told(error: BaseException) -> str | None:
    """How much was asked for, if it says so: its first line, without torch's place in its source."""
    line = str(error).partition("\n")[0]
    return line[max(0, line.find("DefaultCPUAllocator")) :] or None
