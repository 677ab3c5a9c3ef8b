"""The server that benchmarks run on: a throw-away cluster with settings as in production."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from support.cluster import Cluster, Connection, temporary_cluster

DATABASE = "bench"

SETTINGS = {
    "shared_buffers": "2GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "256MB",
    "work_mem": "64MB",
    # All ways of reading rows are to use one process: a cursor never runs in parallel.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
"""fsync is off as well, as in the tests' clusters; nothing that is measured waits for the disk."""


@contextmanager
def server(**settings: str) -> Iterator[Cluster]:
    """A running cluster with the extension in the database `bench`."""
    with temporary_cluster({**SETTINGS, **settings}) as cluster:
        cluster.create_database(DATABASE)
        with cluster.connect(DATABASE) as connection:
            connection.execute("CREATE EXTENSION delc CASCADE")
        yield cluster


@contextmanager
def connected(cluster: Cluster, **settings: str) -> Iterator[Connection]:
    """A connection to the database, with settings of its own."""
    with cluster.connect(DATABASE) as connection:
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name.replace("__", "."), value])
        yield connection


def define(connection: Connection, name: str, arguments: str, returns: str, body: str) -> None:
    """A PL/Python function of the session, in which the package delc is loaded."""
    connection.execute(
        f"CREATE OR REPLACE FUNCTION pg_temp.{name}({arguments}) RETURNS {returns} LANGUAGE plpython3u AS $function$\n"
        'if "delc" not in GD: plpy.execute("SELECT delc.load_python()")\n' + body + "\n$function$"
    )
