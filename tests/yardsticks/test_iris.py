"""The iris example of Apache MADlib's deep-learning tutorial: 4-10-10-3, 193 parameters, 120 rows to train on.

The other 30 are to test; theirs reaches 0.70 on them (https://madlib.apache.org, deep learning, "Fit").
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from support.cluster import Cluster, Connection
from support.workplace import record, value, workplace

MADLIB_ACCURACY = 0.70


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The flowers, with the part that each belongs to."""
    iris = load_iris()
    names = [iris.target_names[code] for code in iris.target]
    _, test = train_test_split(range(150), test_size=30, random_state=0, stratify=iris.target)
    create = "CREATE TABLE iris (id integer PRIMARY KEY, sepal_length real, sepal_width real, petal_length real,"
    with workplace(cluster, template, create + " petal_width real, species text, part text)") as connection:
        with connection.cursor() as cursor, cursor.copy("COPY iris FROM STDIN") as copy:
            for row, (numbers, name) in enumerate(zip(iris.data.tolist(), names, strict=True)):
                copy.write_row([row, *numbers, str(name), "test" if row in set(test) else "train"])
        yield connection


def test_the_network_of_madlib_is_matched_and_beaten(place: Connection) -> None:
    place.execute("SELECT delc.create_dataset('iris', 'iris', target => 'species', split => 'part')")
    options = 'network => \'{"architecture": "mlp", "hidden": [10, 10]}\', epochs => 60, learning_rate => 0.01'
    trained = record(place, f"SELECT * FROM delc.train('iris', 'iris', {options}, batch_size => 16, threads => 1)")
    assert trained["parameters"] == 193
    measured = "SELECT value FROM delc.evaluate('iris', 'iris') WHERE metric = '{}' AND class IS NULL"
    assert value(place, measured.format("rows")) == 30
    accuracy = value(place, measured.format("accuracy"))
    assert accuracy >= 0.9 > MADLIB_ACCURACY
