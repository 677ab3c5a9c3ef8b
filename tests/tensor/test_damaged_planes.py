"""Whatever byte of a stored value changes: all of it or its first planes are read right, or there is an error."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import psycopg
import pytest

from support.cluster import Connection
from support.tensors import Tensor, smooth, storage, tensor, value

PLACES = 700
"""So many bytes of a value are changed, one at a time; all of the header's are among them."""

REFUSALS = {"XX001", "22023", "54000"}
"""Damage; a delta where none should be; a size that no tensor has."""

TRY_ALL = """
CREATE FUNCTION pg_temp.any_bytes(bytea) RETURNS tensor LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
CREATE FUNCTION pg_temp.try_all(chain bytea[], hop integer, places integer[], masks integer[], planes integer)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    counts jsonb := '{}';
    damaged bytea[];
    expected bytea;
    outcome text;
BEGIN
    SELECT tensor_send(CASE WHEN array_length(chain, 1) = 1 THEN planes(pg_temp.any_bytes(chain[1]), planes)
                            ELSE planes(restore(pg_temp.any_bytes(link.value) ORDER BY number), planes) END)
    INTO expected FROM unnest(chain) WITH ORDINALITY AS link (value, number);
    FOR i IN 1 .. array_length(places, 1) LOOP
        damaged := chain;
        damaged[hop] := set_byte(chain[hop], places[i], get_byte(chain[hop], places[i]) # masks[i]);
        BEGIN
            SELECT CASE WHEN tensor_send(CASE WHEN array_length(chain, 1) = 1
                                              THEN planes(pg_temp.any_bytes(damaged[1]), planes)
                                              ELSE restore(pg_temp.any_bytes(link.value), planes ORDER BY number) END)
                             = expected THEN 'right' ELSE 'wrong' END
            INTO outcome FROM unnest(damaged) WITH ORDINALITY AS link (value, number);
        EXCEPTION WHEN OTHERS THEN
            outcome := SQLSTATE;
        END;
        counts := jsonb_set(counts, ARRAY[outcome], to_jsonb(coalesce((counts ->> outcome)::integer, 0) + 1));
    END LOOP;
    RETURN counts;
END
$$
"""


@pytest.fixture
def db_of_any_bytes(tdb: Connection) -> Connection:
    """Where values of any bytes can be made, as a damaged page would give them."""
    tdb.execute(TRY_ALL)
    return tdb


def places(content: bytes) -> list[int]:
    """Which bytes to change: those of the header and as many behind it."""
    random = Random(len(content))
    behind = range(min(len(content), 160), len(content))
    return [*range(min(len(content), 160)), *random.sample(behind, min(len(behind), PLACES - 160))]


def check(db: Connection, chain: Sequence[bytes], readable: Sequence[int]) -> None:
    """Changes bytes of every value of a chain, and reads the chain's leading planes, as many as can be read."""
    for hop, content in enumerate(chain, start=1):
        chosen = places(content)
        random = Random(hop)
        for planes in readable:
            masks = [random.choice((1 << random.randrange(8), random.randrange(1, 256))) for _ in chosen]
            arguments = (list(chain), hop, chosen, masks, planes)
            counts = value(db, "SELECT pg_temp.try_all(%s, %s, %s, %s, %s)", *arguments)
            assert sum(counts.values()) == len(chosen)
            assert set(counts) <= REFUSALS | {"right"}, counts
            assert counts["XX001"] > 0


def weights(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    rng = np.random.default_rng(5)
    scales = np.exp2(rng.uniform(-3, 1, (shape[0], 1)) + rng.uniform(-2, 1, (1, shape[1])))
    return (rng.standard_normal(shape) * 0.05 * scales).astype(np.float32)


def rows_that_end_in_zeros() -> np.ndarray[Any, np.dtype[np.float32]]:
    bits = weights((60, 100)).view(np.uint32)
    bits[::2] &= np.uint32(0xFFFFE000)
    return bits.view(np.float32)


KINDS = {
    "raw": ("%s", tensor(weights((4, 20)))),
    "zstd": ("%s", tensor(weights((60, 100)))),
    "constant": ("%s", tensor(np.arange(300), "int32")),
    "rans": ("compress(%s)", tensor(weights((60, 100)))),
    "rans in halves": ("compress(%s, true)", tensor(weights((60, 100)))),
    "rows": ("compress(%s)", tensor(rows_that_end_in_zeros())),
    "table": ("compress(%s)", tensor(np.random.default_rng(3).integers(0, 40, 5000) / 7)),
    "two bytes": ("compress(%s)", smooth(np.random.default_rng(4), "bfloat16", (70, 80))),
    "one byte": ("%s", smooth(np.random.default_rng(4), "int8", (9, 9))),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_changed_byte_of_a_whole_value(db_of_any_bytes: Connection, kind: str) -> None:
    expression, original = KINDS[kind]
    content = bytes(value(db_of_any_bytes, f"SELECT encoded({expression})", original))
    encodings = value(
        db_of_any_bytes, f"SELECT array_agg(encoding || ' ' || bits) FROM plane_info({expression})", original
    )
    assert any(kind.split()[0] in encoding for encoding in encodings) or "byte" in kind, encodings
    check(db_of_any_bytes, [content], range(1, len(encodings) + 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("method", ["sub", "planes", "xor"])
def test_a_changed_byte_of_any_value_of_a_chain(db_of_any_bytes: Connection, method: str, dtype: str) -> None:
    rng = np.random.default_rng(6)
    values = [smooth(rng, dtype, (30, 40))]
    for _ in range(2):
        low = rng.integers(0, 50, (30, 40)).astype(f"uint{8 * storage(dtype).itemsize}")
        values.append(Tensor(dtype, (values[-1].array.view(low.dtype) + low).view(storage(dtype))))
    chain = [bytes(value(db_of_any_bytes, "SELECT encoded(compress(%s))", values[0]))]
    for base, target in pairwise(values):
        made = value(db_of_any_bytes, "SELECT encoded(tensor_delta(%s, %s, %s))", base, target, method)
        chain.append(bytes(made))
    size = storage(dtype).itemsize
    check(db_of_any_bytes, chain, [size] if method == "sub" else range(1, size + 1))


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_the_planes_of_another_base_are_refused(tdb: Connection, planes: int) -> None:
    """A chain's results have checksums for their first planes too: no planes of another value lead to them."""
    base, target, other = (smooth(np.random.default_rng(seed), "float32", (30, 40)) for seed in (1, 2, 3))
    query = """
        SELECT restore(v, %s ORDER BY n) FROM (VALUES (1, %s), (2, tensor_delta(%s, %s, 'planes'))) AS chain (n, v)
    """
    assert value(tdb, query, planes, base, base, target) == value(tdb, "SELECT planes(%s, %s)", target, planes)
    with pytest.raises(psycopg.Error) as error:
        value(tdb, query, planes, other, base, target)
    assert error.value.sqlstate in ("XX001", "22023")
