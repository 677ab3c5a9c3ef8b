"""Checkout: the same numbers by every retrieval scheme, one snapshot or several, all planes or some."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.python_function import run_inside
from support.workplace import failure, message, rolled_back, rows, value, workplace

SCHEMES = ("independent", "parallel", "reusable")
NETWORK = """'{"architecture": "mlp", "hidden": [64, 64]}'"""
MODELS = "ARRAY['base@1#1', 'base@1#4', 'base', 'tuned@1', 'tuned@2']"
DIGESTS = """
    SELECT name, chunk, shape, learnable, md5(delc.to_npy(value)) FROM delc.checkout('{}', {}, '{}') ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Models with checkpoints, stored in the least space."""
    slow = {"network": NETWORK, "learning_rate": "0.0005"}
    statements = [
        FLOWERS,
        dataset("flowers", "flowers", "species"),
        train("base", "flowers", epochs="6", checkpoint_every="1", **slow),
        train("tuned", "flowers", from_model="'base'", epochs="2", learning_rate="0.0001", network="'mlp'"),
        train("tuned", "flowers", from_model="'base'", epochs="3", learning_rate="0.0001", network="'mlp'"),
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture(params=[("sub", False), ("planes", False), ("planes", True)], ids=["sub", "planes", "halves"])
def db(place: Connection, request: pytest.FixtureRequest) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        call = "SELECT delc.archive(objective => 'smallest', method => %s, halves => %s)"
        connection.execute(call, request.param)
        yield connection


@pytest.mark.parametrize("planes", ["NULL", "1", "2", "3", "4", "7"])
def test_every_scheme_gives_the_same_rows(db: Connection, planes: str) -> None:
    independent, *others = (rows(db, DIGESTS.format("tuned@2", planes, scheme)) for scheme in SCHEMES)
    assert independent
    assert all(found == independent for found in others)


def test_all_planes_are_the_parameters(db: Connection) -> None:
    stored = "SELECT name, chunk, shape, learnable, md5(delc.to_npy(value)) FROM delc.parameters"
    expected = rows(db, f"{stored} WHERE snapshot_id = delc.find_snapshot('base@1#3') ORDER BY 1, 2")
    for scheme in SCHEMES:
        assert rows(db, DIGESTS.format("base@1#3", "NULL", scheme)) == expected


def test_few_planes_are_the_leading_bytes(db: Connection) -> None:
    one = "SELECT value::text FROM delc.checkout('tuned', {}) WHERE name = 'hidden1.weight'"
    first = value(db, one.format(2))
    assert first != value(db, one.format("NULL"))
    cut = one.format("NULL").replace("value::text", "delc.planes(value, 2)::real[]::delc.tensor::text")
    assert first == value(db, cut)


@pytest.mark.parametrize("planes", ["NULL", "2"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_several_snapshots_at_once_are_each_as_alone(db: Connection, scheme: str, planes: str) -> None:
    together = f"""
        SELECT model, name, md5(delc.to_npy(value))
        FROM delc.checkout_several({MODELS}, {planes}, '{scheme}') ORDER BY 1, 2
    """
    alone = f"""
        SELECT model, name, md5(delc.to_npy(value))
        FROM unnest({MODELS}) AS model, LATERAL delc.checkout(model, {planes}, 'independent') ORDER BY 1, 2
    """
    assert rows(db, together) == rows(db, alone)


def test_what_several_snapshots_share_is_decoded_once(db: Connection) -> None:
    body = f"""
import plpy
from delc.archive import checkout
from delc.server import fetched
decoded = []
inner = fetched.decode
fetched.decode = lambda handle, jobs, threads=1: decoded.extend(jobs) or inner(handle, jobs, threads)
models = plpy.execute("SELECT {MODELS} AS models")[0]["models"]
found = {{}}
for scheme in ("independent", "reusable"):
    decoded.clear()
    for _ in checkout.checkout_several(models, None, scheme):
        pass
    found[scheme] = sum(len(job.places) for job in decoded)
fetched.decode = inner
return found
"""
    found = run_inside(db, body)
    needed = """
        WITH RECURSIVE needed AS (
            SELECT p.tensor_id AS id FROM unnest({}) AS model
            JOIN delc.snapshot_parameters AS p ON p.snapshot_id = delc.find_snapshot(model)
            UNION
            SELECT s.base_id FROM needed JOIN delc.stored_tensors AS s ON s.id = needed.id WHERE s.base_id IS NOT NULL
        ) SELECT count(*) FROM needed
    """
    assert found["reusable"] == value(db, needed.format(MODELS))
    assert found["reusable"] < found["independent"]


def test_any_number_of_threads_gives_the_same(db: Connection) -> None:
    found = []
    for threads in ("1", "2", "16"):
        db.execute("SELECT set_config('delc.threads', %s, true)", [threads])
        found.append(rows(db, DIGESTS.format("tuned", "NULL", "parallel")))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("checkout('base', retrieval => 'serial')", 'unknown retrieval scheme "serial"'),
        ("checkout('base', 0)", "planes is 0"),
        ("checkout('nobody')", 'unknown model "nobody"'),
        ("checkout_several(ARRAY['base', 'nobody'])", 'unknown model "nobody"'),
    ],
)
def test_what_cannot_be_is_named(db: Connection, call: str, text: str) -> None:
    assert text in message(failure(db, f"SELECT * FROM delc.{call}"))


def test_no_model_is_no_row(db: Connection) -> None:
    assert rows(db, "SELECT * FROM delc.checkout_several('{}')") == []
