"""PostgresML's published baseline on scikit-learn's digits: a linear model, accuracy 0.918, f1 0.919."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sklearn.datasets import load_digits

from support.cluster import Cluster, Connection
from support.workplace import rows, workplace

POSTGRESML = {"accuracy": 0.918, "f1": 0.919}


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    digits = load_digits()
    create = "CREATE TABLE digits (id integer PRIMARY KEY, image smallint[], digit smallint)"
    with workplace(cluster, template, create) as connection:
        with connection.cursor() as cursor, cursor.copy("COPY digits FROM STDIN") as copy:
            for row, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
                copy.write_row([row, image.astype(int).tolist(), int(digit)])
        yield connection


def test_a_linear_model_matches_that_of_postgresml(place: Connection) -> None:
    place.execute("SELECT delc.create_dataset('digits', 'digits', target => 'digit', test => 0.25, validation => 0)")
    place.execute("SELECT delc.train('digits', 'digits', network => 'linear', epochs => 30, learning_rate => 0.01)")
    measured = dict(rows(place, "SELECT metric, value FROM delc.evaluate('digits', 'digits') WHERE class IS NULL"))
    assert measured["accuracy"] >= POSTGRESML["accuracy"]
    assert measured["f1"] >= POSTGRESML["f1"]
