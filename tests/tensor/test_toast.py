"""Reading part of a stored tensor reads only that part's TOAST chunks."""

from __future__ import annotations

import numpy as np
import pytest

from support.cluster import Connection
from support.tensors import random_bits, smooth, text, value

ELEMENTS = 500_000


@pytest.fixture
def stored(tdb: Connection) -> Connection:
    """A table with one tensor whose four planes are raw and equally long, and one whose first is compressed."""
    rng = np.random.default_rng(11)
    tdb.execute("CREATE TABLE stored (name text, t tensor)")
    tdb.execute("INSERT INTO stored VALUES ('raw', %s)", (random_bits(rng, "float32", (ELEMENTS,)),))
    tdb.execute("INSERT INTO stored VALUES ('weights', %s)", (smooth(rng, "float32", (ELEMENTS,)),))
    return tdb


def buffers(db: Connection, expression: str, name: str = "raw") -> int:
    """How many buffers evaluating an expression over one row touches."""
    explain = (
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT {expression} FROM stored WHERE name = '{name}'"
    )
    db.execute(explain)  # the first run reads catalogs
    plan = db.execute(explain).fetchone()
    assert plan is not None
    counted = plan[0][0]["Plan"]
    return int(counted["Shared Hit Blocks"]) + int(counted["Shared Read Blocks"])


@pytest.mark.parametrize(
    "accessor", ["dtype(t)", "shape(t)", "rank(t)", "elements(t)", "raw_bytes(t)", "stored_bytes(t)"]
)
def test_accessors_touch_one_chunk_at_most(stored: Connection, accessor: str) -> None:
    scan = buffers(stored, "name")
    assert buffers(stored, accessor) - scan <= 6


def test_plane_info_touches_one_chunk(stored: Connection) -> None:
    assert buffers(stored, "(SELECT count(*) FROM plane_info(t))") - buffers(stored, "name") <= 6


@pytest.mark.parametrize("planes", [1, 2, 3])
def test_planes_touch_their_share_of_chunks(stored: Connection, planes: int) -> None:
    whole = buffers(stored, "stored_bytes(planes(t, 4))")
    part = buffers(stored, f"stored_bytes(planes(t, {planes}))")
    assert whole > 4 * ELEMENTS / 8192  # pages of TOAST chunks
    assert part / whole == pytest.approx(planes / 4, abs=0.03)


def test_a_compressed_first_plane_is_cheaper_still(stored: Connection) -> None:
    raw = buffers(stored, "stored_bytes(planes(t, 1))", "raw")
    compressed = buffers(stored, "stored_bytes(planes(t, 1))", "weights")
    assert compressed < raw / 2


def test_the_type_is_stored_outside_the_row_and_not_compressed_by_toast(stored: Connection) -> None:
    assert text(stored, "SELECT typstorage FROM pg_type WHERE oid = 'tensor'::regtype") == "e"
    assert value(stored, "SELECT bool_and(pg_column_compression(t) IS NULL) FROM stored")


@pytest.mark.parametrize("storage", ["PLAIN", "EXTENDED", "MAIN", "EXTERNAL"])
def test_every_storage_setting_reads_back(tdb: Connection, storage: str) -> None:
    original = smooth(np.random.default_rng(12), "int16", (3000,))
    tdb.execute("CREATE TABLE kept (t tensor)")
    tdb.execute(f"ALTER TABLE kept ALTER t SET STORAGE {storage}".encode())
    tdb.execute("INSERT INTO kept VALUES (%s)", (original,))
    assert value(tdb, "SELECT t FROM kept") == original
    assert value(tdb, "SELECT planes(t, 1) = planes(%s, 1) AND shape(t) = '{3000}' FROM kept", original)
