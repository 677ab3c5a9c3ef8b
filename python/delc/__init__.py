"""Deep learning inside PostgreSQL: data sets, networks, training, inference and evaluation as SQL functions."""

__version__ = "0.1.0"
