"""Chains of stored tensors and deltas, restored inside PL/Python without a tensor in between."""

from __future__ import annotations

import re

import psycopg
import pytest

from support.cluster import Connection
from support.python_function import run_inside

CHAIN = """
import plpy
from delc.server import tensors

plan = plpy.prepare("SELECT delc.encoded(v) AS v FROM (SELECT $1 AS v) AS one", ["delc.tensor"])
values = "'float32{1,2,3}'", "'float32{1.5,2,-3}'", "'float32{1.25,2,NaN}'"

def stored(expression):
    return plpy.execute(f"SELECT delc.encoded({expression}) AS v")[0]["v"]

def chain(method):
    whole = stored(f"{values[0]}::delc.tensor")
    return [whole] + [stored(f"delc.tensor_delta({a}, {b}, '{method}')") for a, b in zip(values, values[1:])]
"""


@pytest.mark.parametrize("method", ["sub", "planes", "xor"])
def test_a_chain_of_stored_values_becomes_an_array(db: Connection, method: str) -> None:
    body = CHAIN + f"""
restored = tensors.restore(chain("{method}"))
return [str(restored.dtype), str(restored.tolist())]
"""
    assert run_inside(db, body) == ["float32", "[1.25, 2.0, nan]"]


def test_the_first_planes_of_a_chain_become_an_array(db: Connection) -> None:
    body = CHAIN + 'return [hex(bits) for bits in tensors.restore(chain("planes"), 2).view("uint32").tolist()]'
    assert run_inside(db, body) == ["0x3fa00000", "0x40000000", "0x7fc00000"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("[]", "at least one value"),
        ("chain('sub')[1:]", "a delta between tensors cannot be used as a tensor"),
        ("chain('sub')[::2]", "made from another base"),
        ("[chain('sub')[0][:20]]", "not a valid encoded tensor"),
        ("[*chain('sub')[:2], b'']", "not a valid encoded"),
    ],
)
def test_what_is_no_chain_is_an_error_and_the_session_goes_on(db: Connection, values: str, said: str) -> None:
    with pytest.raises(psycopg.errors.ExternalRoutineException, match=re.escape(said)), db.transaction():
        run_inside(db, f"{CHAIN}\nreturn tensors.restore({values}).tolist()")
    assert run_inside(db, CHAIN + 'return tensors.restore(chain("sub")[:1]).tolist()') == [1, 2, 3]
