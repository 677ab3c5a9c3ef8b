"""Archiving in half planes: the same numbers, of which progressive reading reads half a byte at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tensors
from support.archives import NUMBERS, assert_sound
from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.tensors import Tensor
from support.workplace import rolled_back, rows, value, workplace

SLOW = {"network": """'{"architecture": "mlp", "hidden": [64, 64]}'""", "learning_rate": "0.0005"}
EPOCHS = (1, 2, 3)
PARAMETER = "hidden1.weight"
FASTEST = "SELECT * FROM delc.archive('base', 'fastest', halves => true)"
SMALLEST = "SELECT * FROM delc.archive('base', 'smallest', halves => true)"
STORED = "SELECT id, base_id, encoding, delc.stored_bytes(value), ctid::text FROM delc.stored_tensors ORDER BY id"
BITS = "SELECT DISTINCT (SELECT array_agg(bits) FROM delc.plane_info(value)) FROM delc.stored_tensors"


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", epochs=str(len(EPOCHS)), checkpoint_every="1", **SLOW),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def test_whole_tensors_are_stored_in_half_planes(db: Connection) -> None:
    before = rows(db, NUMBERS)
    assert {stored_as for _, stored_as, *_ in rows(db, FASTEST)} == {"halves"}
    assert rows(db, BITS) == [([8, 4, 4, 4, 4, 4, 4],)]
    assert rows(db, NUMBERS) == before
    assert_sound(db)


def test_differences_start_from_half_planes(db: Connection) -> None:
    before = rows(db, NUMBERS)
    db.execute(SMALLEST)
    assert {kind for (kind,) in rows(db, "SELECT encoding FROM delc.stored_tensors")} == {"halves", "sub"}
    assert rows(db, NUMBERS) == before
    assert_sound(db)


def test_large_tensors_are_stored_so_whatever_the_budget(db: Connection) -> None:
    wide = """'{"architecture": "mlp", "hidden": [300, 300]}'"""
    db.execute(train("wide", "flowers", network=wide, epochs="1"))
    planned = "SELECT stored_as FROM delc.archive('wide', halves => true, budget => '1')"
    assert {stored_as for (stored_as,) in rows(db, planned)} == {"halves"}


@pytest.mark.parametrize("archive", [FASTEST, SMALLEST])
def test_archiving_so_again_changes_nothing(db: Connection, archive: str) -> None:
    db.execute(archive)
    before = rows(db, STORED)
    db.execute(archive)
    assert rows(db, STORED) == before


def test_what_is_stored_whole_otherwise_is_stored_anew(db: Connection) -> None:
    db.execute("SELECT delc.archive('base', 'fastest')")
    assert rows(db, BITS) == [([8, 8, 8, 8],)]
    db.execute(FASTEST)
    assert rows(db, BITS) == [([8, 4, 4, 4, 4, 4, 4],)]


def test_archiving_without_stores_whole_bytes_again(db: Connection) -> None:
    db.execute("SELECT delc.archive('base', 'fastest')")
    before, numbers = value(db, "SELECT array_agg(delc.encoded(value) ORDER BY id) FROM delc.stored_tensors"), NUMBERS
    expected = rows(db, numbers)
    db.execute(FASTEST)
    db.execute("SELECT delc.archive('base', 'fastest')")
    assert value(db, "SELECT array_agg(delc.encoded(value) ORDER BY id) FROM delc.stored_tensors") == before
    assert rows(db, numbers) == expected


def test_a_dry_run_promises_the_bytes_that_archiving_takes(db: Connection) -> None:
    foreseen = {name: size for name, *_, size in rows(db, FASTEST.replace("halves", "dry_run => true, halves"))}
    stored = {name: size for name, *_, size in rows(db, FASTEST)}
    assert foreseen.keys() == stored.keys()
    for name, size in stored.items():
        assert size <= foreseen[name] <= 1.03 * size  # what is estimated counts as two in a hundred more
    again = {name: size for name, *_, size in rows(db, FASTEST.replace("halves", "dry_run => true, halves"))}
    assert again == stored


def test_rounded_checkpoints_are_archived_in_half_planes_too(db: Connection) -> None:
    db.execute(SMALLEST)
    db.execute("SELECT delc.round_snapshots('base', 'bfloat16', with_latest => true)")
    before = rows(db, NUMBERS)
    db.execute(FASTEST)
    assert rows(db, BITS) == [([8, 4, 4, 4, 4, 4, 4],)]
    assert rows(db, NUMBERS) == before
    assert_sound(db)


# ---- any numbers ----


@st.composite
def families(draw: st.DrawFn) -> list[Tensor]:
    """A tensor, and others of its kind that differ from it in few of their bits."""
    first = draw(tensors.tensors(("float32", "float32", "float16", "bfloat16", "float64", "int32")))
    size = first.array.itemsize
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = [first]
    for _ in EPOCHS[1:]:
        changes = rng.integers(0, 2 ** draw(st.integers(1, 8 * size - 2)), first.shape, dtype=np.uint64)
        bits = found[-1].array.view(f"u{size}") + changes.astype(f"u{size}")
        found.append(Tensor(first.dtype, np.ascontiguousarray(bits).view(first.array.dtype).reshape(first.shape)))
    return found


def put(db: Connection, family: list[Tensor]) -> None:
    """Makes them a parameter of the snapshots."""
    for epoch, one in zip(EPOCHS, family, strict=True):
        db.execute(
            "UPDATE delc.stored_tensors SET (value, dtype, elements, checksum) ="
            " (SELECT g.v, delc.dtype(g.v), delc.elements(g.v), delc.checksum(g.v) FROM (SELECT %s) AS g (v))"
            " FROM delc.snapshot_parameters AS p"
            " WHERE id = p.tensor_id AND p.name = %s AND p.snapshot_id = delc.find_snapshot(%s)",
            (one, PARAMETER, f"base@1#{epoch}"),
        )


def leading(original: Tensor, bits: int) -> Tensor:
    """So many bits of each number, with zeros below."""
    size = original.array.itemsize
    hidden = max(8 * size - bits, 0)
    whole = original.array.view(f"u{size}")
    return Tensor(original.dtype, (whole >> hidden << hidden).view(original.array.dtype))


@settings(max_examples=40, deadline=None)
@given(
    family=families(),
    objective=st.sampled_from(["fastest", "smallest", "budget"]),
    method=st.sampled_from(["sub", "planes", "xor"]),
    scheme=st.sampled_from(["independent", "parallel", "reusable"]),
)
def test_any_tensor_comes_back_bit_for_bit_and_so_do_its_leading_bytes(
    place: Connection, family: list[Tensor], objective: str, method: str, scheme: str
) -> None:
    with rolled_back(place) as db:
        tensors.register(db)
        put(db, family)
        db.execute("SELECT delc.archive('base', %s, method => %s, halves => true)", (objective, method))
        checkout = "SELECT value FROM delc.checkout(%s, %s, %s) WHERE name = %s"
        for epoch, original in zip(EPOCHS, family, strict=True):
            for planes in (None, *range(1, original.array.itemsize + 1)):
                found = tensors.value(db, checkout, f"base@1#{epoch}", planes, scheme, PARAMETER)
                assert found == leading(original, 64 if planes is None else 8 * planes)
        assert rows(db, "SELECT * FROM delc.verify_archive()") == []


@settings(max_examples=40, deadline=None)
@given(family=families())
def test_any_tensor_of_parameters_is_read_by_half_a_byte(place: Connection, family: list[Tensor]) -> None:
    stored = "SELECT {} FROM delc.stored_tensors AS s JOIN delc.snapshot_parameters AS p ON p.tensor_id = s.id"
    here = " WHERE p.name = %s AND p.snapshot_id = delc.find_snapshot(%s)"
    halved = family[0].dtype in ("float32", "float16", "bfloat16")
    with rolled_back(place) as db:
        tensors.register(db)
        put(db, family)
        db.execute(FASTEST)
        for epoch, original in zip(EPOCHS, family, strict=True):
            key = PARAMETER, f"base@1#{epoch}"
            assert value(db, stored.format("s.encoding = 'halves'") + here, *key) == halved
            for bits in range(8, 8 * original.array.itemsize + 1, 4 if halved else 8):
                planes = bits // 4 - 1 if halved else bits // 8
                found = tensors.value(db, stored.format(f"delc.planes(s.value, {planes})") + here, *key)
                assert found == leading(original, bits)
