"""The package is a house: rooms on floors; each uses rooms below it or beside it, never above, never in a circle."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python/delc"
FLOORS = {
    "server": 0,
    "log": 1,
    "features": 2,
    "datasets": 2,
    "networks": 2,
    "models": 3,
    "archive": 3,
    "training": 4,
    "inference": 4,
    "evaluation": 4,
    "exchange": 4,
    "dql": 5,
    "client": 6,
}


def imports() -> dict[str, set[str]]:
    """For each room the rooms that its files import."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "delc" and len(parts) > 1 and parts[1] != room:
                    found[room].add(parts[1])
    return found


def test_every_room_has_its_floor() -> None:
    assert {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()} == set(FLOORS)


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_uses_none_above_it(room: str) -> None:
    assert [used for used in imports()[room] if FLOORS[used] > FLOORS[room]] == []


def test_no_rooms_use_one_another_in_a_circle() -> None:
    order = tuple(TopologicalSorter(imports()).static_order())
    assert order[0] == "server"


def test_nothing_in_the_server_uses_the_client() -> None:
    assert [room for room, used in imports().items() if "client" in used] == []
