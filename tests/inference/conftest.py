"""Models of every task, trained once for this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, IMAGES, PRICES, TOPICS, dataset, train
from support.workplace import rolled_back, workplace

SHAPED = """'{"pixels": {"kind": "array", "shape": [1, 4, 4]}}'"""
CNN = """'{"architecture": "cnn", "channels": [8]}'"""


@pytest.fixture(scope="session")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The models flowers, images, price, both (two numbers) and flags (several labels)."""
    statements = [
        FLOWERS,
        IMAGES,
        PRICES,
        TOPICS,
        dataset("flowers", "flowers", "species"),
        dataset("images", "images", "half"),
        dataset("price", "SELECT id, size, rooms, price FROM prices", "price", key="'id'"),
        dataset("both", "prices", "price, tax"),
        dataset("flags", "SELECT id, x, y, sport, science FROM topics", "sport, science", key="'id'"),
        train("flowers", "flowers"),
        train("images", "images", network=CNN, features=SHAPED, epochs="4"),
        train("price", "price", epochs="40"),
        train("both", "both", epochs="40"),
        train("flags", "flags"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection
