"""A repository of small networks in the manner of AlexNet, for images of 8 × 8 numbers."""

from __future__ import annotations

import json
from typing import Any

Layers = list[dict[str, Any]]

DIGITS = """
    CREATE TABLE digits AS
    SELECT i AS id, i % 4 AS digit,
           array_agg((CASE WHEN row_number / 2 = i % 4 THEN 1 ELSE 0 END
                      + 0.5 * sin(i * 12.9898 + row_number * 78.233 + column_number * 37.719))::real
                     ORDER BY row_number, column_number) AS pixels
    FROM generate_series(1, 120) AS i, generate_series(0, 7) AS row_number, generate_series(0, 7) AS column_number
    GROUP BY i;
    ALTER TABLE digits ADD PRIMARY KEY (id)
"""
"""120 images of four patterns: two of eight rows are bright, and there is noise."""

DATASET = (
    "SELECT delc.create_dataset('{name}', 'public.digits', target => 'digit', key => 'id',"
    " validation => 0.25, seed => {seed})"
)

FEATURES = '{"pixels": {"kind": "array", "shape": [1, 8, 8]}}'


def conv(number: int, channels: int = 4) -> dict[str, Any]:
    """A convolution of 3 × 3."""
    return {"kind": "conv2d", "name": f"conv{number}", "out_channels": channels, "kernel_size": 3, "padding": 1}


def relu(number: int) -> dict[str, Any]:
    """The activation after the layer of that number."""
    return {"kind": "relu", "name": f"relu{number}"}


def pool(number: int, mode: str = "max") -> dict[str, Any]:
    """A pool of 2 × 2."""
    return {"kind": f"{mode}_pool2d", "name": f"pool{number}", "kernel_size": 2}


def full(number: int, size: int = 12) -> dict[str, Any]:
    """A fully connected layer."""
    return {"kind": "linear", "name": f"fc{number}", "out_features": size}


HEAD: Layers = [
    {"kind": "flatten", "name": "flatten"},
    full(6),
    relu(6),
    full(7),
    relu(7),
    {"kind": "linear", "name": "fc8"},
]

NETWORKS: dict[str, Layers] = {
    "alexnet_1": [conv(1), pool(1), conv(2), relu(2), conv(3), relu(3), *HEAD],
    "alexnet_2": [conv(1), relu(1), pool(1), conv(2), pool(2), conv(3), relu(3), *HEAD],
    "alexnet_3": [conv(1), relu(1), conv(2), relu(2), conv(3), pool(3), *HEAD],
    "alexnet -origin1": [conv(1), relu(1), pool(1), conv(2), relu(2), pool(2), *HEAD],
    "alexnet-origin1": [conv(1), relu(1), pool(1), conv(2), relu(2), pool(2), *HEAD],
    "alexnet -avgv1": [conv(1), pool(1, "avg"), conv(2), relu(2), conv(3), pool(3, "avg"), *HEAD],
}


def train(model: str, dataset: str = "digits", **options: str) -> str:
    """SQL that trains one of the networks; options are SQL expressions."""
    network = json.dumps(NETWORKS[model])
    named = "".join(f", {name} => {value}" for name, value in {"epochs": "1", **options}.items())
    return f"SELECT delc.train('{model}', '{dataset}', network => '{network}', features => '{FEATURES}'{named})"


def repository() -> list[str]:
    """The statements that make the table, a data set and one version of each network."""
    return [DIGITS, DATASET.format(name="digits", seed=0), *map(train, NETWORKS)]


QUERY_1 = """select m1
where
m1.name like " alexnet_%" and
m1.creation_time > " 2015-11-22" and
m1[" conv[1,3,5]" ].next has POOL(" MAX" )"""

QUERY_2 = """slice m2 from m1
where m1.name like " alexnet -origin%"
mutate m2.input = m1[" conv1" ] and
m2.output = m1[" fc7" ]"""

QUERY_3 = """construct m2 from m1
where
m1.name like " alexnet -avgv1%" and
m1[" conv*($1)" ].next has POOL(" AVG" )
mutate m1[" conv*($1)" ].insert = RELU(" relu$1" )"""

QUERY_4 = """evaluate m
from " query3"
with config = " path to config"
vary config.base_lr in [0.1, 0.01, 0.001] and
config.net[" conv*" ].lr auto and
config.input_data in [" path1" , " path2" ]
keep top(5, m[" loss" ], 100)"""
"""The four published queries, character for character."""
