"""Trials in several processes, as many as there are processors: this one, and workers.

A worker is a program that is started anew (not a copy of this process, which would hold the client's connection): it
imports torch, and trains on rows that it is given in shared memory. So trials see the rows that the caller sees, what
the caller has not committed among them.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from delc.dql import messages
from delc.dql.shared_rows import SharedRows
from delc.dql.work import Outcome, RowBatches, Work, carry_out
from delc.server import interrupts
from delc.server.errors import DelcError
from delc.training.state import EpochRecord

WAIT_SECONDS = 0.1
LOOK_SECONDS = 0.02
"""How long training here goes on without looking after the workers."""

PIECE = 1 << 20
CRASHED = "58000"

_PROGRAM = (
    "import sys; sys.path[:0] = sys.argv.pop(1).split(':');"
    " import runpy; runpy.run_module('delc.dql.worker', run_name='__main__', alter_sys=True)"
)

Prepare = Callable[[], Work]
Told = Callable[[int, int, float], None]
"""Told after every epoch: trial, epoch, loss."""


class WorkerFailed(DelcError):
    """A worker could not be started, or ended by itself."""

    sqlstate = CRASHED


class Runner(Protocol):
    """Carries out pieces of work."""

    def run(self, trials: Sequence[tuple[int, Prepare]], told: Told) -> Iterator[Outcome | tuple[int, DelcError]]:
        """The outcomes, in the order in which they come; an error where a piece of work could not be prepared."""


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

    def run(self, trials: Sequence[tuple[int, Prepare]], told: Told) -> Iterator[Outcome | tuple[int, DelcError]]:
        """Carries out all work."""
        for number, prepare in trials:
            try:
                work = prepare()
            except DelcError as error:
                yield number, error
                continue

            def epoch_done(record: EpochRecord, trial: int = number) -> None:
                told(trial, record.epoch, _loss(record))

            yield carry_out(work, self._rows(work.data), interrupts.check, epoch_done)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    trial: int | None = None
    is_ready: bool = False
    outgoing: deque[memoryview] = field(default_factory=deque)
    incoming: bytearray = field(default_factory=bytearray)

    @property
    def stdin(self) -> int:
        assert self.process.stdin is not None
        return self.process.stdin.fileno()

    @property
    def stdout(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()


class Pool:
    """Workers that are started together and end together, and this process beside them: it trains too, from the first
    moment on, and looks after the others between its batches.
    """

    def __init__(self, rows: Callable[[int], RowBatches]) -> None:
        self.workers: list[_Worker] = []
        self._rows = rows
        self._next: deque[Work] = deque()
        self._arrived: deque[Outcome] = deque()
        self._failure: WorkerFailed | None = None
        self._looked = 0.0

    def run(self, trials: Sequence[tuple[int, Prepare]], told: Told) -> Iterator[Outcome | tuple[int, DelcError]]:
        """Carries out all work, one piece per process at a time."""
        waiting = deque(trials)
        while waiting or self._next or self._arrived or any(worker.trial is not None for worker in self.workers):
            yield from self._prepare(waiting)
            self._hand_out()
            if self._next:
                yield self._own(self._next.popleft(), told)
            else:
                self._exchange(told, WAIT_SECONDS)
            if self._failure is not None:
                raise self._failure
            while self._arrived:
                yield self._arrived.popleft()

    def _prepare(self, waiting: deque[tuple[int, Prepare]]) -> Iterator[tuple[int, DelcError]]:
        """Makes the next pieces of work ready, one for each process: none can be made in the midst of training."""
        while waiting and len(self._next) <= len(self.workers):
            number, prepare = waiting.popleft()
            try:
                self._next.append(prepare())
            except DelcError as error:
                yield number, error

    def _hand_out(self) -> None:
        """Gives work to those who have imported all that they need, and have none."""
        for worker in self.workers:
            if self._next and worker.is_ready and worker.trial is None:
                work = self._next.popleft()
                worker.trial = work.trial
                worker.outgoing.append(memoryview(messages.work_message(work)))

    def _own(self, work: Work, told: Told) -> Outcome:
        def poll() -> None:
            interrupts.check()
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._look(told)

        def epoch_done(record: EpochRecord) -> None:
            told(work.trial, record.epoch, _loss(record))

        return carry_out(work, self._rows(work.data), poll, epoch_done)

    def _look(self, told: Told) -> None:
        """Passes on what there is; a failure of a worker is not one of the training that goes on here."""
        started = time.monotonic()
        try:
            self._hand_out()
            while self._exchange(told, 0) and time.monotonic() - started < LOOK_SECONDS:
                pass
        except WorkerFailed as error:
            self._failure = error
        self._looked = time.monotonic()

    def _exchange(self, told: Told, seconds: float) -> bool:
        """Waits so long for workers, and passes what there is in both directions; whether there was anything."""
        interrupts.check()
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
                if worker.outgoing:
                    selector.register(worker.stdin, selectors.EVENT_WRITE, worker)
            events = selector.select(seconds)
        interrupts.check()
        for key, _ in events:
            worker = key.data
            if key.fd == worker.stdin:
                _send(worker)
            else:
                _receive(worker)
                self._arrived.extend(_outcomes(worker, told))
        return bool(events)

    def close(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.wait()
            for stream in (worker.process.stdin, worker.process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()


@contextmanager
def pool(
    processes: int,
    shared: Sequence[SharedRows],
    rows: Callable[[int], RowBatches],
    threads: int,
    python_path: str,
) -> Iterator[Pool]:
    """So many processes that share rows, this one among them; the others end with the block, however it ends."""
    program = python_program()
    if program is None:
        raise WorkerFailed("no Python program to start workers with", hint="SET delc.trial_workers = 1.")
    started = Pool(rows)
    try:
        for _ in range(processes - 1):
            started.workers.append(_start(program, shared, threads, python_path))
        yield started
    finally:
        started.close()


def _start(program: str, rows: Sequence[SharedRows], threads: int, python_path: str) -> _Worker:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [program, "-I", "-c", _PROGRAM, python_path, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd="/",
        close_fds=True,
        pass_fds=[each.fd for each in rows],
        bufsize=0,
    )
    worker = _Worker(process)
    for pipe in (worker.stdin, worker.stdout):
        os.set_blocking(pipe, False)
        with suppress(OSError):  # a limit of the system may allow only small ones
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)
    description = {"threads": threads, "rows": [{"fd": each.fd, "layout": each.layout} for each in rows]}
    worker.outgoing.append(memoryview(messages.pack(description, {})))
    return worker


def _send(worker: _Worker) -> None:
    piece = worker.outgoing.popleft()
    try:
        sent = os.write(worker.stdin, piece[:PIECE])
    except BlockingIOError:
        sent = 0
    except BrokenPipeError:
        raise _ended(worker) from None
    if sent < len(piece):
        worker.outgoing.appendleft(piece[sent:])


def _receive(worker: _Worker) -> None:
    try:
        piece = os.read(worker.stdout, PIECE)
    except BlockingIOError:
        return
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
    return WorkerFailed(
        f"a worker that trained trial {worker.trial} ended with {why}",
        detail="Its messages are in the server's log.",
        hint="Where memory is short, run fewer at a time: SET delc.trial_workers = 1.",
    )


def _loss(record: EpochRecord) -> float:
    return record.train_loss if record.validation_loss is None else record.validation_loss
