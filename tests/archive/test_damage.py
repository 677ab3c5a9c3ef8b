"""Damage: whatever byte of an archived model changes, reading gives the right numbers or an error that names model,
snapshot and parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, rolled_back, rows, value, workplace

SLOW = {"network": """'{"architecture": "mlp", "hidden": [24]}'""", "learning_rate": "0.0005"}

ANY_BYTES = "CREATE FUNCTION any_bytes(bytea) RETURNS delc.tensor LANGUAGE internal IMMUTABLE STRICT AS 'byteasend'"
"""A value of any bytes, as a damaged page would give it: casts and input functions look at what they are given."""

PARAMETERS = """
    SELECT parameter.tensor_id, snapshot.id, parameter.name, 'base@1#' || snapshot.epoch
    FROM delc.snapshot_parameters AS parameter JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id
    ORDER BY snapshot.epoch, parameter.name
"""
READ = "SELECT delc.to_npy(value) FROM delc.parameters WHERE snapshot_id = %s AND name = %s"
READ_PLANES = "SELECT delc.to_npy(value) FROM delc.checkout(%s, %s) WHERE name = %s"
DEPENDANTS = """
    WITH RECURSIVE dependant AS (
        SELECT %s::bigint AS id
        UNION ALL SELECT stored.id FROM dependant JOIN delc.stored_tensors AS stored ON stored.base_id = dependant.id
    )
    SELECT array_agg(id) FROM dependant
"""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a snapshot, and its numbers."""

    tensor: int
    snapshot: int
    name: str
    title: str
    numbers: bytes
    planes: tuple[bytes, ...]
    """Its numbers as one, two, three and four bytes of each give them."""


@dataclass(frozen=True)
class Archive:
    """An archived model of one version: its parameters, and its stored tensors as (id, bytes)."""

    db: Connection
    parameters: list[Parameter]
    stored: list[tuple[int, bytes]]

    @property
    def bytes(self) -> int:
        return sum(len(content) for _, content in self.stored)

    def damaged(self, place: int, mask: int) -> tuple[int, bytes]:
        """Id and bytes of the tensor in which a byte, counted through all, is changed by ``mask``."""
        for tensor, content in self.stored:
            if place < len(content):
                return tensor, content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]
            place -= len(content)
        raise AssertionError("there are not so many bytes")


@pytest.fixture(scope="module", params=["sub", "planes", "planes', halves => 'true"], ids=["sub", "planes", "halves"])
def archive(cluster: Cluster, template: str, request: pytest.FixtureRequest) -> Iterator[Archive]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", epochs="4", checkpoint_every="1", **SLOW),
        f"SELECT delc.archive(objective => 'smallest', method => '{request.param}')",
        ANY_BYTES,
    ]
    with workplace(cluster, template, *statements) as db:
        found = [
            Parameter(*key, value(db, READ, *key[1:3]), first_planes(db, *key[1:3])) for key in rows(db, PARAMETERS)
        ]
        stored = rows(db, "SELECT id, delc.encoded(value) FROM delc.stored_tensors ORDER BY id")
        assert value(db, "SELECT max(hops) FROM delc.stored_tensors") > 1
        yield Archive(db, found, stored)


def first_planes(db: Connection, snapshot: int, name: str) -> tuple[bytes, ...]:
    query = """
        SELECT delc.to_npy(delc.planes(value::real[]::delc.tensor, planes)) -- of bytes, also where stored in halves
        FROM delc.parameters, generate_series(1, 4) AS planes
        WHERE snapshot_id = %s AND name = %s ORDER BY planes
    """
    return tuple(numbers for (numbers,) in rows(db, query, snapshot, name))


@pytest.fixture
def db(archive: Archive) -> Iterator[Connection]:
    with rolled_back(archive.db) as connection:
        yield connection


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_an_error_that_names_the_parameter_or_changes_no_number(
    archive: Archive, data: st.DataObject
) -> None:
    place, mask = data.draw(st.integers(0, archive.bytes - 1)), data.draw(st.integers(1, 255))
    tensor, content = archive.damaged(place, mask)
    with rolled_back(archive.db) as db:
        db.execute("UPDATE delc.stored_tensors SET value = any_bytes(%s) WHERE id = %s", [content, tensor])
        dependants = value(db, DEPENDANTS, tensor)
        for parameter in archive.parameters:
            if parameter.tensor in dependants:
                assert_named_or_right(db, parameter)
                for planes, numbers in enumerate(parameter.planes, start=1):
                    found = attempt(db, READ_PLANES, parameter.title, planes, parameter.name)
                    assert_named(parameter, found, numbers)


@pytest.mark.parametrize("place", [3, 17, 40, -8])
def test_archiving_what_is_damaged_is_an_error_that_names_a_parameter(archive: Archive, place: int) -> None:
    for tensor, content in archive.stored:
        with rolled_back(archive.db) as db:
            at = place % len(content)
            spoiled = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            db.execute("UPDATE delc.stored_tensors SET value = any_bytes(%s) WHERE id = %s", [spoiled, tensor])
            error = failure(db, "SELECT delc.archive(objective => 'fastest')")
            assert error.sqlstate == "XX001", (tensor, message(error))
            assert re.search(r"base@1(#\d)? \S+ is damaged", message(error)), (tensor, message(error))


@pytest.mark.parametrize(
    "change", ["base_id = %(other)s", "second_base_id = %(other)s", "second_base_id = NULL", "value = another.value"]
)
def test_another_base_or_value_is_an_error_that_names_the_parameter(archive: Archive, change: str) -> None:
    for (tensor,) in rows(archive.db, "SELECT id FROM delc.stored_tensors WHERE hops > 1 ORDER BY id"):
        for other, _ in archive.stored:
            with rolled_back(archive.db) as db:
                db.execute(
                    f"UPDATE delc.stored_tensors AS stored SET {change} FROM delc.stored_tensors AS another"
                    " WHERE stored.id = %(tensor)s AND another.id = %(other)s",
                    {"tensor": tensor, "other": other},
                )
                for parameter in archive.parameters:
                    if parameter.tensor == tensor:
                        assert_named_or_right(db, parameter)


def assert_named_or_right(db: Connection, parameter: Parameter) -> None:
    assert_named(parameter, attempt(db, READ, parameter.snapshot, parameter.name), parameter.numbers)


def assert_named(parameter: Parameter, found: bytes | psycopg.Error, numbers: bytes) -> None:
    """What was found is these numbers, or an error that names the parameter."""
    if isinstance(found, psycopg.Error):
        assert found.sqlstate == "XX001", message(found)
        assert f'parameter "{parameter.name}" of "{parameter.title}" is damaged' in message(found)
    else:
        assert found == numbers


def attempt(db: Connection, query: str, *parameters: object) -> bytes | psycopg.Error:
    """The numbers, or the error of reading them."""
    try:
        with db.transaction():
            numbers: bytes = value(db, query, *parameters)
            return numbers
    except psycopg.Error as error:
        return error


def damage(archive: Archive, db: Connection, epoch: int) -> Parameter:
    """Changes a byte in the middle of a stored weight of a snapshot; the parameter that it is."""
    found = next(p for p in archive.parameters if p.title == f"base@1#{epoch}" and p.name.endswith("weight"))
    content = dict(archive.stored)[found.tensor]
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
    db.execute("UPDATE delc.stored_tensors SET value = any_bytes(%s) WHERE id = %s", [changed, found.tensor])
    return found


@pytest.mark.parametrize(
    "query",
    [
        "SELECT delc.predict('{0}', f) FROM flowers AS f",
        "SELECT * FROM delc.predict_rows('{0}', 'SELECT * FROM flowers')",
        "SELECT * FROM delc.evaluate('{0}', 'flowers', store => false)",
        "SELECT * FROM delc.checkout('{0}')",
        "SELECT * FROM delc.checkout('{0}', 3)",
        "SELECT * FROM delc.predict_rows('{0}', 'SELECT * FROM flowers', reading => 'planes:3')",
        "SELECT * FROM delc.predict_rows('{0}', 'SELECT * FROM flowers', reading => 'progressive')",
        "SELECT * FROM delc.export_parameters('{0}')",
        "SELECT delc.export_safetensors('{0}')",
        "SELECT delc.export_onnx('{0}')",
        "SELECT delc.commit_parameters('new', '{0}', 'SELECT name, value FROM delc.checkout(''{0}'')')",
        "SELECT delc.merge_models('new', ARRAY['{0}', 'base@1'])",
        "SELECT * FROM delc.diff_parameters('{0}', 'base@1')",
        "SELECT * FROM delc.train('new', 'flowers', from_model => '{0}', epochs => 1)",
        "SELECT delc.archive('base', objective => 'fastest')",
    ],
)
@pytest.mark.parametrize("epoch", [1, 2])
def test_whoever_reads_a_damaged_parameter_is_told_which_one_it_is(
    archive: Archive, db: Connection, epoch: int, query: str
) -> None:
    damage(archive, db, epoch)
    error = failure(db, query.format(f"base@1#{epoch}"))
    assert error.sqlstate == "XX001", message(error)
    assert ".weight" in message(error)
    assert "base@1#" in message(error)
    assert "is damaged" in message(error)


def test_verifying_names_all_that_are_damaged(archive: Archive, db: Connection) -> None:
    damaged = damage(archive, db, 2)
    found = [parameter for (parameter,) in rows(db, "SELECT parameter FROM delc.verify_archive()")]
    dependants = value(db, DEPENDANTS, damaged.tensor)
    assert sorted(found) == sorted(f"{p.title} {p.name}" for p in archive.parameters if p.tensor in dependants)
