"""A worker: a program of its own that trains what it is given, until nothing more comes.

It gets rows as shared memory and pieces of work on its standard input, and answers on its standard output. It has no
connection to the server, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any, BinaryIO

import torch

from delc.dql import messages, shared_rows
from delc.dql.work import RowBatches, carry_out
from delc.training.state import EpochRecord

PR_SET_PDEATHSIG = 1


def begin(parent: int) -> None:
    """Ends with the parent, and on a cancel at once."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit(1)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Does all work that comes."""
    first = messages.receive(requests)
    if first is None:
        return
    rows = [_rows(each) for each in first[0]["rows"]]
    torch.set_num_threads(int(first[0]["threads"]))
    answers.write(messages.pack({"sort": "ready"}, {}))
    answers.flush()
    while (message := messages.receive(requests)) is not None:
        work = messages.read_work(*message)

        def epoch_done(record: EpochRecord, trial: int = work.trial) -> None:
            loss = record.train_loss if record.validation_loss is None else record.validation_loss
            answers.write(messages.pack({"sort": "epoch", "trial": trial, "epoch": record.epoch, "loss": loss}, {}))
            answers.flush()

        outcome = carry_out(work, rows[work.data], lambda: None, epoch_done)
        answers.write(messages.outcome_message(outcome))
        answers.flush()


def _rows(description: dict[str, Any]) -> RowBatches:
    return shared_rows.batches(shared_rows.opened(description["fd"], description["layout"]))


if __name__ == "__main__":
    begin(int(sys.argv[1]))
    serve(sys.stdin.buffer, sys.stdout.buffer)
