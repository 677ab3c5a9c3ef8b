"""The session of docs/client.md runs as it is printed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from support.cluster import ROOT, Cluster

EXAMPLES = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_session_runs(
    cluster: Cluster, fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"PGHOST": cluster.host, "PGPORT": str(cluster.port), "PGUSER": cluster.user, "PGDATABASE": fresh_database}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    script = tmp_path / "session.py"
    script.write_text("\n".join(EXAMPLES.findall((ROOT / "docs/client.md").read_text())))
    found = runpy.run_path(str(script))
    found["connection"].close()
    assert found["accuracy"] > 0.9
