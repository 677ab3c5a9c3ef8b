"""One tensor holds at most 128 MiB, however it comes about."""

from __future__ import annotations

import psycopg
import pytest

from support.cluster import Connection
from support.tensors import text, value

LIMIT = 128 * 1024 * 1024


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT tensor(array_fill(0::float8, '{{{LIMIT // 8 + 1}}}'))",
        f"SELECT from_npy('\\x93' || 'NUMPY'::bytea || '\\x01007600'::bytea || "
        f"rpad('{{''descr'': ''|u1'', ''fortran_order'': False, ''shape'': ({LIMIT + 1},)}}', 118)::bytea)",
        f"SELECT 'uint8[{LIMIT + 1}]{{1}}'::tensor",
    ],
)
def test_input_above_the_limit_is_refused(tdb: Connection, sql: str) -> None:
    with pytest.raises(psycopg.errors.ProgramLimitExceeded) as caught:
        tdb.execute(sql.encode())
    assert caught.value.diag.message_detail == f"One tensor holds at most {LIMIT} bytes (128 MiB)."
    assert "chunks" in (caught.value.diag.message_hint or "")


@pytest.fixture
def largest(tdb: Connection) -> Connection:
    """A table with a tensor of exactly the limit, and a quarter of it."""
    tdb.execute("CREATE TEMP TABLE quarter ON COMMIT DROP AS SELECT tensor(array_fill(true, %s)) AS t", ([LIMIT // 4],))
    tdb.execute(
        "CREATE TEMP TABLE big ON COMMIT DROP AS "
        "SELECT reshape(stack(t), '{-1}') AS t FROM quarter, generate_series(1, 4)"
    )
    return tdb


def test_a_tensor_of_the_limit_is_allowed_and_its_constant_planes_are_small(largest: Connection) -> None:
    assert value(largest, "SELECT raw_bytes(t) FROM big") == LIMIT
    assert value(largest, "SELECT stored_bytes(t) FROM big") < 100
    assert text(largest, "SELECT t FROM big").startswith(f"bool[{LIMIT}]base64:")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT as_dtype(t, 'int16') FROM big",
        "SELECT stack(t) FROM (SELECT t FROM big UNION ALL SELECT t FROM big) s",
        "SELECT sum(t) FROM big",
        "SELECT avg(t) FROM quarter",
    ],
)
def test_results_above_the_limit_are_refused(largest: Connection, sql: str) -> None:
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="is too large"):
        largest.execute(sql.encode())


@pytest.mark.parametrize("array_type", ["double precision", "boolean"])
def test_arrays_above_what_postgresql_allocates_are_refused(largest: Connection, array_type: str) -> None:
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match=f"too large for an array of {array_type}"):
        largest.execute(f"SELECT t::{array_type}[] FROM big".encode())
