"""delc.embed(): activations of a layer as a vector."""

from __future__ import annotations

import pytest

from support.cluster import Connection
from support.workplace import failure, message, row, rows, value


def test_the_layer_before_the_last_is_the_default(db: Connection) -> None:
    same = "SELECT delc.embed('flowers', f) = delc.embed('flowers', f, 'hidden_relu1') FROM flowers AS f WHERE id = 1"
    assert value(db, same) is True


def test_a_layer_can_be_named(db: Connection) -> None:
    found = row(
        db,
        "SELECT vector_dims(delc.embed('flowers', f, 'hidden1')), vector_dims(delc.embed('flowers', f, 'output'))"
        " FROM flowers AS f WHERE id = 1",
    )
    assert found == (16, 3)


def test_activations_of_a_relu_are_not_negative(db: Connection) -> None:
    least = "SELECT min(x) FROM flowers AS f, unnest(delc.embed('flowers', f, 'hidden_relu1')::real[]) AS x"
    assert value(db, least) == 0


def test_neighbours_by_pgvectors_distance_are_of_the_same_kind(db: Connection) -> None:
    nearest = rows(
        db,
        "SELECT a.species, b.species FROM flowers AS a, LATERAL (SELECT species FROM flowers WHERE id <> a.id"
        " ORDER BY delc.embed('flowers', flowers) <-> delc.embed('flowers', a) LIMIT 3) AS b WHERE a.id <= 6",
    )
    assert len(nearest) == 18
    assert all(one == other for one, other in nearest)


def test_embeddings_can_be_stored_and_indexed(db: Connection) -> None:
    db.execute("CREATE TABLE embedded AS SELECT id, delc.embed('flowers', f)::vector(16) AS e FROM flowers AS f")
    db.execute("CREATE INDEX ON embedded USING hnsw (e vector_l2_ops)")
    assert value(db, "SELECT id FROM embedded ORDER BY e <-> (SELECT e FROM embedded WHERE id = 5) LIMIT 1") == 5


def test_activations_with_several_dimensions_are_flattened(db: Connection) -> None:
    shape = value(
        db,
        "SELECT output_shape FROM delc.layers AS layer JOIN delc.model_versions AS version"
        " ON version.id = layer.version_id JOIN delc.models AS model ON model.id = version.model_id"
        " WHERE model.name = 'images' AND layer.kind = 'conv2d' ORDER BY position LIMIT 1",
    )
    layer = value(db, "SELECT name FROM delc.layers WHERE kind = 'conv2d' ORDER BY version_id, position LIMIT 1")
    dims = f"SELECT vector_dims(delc.embed('images', pixels, '{layer}')) FROM images LIMIT 1"
    assert len(shape) == 3
    assert value(db, dims) == shape[0] * shape[1] * shape[2]


def test_an_unknown_layer_is_named_with_the_nearest(db: Connection) -> None:
    error = failure(db, "SELECT delc.embed('flowers', f, 'hiden1') FROM flowers AS f")
    assert error.sqlstate in ("22023", "42704")
    assert 'Did you mean "hidden1"?' in message(error)


@pytest.mark.parametrize("given", ["NULL::real[]", "ARRAY[1, NULL]::real[]"])
def test_null_is_refused(db: Connection, given: str) -> None:
    assert failure(db, f"SELECT delc.embed('images', {given})").sqlstate in ("22004", "22000")
