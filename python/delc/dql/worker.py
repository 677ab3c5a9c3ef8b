"""A worker: a program of its own that trains what it is given, until nothing more comes.

It gets rows as shared memory and pieces of work on a socket, its standard input, and answers there. It has no
connection to the server, and ends with the process that started it, or when no query needs it for a while.
"""

from __future__ import annotations

import gc
import os
import select
import socket
from collections import deque

import torch

from delc.dql import messages, shared_rows
from delc.dql.work import RowBatches, Work, carry_out
from delc.training.state import EpochRecord

PIECE = 1 << 20
MOST_FILES = 16

WAIT_SECONDS = 30.0
"""How long a worker waits for the session's next query."""


class Channel:
    """The caller's end of a socket: messages, and files that come with them."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = bytearray()
        self._files: deque[int] = deque()

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        while len(self._held) < size:
            piece, files, _, _ = socket.recv_fds(self._connection, PIECE, MOST_FILES)
            self._files.extend(files)
            if not piece:
                break
            self._held += piece
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def file(self) -> int:
        """The file that came with the last message."""
        return self._files.popleft()

    def write(self, message: bytes) -> None:
        """Sends a message."""
        self._connection.sendall(message)

    def waits(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        return not self._held and not select.select([self._connection], [], [], seconds)[0]


def serve(channel: Channel) -> None:
    """Does all work that comes, query after query."""
    torch.set_num_threads(1)
    rows: list[RowBatches] = []
    while (message := messages.receive(channel)) is not None:
        match message[0]["sort"]:
            case "begin":
                rows.clear()
                channel.write(messages.pack({"sort": "ready"}, {}))
            case "rows":
                rows.append(_rows(channel.file(), message[0]["layout"]))
            case "work":
                _do(messages.read_work(*message), rows, channel)
            case "end":
                del message
                rows.clear()
                gc.collect()
                if channel.waits(WAIT_SECONDS):
                    return


def _do(work: Work, rows: list[RowBatches], channel: Channel) -> None:
    def epoch_done(record: EpochRecord) -> None:
        loss = record.train_loss if record.validation_loss is None else record.validation_loss
        channel.write(messages.pack({"sort": "epoch", "trial": work.trial, "epoch": record.epoch, "loss": loss}, {}))

    channel.write(messages.outcome_message(carry_out(work, rows[work.data], lambda: None, epoch_done)))


def _rows(file: int, layout: shared_rows.Layout) -> RowBatches:
    try:
        return shared_rows.batches(shared_rows.opened(file, layout))
    finally:
        os.close(file)
