"""The program of a worker: bound to the process that started it before it imports anything that takes time."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1


def begin(parent: int) -> None:
    """Ends with the parent, and on a cancel at once."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Serves the process whose number is the program's argument, on its standard input."""
    begin(int(sys.argv[1]))
    from delc.dql.worker import Channel, serve

    serve(Channel(socket.socket(fileno=sys.stdin.fileno())))


if __name__ == "__main__":
    main()
