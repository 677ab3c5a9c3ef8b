"""Chains of stored values, fetched and decoded in threads, as PL/Python sees them."""

from __future__ import annotations

import re

import psycopg
import pytest

from support.cluster import Connection
from support.python_function import run_inside

CHAIN = """
import plpy
from delc.server import fetched
from delc.server.fetched import Job

values = "'float32{1,2,3}'", "'float32{1.5,2,-3}'", "'float32{1.25,2,NaN}'"

def chain(method):
    deltas = [f"delc.tensor_delta({a}, {b}, '{method}')" for a, b in zip(values, values[1:])]
    return [f"{values[0]}::delc.tensor", *deltas]

def decode(expressions, *jobs, threads=1):
    with fetched.values() as handle:
        for expression in expressions:
            plpy.execute(f"SELECT delc.fetch_stored({handle}, {expression}, NULL)")
        return fetched.decode(handle, jobs, threads)

def shown(decoded):
    return getattr(decoded, "message", None) or str(decoded.numbers.tolist())
"""


@pytest.mark.parametrize("method", ["sub", "planes", "xor"])
def test_a_chain_of_stored_values_becomes_an_array(db: Connection, method: str) -> None:
    body = CHAIN + f'return [shown(decode(chain("{method}"), Job((0, 1, 2)))[0])]'
    assert run_inside(db, body) == ["[1.25, 2.0, nan]"]


def test_the_first_planes_of_a_chain_become_an_array(db: Connection) -> None:
    body = (
        CHAIN
        + """
(decoded,) = decode(chain("planes"), Job((0, 1, 2), planes=2))
return [hex(bits) for bits in decoded.numbers.view("uint32").tolist()]
"""
    )
    assert run_inside(db, body) == ["0x3fa00000", "0x40000000", "0x7fc00000"]


def test_bytes_below_the_first_ones_are_zero_where_only_those_are_kept(db: Connection) -> None:
    body = (
        CHAIN
        + """
(decoded,) = decode(["'float32{1.00390625,3.1415927}'"], Job((0,), keep=2))
return [hex(bits) for bits in decoded.numbers.view("uint32").tolist()]
"""
    )
    assert run_inside(db, body) == ["0x3f800000", "0x40490000"]


def test_a_chain_goes_on_from_numbers_that_stay_as_they_are(db: Connection) -> None:
    body = (
        CHAIN
        + """
first, = decode(chain("sub")[:2], Job((0, 1)))
last, = decode(chain("sub")[2:], Job((0,), base=first.memory))
return [shown(first), shown(last)]
"""
    )
    assert run_inside(db, body) == ["[1.5, 2.0, -3.0]", "[1.25, 2.0, nan]"]


def test_many_chains_are_decoded_in_threads_each_to_its_own_numbers(db: Connection) -> None:
    body = (
        CHAIN
        + """
numbers = [f"delc.tensor(array_fill({n}::real, ARRAY[1000, 10]))" for n in range(64)]
decoded = decode(numbers, *(Job((place,)) for place in range(64)), threads=8)
return [bool((one.numbers == place).all()) for place, one in enumerate(decoded)] == [True] * 64
"""
    )
    assert run_inside(db, body) is True


def test_one_damaged_chain_leaves_the_others(db: Connection) -> None:
    body = (
        CHAIN
        + """
given = ["'float32{1,2,3}'", chain("sub")[1], "'float32{4}'"]
return [shown(one) for one in decode(given, Job((0,)), Job((1,)), Job((2,)), threads=3)]
"""
    )
    found = run_inside(db, body)
    assert found[::2] == ["[1.0, 2.0, 3.0]", "[4.0]"]
    assert "a delta between tensors cannot be used as a tensor" in found[1]


@pytest.mark.parametrize(
    ("places", "said"),
    [("(1, 2)", "a delta between tensors cannot be used as a tensor"), ("(0, 2)", "made from another base")],
)
def test_what_is_no_chain_is_named(db: Connection, places: str, said: str) -> None:
    assert said in run_inside(db, CHAIN + f'return [shown(decode(chain("sub"), Job({places}))[0])]')[0]


@pytest.mark.parametrize(
    ("job", "said"), [("Job(())", "at least one value"), ("Job((7,))", "has no value 7"), ("Job((-1,))", "no value -1")]
)
def test_a_job_of_values_that_are_not_there_is_an_error_and_the_session_goes_on(
    db: Connection, job: str, said: str
) -> None:
    with pytest.raises(psycopg.errors.ExternalRoutineException, match=re.escape(said)), db.transaction():
        run_inside(db, f'{CHAIN}\nreturn [shown(one) for one in decode(chain("sub"), {job})]')
    assert run_inside(db, CHAIN + 'return [shown(decode(chain("sub"), Job((0,)))[0])]') == ["[1.0, 2.0, 3.0]"]


def test_a_set_is_gone_after_its_block(db: Connection) -> None:
    body = (
        CHAIN
        + """
with fetched.values() as handle:
    pass
plpy.execute(f"SELECT delc.fetch_stored({handle}, 'float32{{1}}', NULL)")
"""
    )
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="there is no set"), db.transaction():
        run_inside(db, body)
