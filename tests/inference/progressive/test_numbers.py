"""Planes that are read into numbers that are there: at every depth the leading bits are right, the middle below."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.workplace import value, workplace

DEEPEN = """
    CREATE FUNCTION deepened(source bigint, dtype text, steps int[]) RETURNS SETOF text LANGUAGE plpython3u AS $$
        if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
        import torch
        from delc.server import tensors
        row = plpy.execute(f"SELECT delc.elements(value) AS n FROM numbers WHERE id = {source}")[0]
        numbers, known = tensors.fresh(row["n"], getattr(torch, dtype)), 0
        for planes in steps:
            with tensors.receiving(numbers):
                plpy.execute(f"SELECT delc.read_planes(value, {known}, {planes}) FROM numbers WHERE id = {source}")
            known = planes
            yield numbers.view(torch.uint8).numpy().tobytes().hex()
    $$;
    CREATE FUNCTION expected(value delc.tensor, planes int[], bits int[]) RETURNS SETOF text LANGUAGE plpython3u
    TRANSFORM FOR TYPE delc.tensor AS $$
        if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
        import numpy, torch
        whole = torch.as_tensor(value).reshape(-1)
        size = 8 * whole.element_size()
        integers = whole.view({16: torch.int16, 32: torch.int32, 64: torch.int64}[size]).numpy()
        for known in bits:
            unknown = size - known
            found = integers if not unknown else (integers >> unknown << unknown) | integers.dtype.type(
                numpy.int64(1) << (unknown - 1) if unknown < size else 0)
            yield found.tobytes().hex()
    $$;
    CREATE TABLE numbers (id bigint PRIMARY KEY, value delc.tensor);
"""

NUMBERS = {
    "normal": "(random() + random() + random() - 1.5)::float8 * 0.1",
    "one of few": "(random() * 20)::int::float8 * 0.37",
    "always the same": "0.1::float8",
    "whole": "(random() * 2000)::int::float8",
}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Functions that read depth by depth, and a table for the numbers."""
    with workplace(cluster, template, DEEPEN) as connection:
        yield connection


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("stored", ["value", "delc.compress(value)", "delc.compress(value, halves => true)"])
def test_planes_are_read_into_numbers_one_after_the_other(
    place: Connection, dtype: str, numbers: str, stored: str
) -> None:
    place.execute("TRUNCATE numbers")
    place.execute(
        f"INSERT INTO numbers SELECT 1, {stored} FROM (SELECT delc.as_dtype(array_agg({NUMBERS[numbers]})::delc.tensor,"
        f" '{dtype}') AS value FROM generate_series(1, 20077)) AS made"
    )
    bits = value(place, "SELECT (delc.plane_directory(value)).bits FROM numbers")
    for first in range(1, len(bits) + 1):
        steps = list(range(first, len(bits) + 1))
        read = place.execute("SELECT deepened(1, %s, %s)", (dtype, steps)).fetchall()
        known = [bits[step - 1] for step in steps]
        assert read == place.execute("SELECT expected(value, %s, %s) FROM numbers", (steps, known)).fetchall()
