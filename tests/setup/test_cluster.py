"""The throw-away cluster that other tests run in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.cluster import ROOT, Cluster, temporary_cluster

HOLD_A_CLUSTER = """
from support.cluster import temporary_cluster
with temporary_cluster({"shared_preload_libraries": ""}) as cluster:
    print(cluster.folder, cluster.process.pid, flush=True)
    input()
"""


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent's notice does not."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status


def test_the_server_does_not_outlive_the_process_that_started_it() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_CLUSTER], cwd=ROOT / "tests", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    folder, pid = holder.stdout.readline().split()
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    patience = 500
    while is_running(int(pid)) and (patience := patience - 1):
        time.sleep(0.02)
    shutil.rmtree(Path(folder))
    assert not is_running(int(pid))


def test_nothing_is_left_of_a_cluster_that_is_done_with() -> None:
    with temporary_cluster({"shared_preload_libraries": ""}) as cluster:
        assert cluster.process is not None
        pid = cluster.process.pid
    assert not cluster.folder.exists()
    assert not is_running(pid)


def test_settings_given_at_a_restart_apply() -> None:
    with temporary_cluster({"shared_preload_libraries": ""}) as cluster:
        cluster.restart({"work_mem": "7MB"})
        assert cluster.psql("postgres", "SHOW work_mem") == "7MB\n"


def test_a_standby_replays_what_the_cluster_writes(cluster: Cluster) -> None:
    with cluster.standby() as standby:
        cluster.psql("postgres", "CREATE TABLE written AS SELECT 7 AS a")
        cluster.wait_for_standby(standby)
        assert standby.psql("postgres", "SELECT a, pg_is_in_recovery() FROM written") == "7|t\n"
    cluster.psql("postgres", "DROP TABLE written")
