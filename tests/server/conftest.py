"""A cluster that was started without delc, and where no background worker can be had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, temporary_cluster
from support.examples import FLOWERS, dataset, train

BARE = {"shared_preload_libraries": "", "max_worker_processes": "0"}


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[Cluster]:
    """Its database `postgres` has the extension, the data set flowers and a model of that name."""
    with temporary_cluster(BARE) as cluster:
        with cluster.connect() as connection:
            connection.execute("CREATE EXTENSION delc CASCADE")
            connection.execute(FLOWERS)
            connection.execute(dataset("flowers", "flowers", "species"))
            connection.execute(train("flowers", "flowers", threads="1", epochs="1"))
        yield cluster
