"""Statements that run in a session of their own, while the test watches them, cancels them or ends their session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from support.cluster import Cluster, Connection
from support.workplace import rows

PATIENCE_SECONDS = 30
STOPS_WITHIN_SECONDS = 3
"""The product's own aim is one second; machines that run several things at once need some more."""


class Running:
    """A statement under way. `ended` waits for it and gives its error, None where it succeeded."""

    def __init__(self, connection: Connection, sql: str) -> None:
        self.connection = connection
        self.pid = connection.info.backend_pid
        self.error: psycopg.Error | None = None
        self._thread = threading.Thread(target=self._run, args=(sql,), daemon=True)
        self._thread.start()

    def _run(self, sql: str) -> None:
        try:
            self.connection.execute(sql)
        except psycopg.Error as error:
            self.error = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def ended(self, within: float = PATIENCE_SECONDS) -> psycopg.Error | None:
        self._thread.join(within)
        assert not self.is_running, f"still running after {within} s"
        return self.error


@contextmanager
def running(cluster: Cluster, database: str, sql: str, *settings: str) -> Iterator[Running]:
    """The statement running in a new session, into which the package has been loaded; the session ends afterwards."""
    with cluster.connect(database) as connection:
        connection.execute("SELECT count(*) FROM delc.layer_kinds()")
        for setting in settings:
            connection.execute(setting)
        statement = Running(connection, sql)
        try:
            yield statement
        finally:
            if statement.is_running:
                with cluster.connect(database) as administration:
                    administration.execute("SELECT pg_terminate_backend(%s)", [statement.pid])
                statement.ended()


def wait_for_progress(db: Connection, statement: Running, phase: str = "%") -> dict[str, Any]:
    """The row of delc.progress in which the statement reports a phase (a LIKE pattern); `db` is in autocommit."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    columns = ("operation", "subject", "phase", "epoch", "epochs", "batch", "batches", "loss", "username", "run_id")
    query = f"SELECT {', '.join(columns)} FROM delc.progress WHERE pid = %s AND phase LIKE %s"
    while time.monotonic() < deadline:
        assert statement.is_running, statement.error
        for found in rows(db, query, statement.pid, phase):
            return dict(zip(columns, found, strict=True))
        time.sleep(0.01)
    raise AssertionError("the statement reported no progress")


def recovered(cluster: Cluster, old: Connection) -> Connection:
    """A new session once the server has ended every old one and has recovered."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            old.execute("SELECT 1")
        except psycopg.Error:
            break
        time.sleep(0.02)
    while time.monotonic() < deadline:
        try:
            return cluster.connect()
        except psycopg.OperationalError:
            time.sleep(0.02)
    raise AssertionError("the server did not come back")
