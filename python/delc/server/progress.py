"""Progress of a running operation: in the view ``delc.progress`` for every session, and as notices for the own
client.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import _delc
import plpy


@contextmanager
def reporting(run_id: int, operation: str, subject: str) -> Iterator[None]:
    """Shows the operation in ``delc.progress`` while the block runs."""
    _delc.progress_start(run_id, operation, subject)
    try:
        yield
    finally:
        _delc.progress_end()


def report(
    phase: str, *, epoch: int = 0, epochs: int = 0, batch: int = 0, batches: int = 0, loss: float = float("nan")
) -> None:
    """Updates what ``delc.progress`` shows; a total of 0 shows as NULL, a loss of NaN leaves the last one."""
    _delc.progress_report(phase, epoch, epochs, batch, batches, loss)


def notice(text: str) -> None:
    """Sends a NOTICE to the client at once."""
    if not _silences:
        plpy.notice(text)


def warning(text: str) -> None:
    """Sends a WARNING to the client at once."""
    plpy.warning(text)


@contextmanager
def silenced() -> Iterator[None]:
    """No notices in the block: what it does will not stay."""
    _silences.append(True)
    try:
        yield
    finally:
        _silences.pop()


_silences: list[bool] = []
