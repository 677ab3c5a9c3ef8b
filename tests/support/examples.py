"""Small tables that models learn within a second, made of arithmetic alone: the same rows on every machine."""

from __future__ import annotations

SPECIES = ("setosa", "versicolor", "virginica")

FLOWERS = """
    CREATE TABLE flowers AS
    SELECT i AS id, (kind + 0.3 * sin(i * 12.9898))::real AS width, (10 + 4 * kind + sin(i * 78.233))::real AS height,
           (cos(i * 3.7))::real AS petal, (ARRAY['setosa', 'versicolor', 'virginica'])[kind + 1] AS species
    FROM (SELECT i, i % 3 AS kind FROM generate_series(1, 150) AS i) AS numbered;
    ALTER TABLE flowers ADD PRIMARY KEY (id)
"""
"""150 rows of three species that two of three numbers tell apart."""

IMAGES = """
    CREATE TABLE images AS
    SELECT i AS id, array_agg((CASE WHEN (i % 2 = 0) = (place <= 8) THEN 1 + 0.2 * sin(i * place) ELSE 0 END)::real
                              ORDER BY place) AS pixels,
           i % 2 AS half
    FROM generate_series(1, 80) AS i, generate_series(1, 16) AS place
    GROUP BY i;
    ALTER TABLE images ADD PRIMARY KEY (id)
"""
"""80 arrays of 16 numbers, of which either the first or the second half is bright."""

PRICES = """
    CREATE TABLE prices AS
    SELECT i AS id, (i % 17)::double precision AS size, (i % 5)::integer AS rooms,
           1000 + 50.0 * (i % 17) + 100 * (i % 5) AS price, 3.0 * (i % 17) AS tax
    FROM generate_series(1, 170) AS i;
    ALTER TABLE prices ADD PRIMARY KEY (id)
"""
"""170 rows whose price and tax are sums of two numbers."""

TOPICS = """
    CREATE TABLE topics AS
    SELECT i AS id, (i % 2)::real AS x, (i / 2 % 2)::real AS y, i % 2 = 1 AS sport, i / 2 % 2 = 1 AS science,
           array_remove(ARRAY[CASE WHEN i % 2 = 1 THEN 'sport' END, CASE WHEN i / 2 % 2 = 1 THEN 'science' END], NULL)
               AS topics
    FROM generate_series(1, 120) AS i;
    ALTER TABLE topics ADD PRIMARY KEY (id)
"""
"""120 rows that have both, one or none of two labels."""


def dataset(name: str, source: str, target: str, **options: str) -> str:
    """SQL that makes a data set; options are SQL expressions."""
    named = "".join(f", {option} => {expression}" for option, expression in options.items())
    return f"SELECT * FROM delc.create_dataset('{name}', '{source}', target => '{target}'{named})"


def train(model: str, dataset: str, **options: str) -> str:
    """SQL that trains a model; options are SQL expressions. A small network learns quickly."""
    chosen = {
        "network": """'{"architecture": "mlp", "hidden": [16]}'""",
        "learning_rate": "0.02",
        "epochs": "12",
        "batch_size": "16",
    } | options
    named = "".join(f", {option} => {expression}" for option, expression in chosen.items())
    return f"SELECT * FROM delc.train('{model}', '{dataset}'{named})"
