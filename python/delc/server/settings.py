"""The settings of the extension, as they are for the running call."""

from __future__ import annotations

import os

from delc.server import queries


def memory_limit_bytes() -> int:
    """``delc.memory_limit``: how many bytes one call may take."""
    return _bytes("delc.memory_limit")


def cache_size_bytes() -> int:
    """``delc.cache_size``: how many bytes the parameters may take that all sessions share."""
    return _bytes("delc.cache_size")


def threads() -> int:
    """``delc.threads``, or the number of processors this process may use where it is 0."""
    setting = int(queries.value("SELECT pg_catalog.current_setting('delc.threads')"))
    return setting if setting > 0 else len(os.sched_getaffinity(0))


def trial_workers() -> int:
    """``delc.trial_workers``, or the number of processors this process may use where it is 0."""
    setting = int(queries.value("SELECT pg_catalog.current_setting('delc.trial_workers')"))
    return setting if setting > 0 else len(os.sched_getaffinity(0))


def python_path() -> str:
    """``delc.python_path``: the folders in which the server finds this package and its libraries."""
    with queries.as_owner():
        path: str = queries.value("SELECT pg_catalog.current_setting('delc.python_path')")
    return path


def _bytes(name: str) -> int:
    size: int = queries.value("SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting($1))", name)
    return size
