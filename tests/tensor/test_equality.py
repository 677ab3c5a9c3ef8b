"""Equality, hashing and order: an equivalence over dtype, shape and bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.cluster import Connection
from support.tensors import DTYPES, Tensor, random_bits, tensors, text, value


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("{1,2}", "{1,2}", True),
        ("{NaN}", "{NaN}", True),
        ("{NaN}", "{NaN(0x7fc00001)}", False),
        ("{0}", "{-0}", False),
        ("{1,2}", "{{1,2}}", False),
        ("{1,2}", "float64{1,2}", False),
        ("float32[2,0]{}", "float32[0,2]{}", False),
        ("float32[]{1}", "float32{1}", False),
    ],
)
def test_equality_compares_dtype_shape_and_bits(tdb: Connection, left: str, right: str, equal: bool) -> None:
    row = tdb.execute(
        "SELECT a = b, a <> b, tensor_hash(a) = tensor_hash(b), tensor_cmp(a, b) = 0 "
        "FROM (SELECT %s::tensor AS a, %s::tensor AS b) s",
        (left, right),
    ).fetchone()
    assert row == (equal, not equal, equal, equal)


@given(original=tensors(), planes=st.integers(1, 8))
def test_the_encoding_of_planes_does_not_matter(tdb: Connection, original: Tensor, planes: int) -> None:
    """planes() writes constant planes where the encoder may choose another encoding of the same bytes."""
    cut = value(tdb, "SELECT planes(%s, %s)", original, planes)
    row = tdb.execute(
        "SELECT a = b, tensor_hash(a) = tensor_hash(b), tensor_hash_extended(a, 7) = tensor_hash_extended(b, 7) "
        "FROM (SELECT planes(%s, %s) AS a, %s AS b) s",
        (original, planes, cut),
    ).fetchone()
    assert row == (True, True, True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_differing_bit_is_seen(tdb: Connection, dtype: str) -> None:
    original = random_bits(np.random.default_rng(2), dtype, (5000,))
    changed = original.array.copy()
    bytes_ = changed.view(np.uint8)
    bytes_[-1] ^= 1
    assert value(tdb, "SELECT %s <> %s", original, Tensor(dtype, changed))


def test_grouping_distinct_and_joins_agree_however_they_are_done(tdb: Connection) -> None:
    rows = "(VALUES ('{NaN,1}'::tensor), ('{NaN,1}'), ('{0}'), ('{-0}'), ('int8{0}'), ('{0}')) v(t)"
    for method in ("hashagg", "sort"):
        tdb.execute(f"SET LOCAL enable_{method} = off".encode())
        assert value(tdb, f"SELECT count(*) FROM (SELECT t FROM {rows} GROUP BY t) s") == 4
        assert value(tdb, f"SELECT count(*) FROM (SELECT DISTINCT t FROM {rows}) s") == 4
        tdb.execute(f"SET LOCAL enable_{method} = on".encode())
    assert value(tdb, f"SELECT count(DISTINCT t) FROM {rows}") == 4
    for method in ("hashjoin", "mergejoin", "nestloop"):
        for other in ("hashjoin", "mergejoin", "nestloop"):
            tdb.execute(f"SET LOCAL enable_{other} = {'on' if other == method else 'off'}".encode())
        assert value(tdb, f"SELECT count(*) FROM {rows} JOIN {rows.replace('v(t)', 'w(u)')} ON t = u") == 10


@given(many=st.lists(tensors(max_elements=20), min_size=3, max_size=12))
def test_the_order_is_total(tdb: Connection, many: list[Tensor]) -> None:
    values = ", ".join(["(%s)"] * len(many))
    row = tdb.execute(
        f"WITH v(t) AS (VALUES {values}) SELECT "
        "bool_and((a.t < b.t)::int + (a.t = b.t)::int + (a.t > b.t)::int = 1 AND (a.t <= b.t) = NOT (a.t > b.t) "
        "AND (a.t >= b.t) = NOT (a.t < b.t)), "
        "bool_and(NOT (a.t <= b.t AND b.t <= c.t) OR a.t <= c.t) FROM v a, v b, v c",
        many,
    ).fetchone()
    assert row == (True, True)


def test_a_unique_index_keeps_equal_tensors_out(tdb: Connection) -> None:
    tdb.execute("CREATE TABLE only_once (t tensor UNIQUE)")
    tdb.execute("INSERT INTO only_once VALUES ('{NaN}'), ('{0}'), ('{-0}')")
    tdb.execute("INSERT INTO only_once VALUES ('{NaN}'), ('{1}') ON CONFLICT DO NOTHING")
    assert value(tdb, "SELECT count(*) FROM only_once") == 4


def test_operator_classes_are_valid(tdb: Connection) -> None:
    assert (
        text(
            tdb,
            "SELECT array_agg(amname || ':' || amvalidate(c.oid) ORDER BY amname) FROM pg_opclass c "
            "JOIN pg_am a ON a.oid = opcmethod WHERE opcintype = 'tensor'::regtype",
        )
        == "{btree:true,hash:true}"
    )
