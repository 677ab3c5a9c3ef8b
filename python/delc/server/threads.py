"""Threads of torch inside a backend.

PostgreSQL's signal handlers must run in the main thread. A thread inherits the signal mask of the one that starts it,
so signals are blocked while torch is imported and while its pool of threads grows.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from delc.server.errors import OutOfMemory

_WARM_UP_ELEMENTS = 1 << 20
_pool_size = 1


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Threads that start in this block never receive signals. Keep it short: a cancel waits until its end."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def one() -> Iterator[None]:
    """Torch uses one thread in the block; the others stay, so none is started anew afterwards."""
    import torch

    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


def use(threads: int) -> None:
    """Lets torch use so many threads from now on, and starts those that are missing; ``OutOfMemory`` where the system
    starts no more.
    """
    global _pool_size
    import torch

    if threads > _pool_size:
        _require_startable(threads - _pool_size, threads)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if threads > _pool_size:
        with signals_blocked():
            torch.ones(_WARM_UP_ELEMENTS).add_(1.0)
        _pool_size = threads


def _require_startable(missing: int, threads: int) -> None:
    """Starts so many threads and ends them. torch's library ends the whole process when the system refuses it one."""
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        with signals_blocked():
            for _ in range(missing):
                thread = threading.Thread(target=done.wait, daemon=True)
                thread.start()
                started.append(thread)
    except (RuntimeError, MemoryError) as error:
        raise OutOfMemory(
            "the system starts no more threads for this session",
            detail=f"delc.threads asks for {threads}; a thread needs memory, and a place among processes.",
            hint="Set delc.threads = 1, or try again later.",
        ) from error
    finally:
        done.set()
        for thread in started:
            thread.join()
