"""A throw-away PostgreSQL cluster in a folder of its own, reachable through a socket in that folder only.

PostgreSQL refuses to run as root, so for root the server runs as `postgres`; for anybody else as the caller.
The server dies with the process that started it, however that process ends.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
ROOT = Path(__file__).resolve().parents[2]
SUPERUSER = "postgres"
START_SECONDS = 60

# Durability is off: nobody needs this data after the machine stops. A crash of the server alone still recovers.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "shared_preload_libraries": "delc",
    "fsync": "off",
    "max_connections": "50",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "hot_standby": "on",
    "max_worker_processes": "16",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


def find_bindir() -> Path:
    """The folder of the server's own programs, for the PostgreSQL that the extension is built for."""
    pg_config = subprocess.run([ROOT / "setup/pg-config.sh"], check=True, capture_output=True, text=True).stdout.strip()
    printed = subprocess.run([pg_config, "--bindir"], check=True, capture_output=True, text=True).stdout
    return Path(printed.strip())


def server_user() -> str | None:
    """The system user that the server runs as, or None for the caller."""
    return SUPERUSER if os.geteuid() == 0 else None


@dataclass
class Cluster:
    """A cluster in `folder`: `folder/data`, its socket and `folder/server.log`."""

    folder: Path
    bindir: Path = field(default_factory=find_bindir)
    port: int = 5432
    user: str = SUPERUSER
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return str(self.folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything the server has logged so far."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def program(self, name: str) -> str:
        return str(self.bindir / name)

    def environment(self) -> dict[str, str]:
        """The caller's environment without what would change a server or a client behind the test's back."""
        private = ("PG", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(private)}
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return kept | threads | {"LC_ALL": "C.UTF-8", "HOME": str(self.folder)}

    def server_command(self, command: Sequence[str], *options: str) -> list[str]:
        user = server_user()
        identity = [f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"] if user else []
        prefix = ["setpriv", *identity, *options] if identity or options else []
        return [*prefix, *command]

    def run_as_server_user(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command as the system user that owns the cluster; raises CalledProcessError when it fails."""
        options = {"check": True, "capture_output": True, "text": True, "env": self.environment()} | options
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(self.server_command(command), cwd=self.folder, **options)

    def own(self, path: Path) -> Path:
        """Gives a file or folder to the system user that the server runs as."""
        user = server_user()
        if user:
            shutil.chown(path, user)
        return path

    def initialise(self, settings: Mapping[str, str]) -> None:
        command = [self.program("initdb"), "--username", self.user, "--auth=trust", "--encoding=UTF8"]
        self.run_as_server_user([*command, "--locale=C.UTF-8", "--no-sync", "-D", str(self.data)])
        self.configure(settings)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Appends settings to the configuration file; they apply from the next start."""
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)

    def start(self) -> None:
        command = [self.program("postgres"), "-D", str(self.data), "-k", self.host, "-p", str(self.port)]
        command = self.server_command(command, "--pdeathsig=QUIT")
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop("immediate")
            raise

    def wait_until_ready(self) -> None:
        """Waits for the server to accept connections: after a start, or after a crash that it recovers from."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        command = [self.program("pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        while subprocess.run(command, env=self.environment(), check=False).returncode != 0:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server in {self.folder} ended; its log's last lines:\n{self.log[-2000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready after {START_SECONDS} s:\n{self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self, mode: str = "fast") -> None:
        """Stops the server as `pg_ctl stop -m fast` or `-m immediate` does; nothing happens when it was not started."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def restart(self, settings: Mapping[str, str] | None = None) -> None:
        """Stops and starts the server, with settings added to its configuration file before."""
        self.stop()
        self.configure(settings or {})
        self.start()

    def parameters(self, database: str = "postgres", user: str | None = None) -> dict[str, Any]:
        """Connection parameters for psycopg.connect and others."""
        return {"host": self.host, "port": self.port, "dbname": database, "user": user or self.user}

    def connect(self, database: str = "postgres", *, user: str | None = None, **options: Any) -> Connection:
        """A psycopg connection; autocommit unless told otherwise. The caller closes it."""
        return psycopg.connect(**self.parameters(database, user), **({"autocommit": True} | options))

    def client(self, program: str, database: str, *arguments: str, user: str | None = None) -> list[str]:
        """The command line of a client program (psql, pg_dump, pgbench …) on a database of this cluster."""
        place = ["-h", self.host, "-p", str(self.port), "-U", user or self.user, "-d", database]
        return [self.program(program), *place, *arguments]

    def psql(self, database: str, script: str, *arguments: str, user: str | None = None) -> str:
        """Runs a script in psql, stopping at the first error; returns what it printed (unaligned, rows only)."""
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments]
        return self.run_as_server_user(self.client("psql", database, *options, user=user), input=script).stdout

    def pg_dump(self, database: str, *arguments: str) -> str:
        """The dump of a database as a plain script, which `psql` restores."""
        return self.run_as_server_user(self.client("pg_dump", database, *arguments)).stdout

    def create_database(self, name: str, template: str = "template1") -> None:
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop_database(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def standby(self) -> Iterator[Cluster]:
        """A streaming replica of this cluster, stopped and removed at the end."""
        with temporary_folder("delc-standby-") as folder:
            replica = Cluster(folder, self.bindir, self.port, self.user)
            place = ["-h", self.host, "-p", str(self.port), "-U", self.user]
            backup = [self.program("pg_basebackup"), *place, "-D", str(replica.data), "-R", "-X", "stream"]
            replica.run_as_server_user([*backup, "--no-sync", "--checkpoint=fast"])
            with running(replica):
                yield replica

    def wait_for_standby(self, standby: Cluster) -> None:
        """Waits until a replica has replayed everything that this cluster has written so far."""
        with self.connect() as here, standby.connect() as there:
            position = here.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            deadline = time.monotonic() + START_SECONDS
            replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while there.execute(replayed, position).fetchone() != (True,):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the standby has not replayed {position} after {START_SECONDS} s")
                time.sleep(0.02)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that belongs to the server's system user; short, because a socket's path is limited to 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        user = server_user()
        if user:
            shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """Starts a cluster and stops it at the end, whatever happens in between."""
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop("immediate")


@contextmanager
def temporary_cluster(settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A new running cluster with `SETTINGS`, changed by `settings`; removed at the end."""
    with temporary_folder("delc-cluster-") as folder:
        cluster = Cluster(folder)
        cluster.initialise({**SETTINGS, **(settings or {})})
        with running(cluster):
            yield cluster
