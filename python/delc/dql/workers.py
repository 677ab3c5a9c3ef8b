"""Trials in several processes, as many as there are processors: this one, and workers.

A worker is a program that is started anew (not a copy of this process, which would hold the client's connection): it
imports torch, and trains on rows that it is given in shared memory. So trials see the rows that the caller sees, what
the caller has not committed among them. Workers wait a while for the session's next query before they end, because
importing takes longer than many trials.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from delc.dql import messages
from delc.dql.shared_rows import SharedRows
from delc.dql.work import Outcome, RowBatches, Work, carry_out
from delc.server import interrupts, progress
from delc.server.errors import DelcError
from delc.training.state import EpochRecord

WAIT_SECONDS = 0.1
LOOK_SECONDS = 0.02
"""How long training here goes on without looking after the workers."""

PIECE = 1 << 20
CRASHED = "58000"

_PROGRAM = (
    "import sys; sys.path[:0] = sys.argv.pop(1).split(':');"
    " import runpy; runpy.run_module('delc.dql.worker_program', run_name='__main__', alter_sys=True)"
)

Told = Callable[[int, int, float], None]
"""Told after every epoch: trial, epoch, loss."""


class WorkerFailed(DelcError):
    """A worker could not be started, or ended by itself."""

    sqlstate = CRASHED


class Feed(Protocol):
    """Where pieces of work come from, and where their outcomes go."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""

    def prepare(self, most: int) -> None:
        """Makes so many pieces ready that ``next`` could not."""

    def next(self, *, in_pieces: bool) -> Work | None:
        """The next piece, a small one if ``in_pieces``. Called in the midst of training too."""

    def take(self, outcome: Outcome) -> None:
        """What became of a piece. Called in the midst of training too."""

    def say(self) -> None:
        """Called between pieces."""


class Runner(Protocol):
    """Carries out pieces of work."""

    def run(self, feed: Feed, told: Told) -> None:
        """All that the feed has."""


def python_program() -> str | None:
    """The Python to start workers with: that of the library in this process. None where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (sys.base_exec_prefix, "/usr"):
        program = Path(folder) / "bin" / version
        if os.access(program, os.X_OK):
            return str(program)
    return None


class InProcess:
    """One trial after the other, in this process."""

    def __init__(self, rows: Callable[[int], RowBatches]) -> None:
        self._rows = rows

    def run(self, feed: Feed, told: Told) -> None:
        """Carries out all work."""
        while not feed.is_over:
            feed.prepare(1)
            work = feed.next(in_pieces=False)
            if work is not None:
                feed.take(self._done(work, told))
            feed.say()

    def _done(self, work: Work, told: Told) -> Outcome:
        def epoch_done(record: EpochRecord) -> None:
            told(work.trial, record.epoch, _loss(record))

        return carry_out(work, self._rows(work.data), interrupts.check_client, epoch_done)


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket
    python_path: str
    was_kept: bool = False
    trial: int | None = None
    is_ready: bool = False
    outgoing: deque[tuple[memoryview, int | None]] = field(default_factory=deque)
    incoming: bytearray = field(default_factory=bytearray)

    def send(self, message: bytes, file: int | None = None) -> None:
        self.outgoing.append((memoryview(message), file))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.channel.close()


Start = Callable[[], _Worker]

_kept: list[_Worker] = []
"""Workers of the session's last query, which wait for the next one."""


class Pool:
    """Workers that are started together, and this process beside them: it trains too, from the first moment on, and
    looks after the others between its batches.
    """

    def __init__(self, rows: Callable[[int], RowBatches], shared: Sequence[SharedRows], start: Start) -> None:
        self.workers: list[_Worker] = []
        self._rows = rows
        self._shared = shared
        self._start = start
        self._lost: list[WorkerFailed] = []
        self._looked = 0.0

    def run(self, feed: Feed, told: Told) -> None:
        """Carries out all work, one piece per process at a time."""
        while not feed.is_over:
            feed.prepare(2 * len(self.workers) + 1)
            self._hand_out(feed)
            work = feed.next(in_pieces=True)
            if work is not None:
                feed.take(self._own(work, feed, told))
            elif not feed.is_over:
                self._exchange(feed, told, WAIT_SECONDS)
            while self._lost:
                left = "its session goes on alone" if not self.workers else f"{len(self.workers) + 1} others go on"
                progress.warning(f"{self._lost.pop().message}; {left}")
            feed.say()

    def _hand_out(self, feed: Feed) -> None:
        """Gives work to those who have imported all that they need, and have none."""
        for worker in self.workers:
            if worker.is_ready and worker.trial is None:
                work = feed.next(in_pieces=False)
                if work is None:
                    return
                worker.trial = work.trial
                worker.send(messages.work_message(work))

    def _own(self, work: Work, feed: Feed, told: Told) -> Outcome:
        def poll() -> None:
            interrupts.check_client()
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._look(feed, told)

        def epoch_done(record: EpochRecord) -> None:
            told(work.trial, record.epoch, _loss(record))

        return carry_out(work, self._rows(work.data), poll, epoch_done)

    def _look(self, feed: Feed, told: Told) -> None:
        """Passes on what there is."""
        started = time.monotonic()
        self._hand_out(feed)
        while self._exchange(feed, told, 0) and time.monotonic() - started < LOOK_SECONDS:
            self._hand_out(feed)
        self._looked = time.monotonic()

    def _exchange(self, feed: Feed, told: Told, seconds: float) -> bool:
        """Waits so long for workers, and passes what there is in both directions; whether there was anything."""
        interrupts.check_client()
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                writes = selectors.EVENT_WRITE if worker.outgoing else 0
                selector.register(worker.channel, selectors.EVENT_READ | writes, worker)
            events = selector.select(seconds)
        interrupts.check()
        for key, happened in events:
            worker = key.data
            failure = None
            try:
                if happened & selectors.EVENT_WRITE:
                    _send(worker)
                if happened & selectors.EVENT_READ:
                    _receive(worker)
            except WorkerFailed as error:
                failure = error
            for outcome in _outcomes(worker, told):
                feed.take(outcome)
            if failure is not None:
                self._lose(worker, feed, failure)
        return bool(events)

    def begin(self, processes: int, python_path: str) -> None:
        """Takes workers that wait, starts those that are missing, and gives them the rows of the query."""
        while len(self.workers) < processes - 1:
            self.workers.append(_waiting(python_path) or self._start())
            self._give_rows(self.workers[-1])

    def _lose(self, worker: _Worker, feed: Feed, failure: WorkerFailed) -> None:
        """Goes on without a worker, and without the trial that it had: another process might end by it as well."""
        if worker.was_kept and not worker.is_ready:
            self._replace(worker)  # it had waited long enough for this query
            return
        self.workers.remove(worker)
        worker.end()
        self._lost.append(failure)
        if worker.trial is not None:
            error = (failure.sqlstate, failure.message)
            feed.take(Outcome(worker.trial, (), {}, None, None, None, True, 0.0, error))

    def _replace(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.end()
        self.workers.append(self._start())
        self._give_rows(self.workers[-1])

    def _give_rows(self, worker: _Worker) -> None:
        worker.is_ready = False
        worker.send(messages.pack({"sort": "begin"}, {}))
        for rows in self._shared:
            worker.send(messages.pack({"sort": "rows", "layout": rows.layout}, {}), rows.fd)

    def keep(self) -> None:
        """Lets workers without work wait for the next query; they forget what they know of this one."""
        for worker in self.workers:
            if worker.is_ready and not worker.outgoing and not worker.incoming and worker.trial is None:
                worker.was_kept = True
                worker.send(messages.pack({"sort": "end"}, {}))
                try:
                    _send(worker)
                except WorkerFailed:
                    worker.end()
                    continue
                _kept.append(worker)
            else:
                worker.end()
        self.workers.clear()

    def end(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.end()


@contextmanager
def pool(
    processes: int,
    shared: Sequence[SharedRows],
    rows: Callable[[int], RowBatches],
    python_path: str,
) -> Iterator[Pool]:
    """So many processes that share rows, this one among them, with one thread each. Workers end with the block where it
    ends in an error.
    """
    program = python_program()
    if program is None:
        raise WorkerFailed("no Python program to start workers with", hint="SET delc.trial_workers = 1.")
    made = Pool(rows, shared, lambda: _start(program, python_path))
    try:
        made.begin(processes, python_path)
        yield made
    except BaseException:
        made.end()
        raise
    made.keep()


def _waiting(python_path: str) -> _Worker | None:
    """A worker that waits; those that wait no longer are forgotten."""
    while _kept:
        worker = _kept.pop()
        if worker.process.poll() is None and worker.python_path == python_path and not worker.outgoing:
            return worker
        worker.end()
    return None


def _start(program: str, python_path: str) -> _Worker:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        process = subprocess.Popen(
            [program, "-I", "-c", _PROGRAM, python_path, str(os.getpid())],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            close_fds=True,
            # A session of its own: a signal to the caller's process group is not for it, and where the system gives
            # every session its share of the processors, it has one too.
            start_new_session=True,
        )
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
    return _Worker(process, ours, python_path)


def _send(worker: _Worker) -> None:
    piece, file = worker.outgoing.popleft()
    try:
        sent = socket.send_fds(worker.channel, [piece[:PIECE]], [] if file is None else [file])
    except BlockingIOError:
        worker.outgoing.appendleft((piece, file))
        return
    except (BrokenPipeError, ConnectionResetError):
        raise _ended(worker) from None
    if sent < len(piece):
        worker.outgoing.appendleft((piece[sent:], None))


def _receive(worker: _Worker) -> None:
    try:
        piece = worker.channel.recv(PIECE)
    except BlockingIOError:
        return
    except ConnectionResetError:
        piece = b""
    if not piece:
        raise _ended(worker)
    worker.incoming += piece


def _outcomes(worker: _Worker, told: Told) -> Iterator[Outcome]:
    """The messages that have come in full."""
    head = messages.HEAD.size
    while len(worker.incoming) >= head:
        text, blob = messages.size_of(bytes(worker.incoming[:head]))
        if len(worker.incoming) < head + text + blob:
            return
        body = bytes(worker.incoming[head : head + text + blob])
        del worker.incoming[: head + text + blob]
        document, tensors = messages.unpack(body[:text], body[text:])
        if document["sort"] == "epoch":
            told(document["trial"], document["epoch"], document["loss"])
        elif document["sort"] == "ready":
            worker.is_ready = True
        else:
            worker.trial = None
            yield messages.read_outcome(document, tensors)


def _ended(worker: _Worker) -> WorkerFailed:
    status = worker.process.wait()
    interrupts.check()
    why = f"signal {-status}" if status < 0 else f"status {status}"
    return WorkerFailed(f"the process of a worker ended with {why}; its messages are in the server's log")


def _loss(record: EpochRecord) -> float:
    return record.train_loss if record.validation_loss is None else record.validation_loss
