"""Threads of torch in a session."""

from __future__ import annotations

from support.cluster import Cluster
from support.examples import FLOWERS, dataset, train
from support.python_function import run_inside
from support.workplace import failure, value, workplace

ALLOW = """
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard if args[0] is None else args[0], hard))
"""
PREDICTION = "SELECT delc.predict('flowers', f) FROM flowers AS f LIMIT 1"


def test_a_session_that_gets_no_more_threads_is_told_so_and_lives_on(cluster: Cluster, template: str) -> None:
    statements = FLOWERS, dataset("flowers", "flowers", "species"), train("flowers", "flowers", epochs="1")
    with (
        workplace(cluster, template, *statements) as place,
        cluster.connect(place.info.dbname) as session,
    ):
        session.execute("SET delc.threads = 3")
        run_inside(session, ALLOW, 0)
        error = failure(session, PREDICTION)
        assert error.diag.sqlstate == "53200"
        assert error.diag.message_primary == "delc: the system starts no more threads for this session"
        assert error.diag.message_hint == "Set delc.threads = 1, or try again later."
        session.execute("SET delc.threads = 1")
        alone = value(session, PREDICTION)
        session.execute("SET delc.threads = 3")
        run_inside(session, ALLOW, None)
        assert value(session, PREDICTION) == alone
