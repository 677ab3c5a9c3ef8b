"""A real pretrained transformer goes in, is fine-tuned in the database, and both versions come out bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import delc.client
from support import minilm
from support.cluster import Cluster, Connection
from support.workplace import rolled_back, row, value, workplace

LENGTH = 8
SENTENCES = f"""
    CREATE TABLE sentences AS
    SELECT i AS id, array_agg(1000 + (i * place * 37) % 5000 ORDER BY place) AS tokens,
           array_agg(0 ORDER BY place) AS types, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END AS label
    FROM generate_series(1, 8) AS i, generate_series(1, {LENGTH}) AS place GROUP BY i;
    ALTER TABLE sentences ADD PRIMARY KEY (id)
"""
DATASET = "SELECT delc.create_dataset('sentences', 'sentences', target => 'label', validation => 0, test => 0)"


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """A database with the pretrained model in it."""
    with workplace(cluster, template, SENTENCES, DATASET) as connection:
        delc.client.register(connection)
        parameters = minilm.pushed(minilm.state(), 2)
        delc.client.push(connection, "minilm", parameters, network=minilm.network(2),
                         features=minilm.features(LENGTH), labels=["even", "odd"])  # fmt: skip
        connection.commit()
        yield connection


def test_it_comes_out_bit_for_bit(place: Connection) -> None:
    original = minilm.state()
    assert len(original) == 103
    with rolled_back(place):
        assert minilm.same_bits(minilm.pulled(delc.client.pull(place, "minilm")), original)
        assert row(place, "SELECT task, parameters FROM delc.model_versions") == ("classification", 22_713_216 + 770)


def test_a_fine_tuned_version_leaves_it_as_it_was(place: Connection) -> None:
    with rolled_back(place):
        call = "SELECT model FROM delc.train('tuned', 'sentences', from_model => 'minilm', epochs => 1,"
        tuned = value(place, call + " batch_size => 8, learning_rate => 1e-5, optimizer => 'sgd')")
        found = minilm.pulled(delc.client.pull(place, tuned))
        original = minilm.state()
        changed = [name for name in original if not np.array_equal(found[name], original[name])]
        assert len(changed) > 90
        assert all(np.abs(found[name] - original[name]).max() < 1e-3 for name in original)
        assert minilm.same_bits(minilm.pulled(delc.client.pull(place, "minilm@1")), original)
        assert delc.client.push(place, "tuned", delc.client.pull(place, tuned)) == "tuned@2"
        assert minilm.same_bits(minilm.pulled(delc.client.pull(place, "tuned@2")), found)
