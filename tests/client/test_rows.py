"""Versions of data sets as columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import delc.client
from support.cluster import Connection

MIXED = """
    CREATE TABLE mixed AS
    SELECT i AS id, i::smallint AS small, (i * 0.5)::real AS single, i * 0.25::double precision AS double,
           i % 2 = 0 AS even, ARRAY[i, -i]::real[] AS pair, ARRAY[[i, 1], [2, 3]] AS square,
           delc.tensor(ARRAY[i, i + 1]::real[]) AS tensor, ARRAY[i, 2]::public.vector(2) AS vector,
           'text ' || repeat('ü', i % 5) AS label, NULLIF(i, 3)::bigint AS gap,
           CASE WHEN i % 2 = 0 THEN ARRAY[1, 2] ELSE ARRAY[3] END AS ragged, (i || ' days')::interval AS span,
           (i::numeric / 3)::numeric(10, 2) AS exact
    FROM generate_series(1, 300) AS i;
    ALTER TABLE mixed ADD PRIMARY KEY (id)
"""


@pytest.fixture
def mixed(cdb: Connection) -> Connection:
    cdb.execute(MIXED)
    cdb.execute("SELECT delc.create_dataset('mixed', 'mixed', target => 'label')")
    return cdb


def test_every_column_has_the_values_that_psycopg_gives(mixed: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delc.client.rows.PORTION_BYTES", 5000)
    found = delc.client.read(mixed, "mixed")
    order = np.argsort(found["id"])
    cursor = mixed.execute("SELECT * FROM mixed ORDER BY id", binary=True)
    assert cursor.description is not None
    expected = list(zip(*cursor.fetchall(), strict=True))
    assert list(found) == [column.name for column in cursor.description]
    for column, values in zip(found, expected, strict=True):
        if column in ("tensor", "vector"):
            continue
        given = found[column][order]
        plain = [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in given]
        assert plain == list(values), column


def test_numbers_and_arrays_are_arrays(mixed: Connection) -> None:
    found = delc.client.read(
        mixed, "mixed", columns=["pair", "id", "square", "tensor", "vector", "even", "gap", "label"]
    )
    shapes = {name: (column.shape, column.dtype.name) for name, column in found.items()}
    assert shapes == {
        "pair": ((300, 2), "float32"),
        "id": ((300,), "int32"),
        "square": ((300, 2, 2), "int32"),
        "tensor": ((300, 2), "float32"),
        "vector": ((300, 2), "float32"),
        "even": ((300,), "bool"),
        "gap": ((300,), "object"),
        "label": ((300,), "object"),
    }
    assert (found["tensor"][:, 1] == found["id"] + 1).all()
    assert (found["vector"][:, 0] == found["id"]).all()


def test_arrays_with_null_elements_are_objects(cdb: Connection) -> None:
    cdb.execute("CREATE TABLE holes AS SELECT i AS id, ARRAY[i, NULLIF(i, 2)] AS pair FROM generate_series(1, 3) AS i")
    cdb.execute("ALTER TABLE holes ADD PRIMARY KEY (id); SELECT delc.create_dataset('holes', 'holes', target => 'id')")
    found = delc.client.read(cdb, "holes")
    pairs = dict(zip(found["id"].tolist(), map(list, found["pair"]), strict=True))
    assert pairs == {1: [1, 1], 2: [2, None], 3: [3, 3]}


def test_a_split_is_read_as_torch_tensors(mixed: Connection) -> None:
    parts = [delc.client.read(mixed, "mixed", columns=["id", "pair"], split=split, tensors="torch")
             for split in ("train", "validation", "test")]  # fmt: skip
    ids = torch.cat([part["id"] for part in parts])
    assert sorted(ids.tolist()) == list(range(1, 301))
    assert all(torch.equal(part["pair"][:, 0], part["id"].float()) for part in parts)


def test_no_rows_are_empty_columns(cdb: Connection) -> None:
    cdb.execute("CREATE TABLE few AS SELECT 1 AS id, 'a' AS label; ALTER TABLE few ADD PRIMARY KEY (id)")
    cdb.execute("SELECT delc.create_dataset('few', 'few', target => 'label', validation => 0, test => 0)")
    found = delc.client.read(cdb, "few", split="test")
    assert [len(column) for column in found.values()] == [0, 0]


def test_an_unknown_data_set_is_the_servers_error(cdb: Connection) -> None:
    with pytest.raises(Exception, match='unknown data set "mixde"'):
        delc.client.read(cdb, "mixde")
